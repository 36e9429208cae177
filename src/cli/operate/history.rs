//! `blockflow history`: the epochs that were applied.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::moment;
use super::server::ServerArguments;
use crate::app::{ControlError, Journal, Overrides, Record, RecordedModel};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{self, Format};

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct HistoryJson<'a> {
    state: &'a Path,
    /// A server runs.
    running: bool,
    /// The newest last.
    epochs: Vec<EpochJson<'a>>,
    skipped: Vec<String>,
}

#[derive(Serialize)]
struct EpochJson<'a> {
    epoch: u32,
    /// It is served, or would be if a server ran.
    current: bool,
    time: String,
    trigger: &'static str,
    changes: &'a [String],
    models: &'a [RecordedModel],
    overrides: &'a Overrides,
}

pub(in crate::cli) fn execute(arguments: &HistoryArguments) -> Result<Exit, CliError> {
    let state = arguments.server.directory()?;
    let served = match arguments.server.ask(async |control| control.status().await) {
        Ok(status) => Some(status.epoch),
        Err(CliError::Control(ControlError::NoServer { .. })) => None,
        Err(error) => return Err(error),
    };
    if !state.is_dir() {
        return Err(CliError::Control(ControlError::NoServer { state }));
    }
    let recorded = Journal::look(state.clone()).recorded();
    let newest = recorded.records.first().map(|record| record.epoch);
    let current = served.or(newest);
    let mut records = recorded.records;
    records.reverse();
    let skipped: Vec<_> = recorded.skipped.iter().map(ToString::to_string).collect();
    match arguments.format {
        Format::Text => {
            let rows: Vec<_> = records.iter().map(|record| row(record, current)).collect();
            output::print(&output::columns(0, &rows))?;
            for line in &skipped {
                output::complain(&format!("skipped: {line}\n"));
            }
        }
        Format::Json => output::print_json(&HistoryJson {
            state: &state,
            running: served.is_some(),
            epochs: records.iter().map(|record| json(record, current)).collect(),
            skipped,
        })?,
    }
    Ok(Exit::Success)
}

fn row(record: &Record, current: Option<u32>) -> Vec<String> {
    let mark = if current == Some(record.epoch) {
        "*"
    } else {
        " "
    };
    let mut what = record.changes.clone();
    let overrides = &record.overrides;
    if let Some(rollback) = overrides.rollback {
        what.insert(0, format!("rolled back to epoch {rollback}"));
    }
    for (block, swap) in &overrides.swaps {
        let pinned = if swap.pinned { ", pinned" } else { "" };
        what.push(format!(
            "block {block} runs {}{pinned}",
            swap.file.display()
        ));
    }
    for pipeline in &overrides.unloaded {
        what.push(format!("pipeline {pipeline} is unloaded"));
    }
    vec![
        format!("{mark} {}", record.epoch),
        moment::show(record.time_ms),
        record.trigger.name().to_owned(),
        what.join("; "),
    ]
}

fn json(record: &Record, current: Option<u32>) -> EpochJson<'_> {
    EpochJson {
        epoch: record.epoch,
        current: current == Some(record.epoch),
        time: moment::show(record.time_ms),
        trigger: record.trigger.name(),
        changes: &record.changes,
        models: &record.models,
        overrides: &record.overrides,
    }
}
