//! `blockflow run`: serves until interrupted. What is served where goes to stdout, everything after it is logging.

use std::net::SocketAddr;

use clap::Args;

use crate::app::{self, Announcement};
use crate::plan::Plan;
use crate::telemetry;

use super::args::{ConfigArgument, LogArguments};
use super::error::CliError;
use super::exit::Exit;
use super::explain::{block_line, pipeline_line};
use super::{compose, output};

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    source: ConfigArgument,
    /// Address to serve HTTP on, in place of the configured one.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
}

pub(super) fn execute(arguments: &RunArguments, log: &LogArguments) -> Result<Exit, CliError> {
    let (spec, locator) = compose::load_spec(&arguments.source.config)?;
    telemetry::init(&log.over(&spec.log))?;
    let loaded = compose::compile(&spec, &locator)?;
    let served = describe(&loaded.plan);
    let mut address = arguments.http.unwrap_or(loaded.plan.server.http);
    let report = app::serve(loaded, arguments.http, |announcement: &Announcement| {
        address = announcement.http;
        // A closed stdout must not stop a server.
        let _ = output::print(&format!("listening on http://{address}\n{served}"));
    })?;
    if report.stragglers.is_empty() {
        return Ok(Exit::Success);
    }
    Err(CliError::Stragglers {
        address,
        stragglers: report.stragglers,
    })
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
