//! `blockflow plan`: what a reload would do, without doing it.

use clap::Args;

use super::answer::indented;
use super::server::ServerArguments;
use crate::app::{self, ControlError, Journal, Planned, Weights};
use crate::cli::args::LogArguments;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{self, Format};
use crate::cli::quantity;

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Asks the server; where none runs, compares with the last epoch of its history.
pub(in crate::cli) fn execute(
    arguments: &PlanArguments,
    log: &LogArguments,
) -> Result<Exit, CliError> {
    let (planned, served) = match arguments.server.ask(async |control| control.plan().await) {
        Ok(planned) => (planned, true),
        Err(CliError::Control(ControlError::NoServer { state })) => {
            let journal = Journal::look(state.clone());
            let records = journal.recorded().records;
            let Some(last) = records.first() else {
                return Err(CliError::Control(ControlError::NoServer { state }));
            };
            let source = arguments.server.source(log);
            let planned = app::plan_against(&source, journal, last);
            (planned.map_err(CliError::Problems)?, false)
        }
        Err(error) => return Err(error),
    };
    match arguments.format {
        Format::Text => output::print(&text(&planned, served))?,
        Format::Json => output::print_json(&planned)?,
    }
    Ok(if planned.refused.is_empty() {
        Exit::Success
    } else {
        Exit::Configuration
    })
}

fn text(planned: &Planned, served: bool) -> String {
    let epoch = planned.epoch;
    let whose = if served {
        "which is served"
    } else {
        "which was applied last; no server runs"
    };
    let mut text = format!("compared with epoch {epoch}, {whose}:\n");
    if !planned.refused.is_empty() {
        text.push_str("a reload would be rejected:\n");
        text.push_str(&indented(&planned.refused));
    } else if !planned.changes_anything() {
        text.push_str("a reload would do nothing\n");
    }
    let kept = planned
        .kept
        .iter()
        .map(|name| row("block", name, "kept", &[]));
    let named = |kind, changed: &[app::Changed]| -> Vec<Vec<String>> {
        let rows = changed.iter();
        rows.map(|one| row(kind, &one.name, &one.change, &one.values))
            .collect()
    };
    let mut rows = named("block", &planned.blocks);
    rows.extend(kept);
    rows.extend(named("pipeline", &planned.pipelines));
    text.push_str(&output::columns(2, &rows));
    text.push_str(&indented(&planned.settings));
    text.extend(planned.weights.iter().map(weights));
    let placed = planned.placed.iter();
    text.extend(placed.map(|block| format!("block {block}\n")));
    let devices = planned.devices.iter();
    text.extend(devices.map(|device| format!("memory of {device}\n")));
    for (block, swap) in &planned.overrides.swaps {
        let pinned = if swap.pinned { ", pinned" } else { "" };
        text.push_str(&format!(
            "swapped: block {block} runs {}{pinned}\n",
            swap.file.display()
        ));
    }
    for pipeline in &planned.overrides.unloaded {
        text.push_str(&format!("unloaded: pipeline {pipeline}\n"));
    }
    if let Some(rollback) = planned.overrides.rollback {
        text.push_str(&format!(
            "rolled back to epoch {rollback}, until the files change\n"
        ));
    }
    text
}

fn row(kind: &str, name: &str, change: &str, values: &[String]) -> Vec<String> {
    let cells = [kind, name, change].map(str::to_owned);
    cells.into_iter().chain([values.join(", ")]).collect()
}

fn weights(weights: &Weights) -> String {
    let Weights {
        device,
        before,
        after,
        peak,
    } = weights;
    if *peak == 0 {
        return String::new();
    }
    let [before, after, peak] = [*before, *after, *peak].map(quantity::bytes);
    format!("weights on {device}: {before} before, {after} after, {peak} while both are there\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Changed, Overrides};

    #[test]
    fn a_plan_lists_what_would_become_of_everything() {
        let planned = Planned {
            epoch: 4,
            kept: vec!["head".to_owned()],
            blocks: vec![Changed {
                name: "backbone".to_owned(),
                change: "rebuilt".to_owned(),
                values: vec!["threads: 1 → 2".to_owned()],
            }],
            pipelines: Vec::new(),
            settings: vec!["limits.in_flight_max: 8 → 9".to_owned()],
            weights: vec![Weights {
                device: "cpu".to_owned(),
                before: 1_000_000,
                after: 2_000_000,
                peak: 3_000_000,
            }],
            placed: vec!["a on sim:0: the only device there is".to_owned()],
            devices: vec!["cpu: overlap, 1 bytes before, 3 with both, 2 after".to_owned()],
            refused: Vec::new(),
            overrides: Overrides::default(),
        };
        assert_eq!(
            text(&planned, true),
            "compared with epoch 4, which is served:\n  \
             block  backbone  rebuilt  threads: 1 → 2\n  \
             block  head      kept\n  \
             limits.in_flight_max: 8 → 9\n\
             weights on cpu: 1.00 MB before, 2.00 MB after, 3.00 MB while both are there\n\
             block a on sim:0: the only device there is\n\
             memory of cpu: overlap, 1 bytes before, 3 with both, 2 after\n"
        );
    }
}
