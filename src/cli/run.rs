//! `blockflow run`: serves until interrupted. What is served where goes to stdout, everything after it is logging.

use std::net::{SocketAddr, ToSocketAddrs};

use clap::Args;

use crate::app::{self, Announcement, Journal, Part, Served};
use crate::engine::{Ledger, Memory, Usage};
use crate::plan::Plan;
use crate::telemetry;
use crate::types::Device;

use super::args::{ConfigArgument, LogArguments};
use super::compose::ConfigurationFile;
use super::error::CliError;
use super::exit::Exit;
use super::explain::{block_line, pipeline_line};
use super::keys::KeyFileArgument;
use super::operate::StateArgument;
use super::restart::{InheritArguments, let_threads_sleep, take_own_place};
use super::{compose, output, quantity};

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    source: ConfigArgument,
    /// Address and port to serve HTTP on, in place of the configured ones, such as localhost:8000.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    http: Option<SocketAddr>,
    /// Host of the configuration that this machine is; by default the one that serves HTTP.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    #[command(flatten)]
    key: KeyFileArgument,
    #[command(flatten)]
    state: StateArgument,
    /// Serve what is configured or nothing, not an epoch of before in its place.
    #[arg(long)]
    strict: bool,
    /// Leave files alone that change while they are served; SIGHUP has them be read again.
    #[arg(long)]
    no_watch: bool,
    #[command(flatten)]
    inherit: InheritArguments,
}

pub(super) fn execute(
    arguments: &RunArguments,
    log_arguments: &LogArguments,
) -> Result<Exit, CliError> {
    // A configuration that comes later may ask for more than the one of now.
    let_threads_sleep(usize::MAX);
    let source = ConfigurationFile {
        path: arguments.source.config.clone(),
        log: log_arguments.clone(),
    };
    let journal = Journal::open(arguments.state.directory(&source.path));
    let begun = app::begin(&source, journal, arguments.strict);
    let beginning = begun.map_err(CliError::Problems)?;
    // Workers log in the same way. A wrong filter was told with all else that is wrong.
    let log = beginning.log().clone();
    telemetry::init(&log)?;
    let mut address = SocketAddr::from(([0, 0, 0, 0], 0));
    let part = Part {
        key_file: arguments.key.key_file.clone(),
        ..compose::part(arguments.host.clone(), log.format)
    };
    let served = app::serve(
        beginning,
        part,
        arguments.http,
        arguments.inherit.take()?,
        source,
        !arguments.no_watch,
        |announcement: &Announcement| {
            address = announcement.http.unwrap_or(announcement.plan.server.http);
            let first = match announcement.http {
                Some(http) => {
                    format!("listening on http://{http}\n")
                }
                None => "running blocks for the gateway of another host\n".to_owned(),
            };
            let previous = if announcement.previous {
                let epoch = announcement.plan.epoch;
                format!(
                    "what is configured cannot be served, as the log says: this is epoch {epoch}, of before\n"
                )
            } else {
                String::new()
            };
            let described = describe(&announcement.plan);
            // A closed stdout must not stop a server.
            let weights: String = announcement.weights.iter().map(weights_line).collect();
            let devices = announcement.weights.keys();
            let memory: String = devices
                .map(|device| memory_line(*device, Ledger::of(*device).memory()))
                .collect();
            let _ = output::print(&format!("{first}{previous}{described}{weights}{memory}"));
        },
    )?;
    let report = match served {
        Served::Stopped(report) => report,
        Served::Replace(inheritance) => {
            return Err(CliError::Again(take_own_place(inheritance)));
        }
    };
    if report.stragglers.is_empty() {
        return Ok(Exit::Success);
    }
    Err(CliError::Stragglers {
        address,
        stragglers: report.stragglers,
    })
}

/// Resolves a name; of several addresses one of this machine alone goes first.
fn address(text: &str) -> Result<SocketAddr, String> {
    let resolved = text.to_socket_addrs().map_err(|error| error.to_string())?;
    resolved
        .min_by_key(|address| !address.ip().is_loopback())
        .ok_or_else(|| "the name has no address".to_owned())
}

fn describe(plan: &Plan) -> String {
    let pipelines: Vec<_> = plan.pipelines.iter().map(pipeline_line).collect();
    let blocks: Vec<_> = plan.blocks.iter().map(block_line).collect();
    format!(
        "{}{}",
        output::columns(0, &pipelines),
        output::columns(0, &blocks)
    )
}

/// Says what weights take on a device; nothing where there are none.
fn weights_line((device, usage): (&Device, &Usage)) -> String {
    let [all, shared] =
        [usage.bytes, usage.shared_bytes].map(|bytes| quantity::bytes(bytes as u64));
    match (usage.bytes, usage.shared_bytes) {
        (0, _) => String::new(),
        (_, 0) => format!("weights on {device}: {all}\n"),
        _ => format!("weights on {device}: {all}, of which several blocks share {shared}\n"),
    }
}

/// Says what is held of a device, where it is bounded or sessions hold some.
fn memory_line(device: Device, memory: Memory) -> String {
    let held = quantity::bytes(memory.held());
    let workspace = match memory.workspace {
        0 => String::new(),
        bytes => format!(", {} of it for sessions", quantity::bytes(bytes)),
    };
    match memory.limit {
        Some(limit) => {
            let limit = quantity::bytes(limit);
            format!("memory of {device}: {held} of {limit}{workspace}\n")
        }
        None if memory.workspace > 0 => format!("memory of {device}: {held}{workspace}\n"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_where_it_is_bounded_or_more_than_weights() {
        let line = |weights, workspace, limit| {
            let memory = Memory {
                weights,
                workspace,
                limit,
            };
            memory_line(Device::Sim(0), memory)
        };
        assert_eq!(line(5, 0, None), "");
        assert_eq!(
            line(5_000_000, 1_000_000, None),
            "memory of sim:0: 6.00 MB, 1.00 MB of it for sessions\n"
        );
        assert_eq!(
            line(5_000_000, 0, Some(64_000_000)),
            "memory of sim:0: 5.00 MB of 64.0 MB\n"
        );
    }

    #[test]
    fn weights_are_told_where_there_are_any() {
        let line = |bytes, shared_bytes| {
            let usage = Usage {
                bytes,
                shared_bytes,
                entries: 2,
            };
            weights_line((&Device::Cpu, &usage))
        };
        assert_eq!(line(0, 0), "");
        assert_eq!(line(97_800_000, 0), "weights on cpu: 97.8 MB\n");
        assert_eq!(
            line(97_800_000, 31_200_000),
            "weights on cpu: 97.8 MB, of which several blocks share 31.2 MB\n"
        );
    }

    #[test]
    fn a_name_is_resolved_to_an_address_of_this_machine_alone() {
        assert!(address("localhost:8000").is_ok_and(|one| one.ip().is_loopback()));
        assert_eq!(
            address("0.0.0.0:1").map(|one| one.to_string()).as_deref(),
            Ok("0.0.0.0:1")
        );
        for text in ["localhost", "8000", ":", "localhost:65536"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
