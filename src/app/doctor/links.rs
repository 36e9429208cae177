//! Addresses of a configuration: whether this machine can listen there, and whether other hosts answer.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::types::{HostSpec, Spec};

use super::Finding;

/// How long another host may take to answer.
const ANSWER: Duration = Duration::from_millis(1500);

/// What became of an address that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This machine can listen there.
    Free,
    /// This machine has it, and something listens there already.
    Taken,
    /// This machine may not listen there.
    Forbidden(String),
    /// It belongs to another machine, where something listens.
    Answers,
    /// It belongs to another machine, where nothing is heard of.
    Silent(String),
}

/// An address, what it is for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    /// Key that says it.
    pub(super) key: String,
    pub(super) address: SocketAddr,
    pub(super) outcome: Outcome,
}

/// Tries the first port of every host or, where there is one host alone, the address of its HTTP server.
pub(super) fn look(spec: &Spec) -> Vec<Tried> {
    let several: &[HostSpec] = if spec.hosts.len() > 1 {
        &spec.hosts
    } else {
        &[]
    };
    let host = |host: &HostSpec| {
        let address = SocketAddr::new(host.address, host.port);
        (format!("hosts.{}.address", host.name), address)
    };
    let http = several.is_empty().then_some(spec.server.http);
    let http = http.map(|address| ("server.http".to_owned(), address));
    let all = http.into_iter().chain(several.iter().map(host));
    all.map(|(key, address)| Tried {
        outcome: attempt(address),
        key,
        address,
    })
    .collect()
}

fn attempt(address: SocketAddr) -> Outcome {
    match TcpListener::bind(address) {
        Ok(_) => Outcome::Free,
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => Outcome::Taken,
            ErrorKind::AddrNotAvailable => match TcpStream::connect_timeout(&address, ANSWER) {
                Ok(_) => Outcome::Answers,
                Err(error) => Outcome::Silent(error.to_string()),
            },
            _ => Outcome::Forbidden(error.to_string()),
        },
    }
}

pub(super) fn judge(tried: &[Tried]) -> Vec<Finding> {
    tried.iter().map(finding).collect()
}

fn finding(tried: &Tried) -> Finding {
    let Tried {
        key,
        address,
        outcome,
    } = tried;
    let http = key == "server.http";
    match outcome {
        Outcome::Free => Finding::ok(key, format!("{address} is free on this machine")),
        Outcome::Answers if http => elsewhere(key, address),
        Outcome::Silent(_) if http => elsewhere(key, address),
        Outcome::Answers => Finding::ok(key, format!("{address} answers")),
        Outcome::Taken => Finding::warning(
            key,
            format!("{address} is in use on this machine"),
            format!(
                "nothing if it is this configuration that runs; else end what listens there (ss -ltnp 'sport = :{}'), or choose another port",
                address.port()
            ),
        ),
        Outcome::Silent(cause) => Finding::warning(
            key,
            format!("{address} is another machine, which does not answer ({cause})"),
            silent(address.ip(), key),
        ),
        Outcome::Forbidden(cause) => Finding::missing(
            key,
            format!("this machine may not listen on {address}: {cause}"),
            "choose a port above 1023, or an address of this machine",
        )
        .for_keys(std::slice::from_ref(key)),
    }
}

fn elsewhere(key: &str, address: &SocketAddr) -> Finding {
    Finding::missing(
        key,
        format!("{address} is no address of this machine"),
        "choose one of `ip address`, or 0.0.0.0 for all; another host may have it, where server.host says so",
    )
    .for_keys(&[key.to_owned()])
}

fn silent(ip: IpAddr, key: &str) -> String {
    let host = key.split('.').nth(1).unwrap_or_default();
    format!(
        "start `blockflow run --host {host}` there, and see that its firewall lets this machine in (ping {ip})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;

    fn judged(key: &str, outcome: Outcome) -> Finding {
        finding(&Tried {
            key: key.into(),
            address: ([192, 0, 2, 1], 5600).into(),
            outcome,
        })
    }

    #[test]
    fn every_outcome_has_its_finding() {
        let silent = || Outcome::Silent("timed out".into());
        let forbidden = || Outcome::Forbidden("permission denied".into());
        for (key, outcome, status) in [
            ("server.http", Outcome::Free, Status::Ok),
            ("server.http", Outcome::Taken, Status::Warning),
            ("server.http", Outcome::Answers, Status::Missing),
            ("server.http", silent(), Status::Missing),
            ("server.http", forbidden(), Status::Missing),
            ("hosts.far.address", Outcome::Free, Status::Ok),
            ("hosts.far.address", Outcome::Taken, Status::Warning),
            ("hosts.far.address", Outcome::Answers, Status::Ok),
            ("hosts.far.address", silent(), Status::Warning),
            ("hosts.far.address", forbidden(), Status::Missing),
        ] {
            let finding = judged(key, outcome.clone());
            assert_eq!(finding.status, status, "{key} {outcome:?}");
            let needed = !finding.needed_by.is_empty();
            assert_eq!(needed, status == Status::Missing, "{key} {outcome:?}");
        }
        let remedy = judged("hosts.far.address", silent()).remedy;
        assert!(remedy.is_some_and(|text| text.contains("--host far")));
    }

    #[test]
    fn a_port_that_is_listened_on_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        assert_eq!(attempt(address), Outcome::Taken);
        drop(listener);
        assert_eq!(attempt(address), Outcome::Free);
    }
}
