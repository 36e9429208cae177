//! `blockflow run`: serves until interrupted. What is served where goes to stdout, everything after it is logging.

use std::net::{SocketAddr, ToSocketAddrs};

use clap::Args;

use crate::app::{self, Announcement, Journal, Part};
use crate::engine::Usage;
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
use super::restart::let_threads_sleep;
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
    let report = app::serve(
        beginning,
        part,
        arguments.http,
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
            let served = describe(&announcement.plan);
            // A closed stdout must not stop a server.
            let weights: String = announcement.weights.iter().map(weights_line).collect();
            let _ = output::print(&format!("{first}{previous}{served}{weights}"));
        },
    )?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
