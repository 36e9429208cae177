//! `blockflow doctor`: what this machine has of what blocks need, and what to type where something lacks.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::compose;
use super::error::CliError;
use super::exit::Exit;
use super::output;
use crate::app::Loaded;
use crate::app::doctor::{Finding, Report, Status, Subject, examine};
use crate::engine::check_device;
use crate::types::Problem;

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Configuration file that is to run here.
    #[arg(value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every finding as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints every finding to stdout. Fails only if the configuration needs something that is missing.
pub(super) fn execute(arguments: &DoctorArguments) -> Result<Exit, CliError> {
    let subject = arguments.config.as_deref().map(subject).transpose()?;
    let report = examine(subject.as_ref());
    if arguments.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report))?;
    }
    Ok(match report.fails() {
        true => Exit::CannotStart,
        false => Exit::Success,
    })
}

/// Reads a configuration. Devices and engines that are not there are for the examination to tell.
fn subject(path: &Path) -> Result<Subject, CliError> {
    let file = path.display().to_string();
    let read = match compose::read(path) {
        Ok(read) => read,
        Err(CliError::Configuration(problems)) => {
            return Ok(Subject {
                file,
                spec: None,
                problems: problems.iter().map(ToString::to_string).collect(),
            });
        }
        Err(error) => return Err(error),
    };
    let found = Loaded::from_sound(&read.spec, &read.unsound).err();
    let lacks_device = |problem: &Problem| {
        let mut blocks = read.spec.blocks.iter();
        blocks.any(|block| {
            problem.key == format!("blocks.{}.device", block.name)
                && check_device(block.device).is_err()
        })
    };
    let told = |problem: &Problem| problem.key.ends_with(".engine") || lacks_device(problem);
    let found = found.into_iter().flatten().filter(|problem| !told(problem));
    let found: Vec<_> = found.collect();
    let problems = read.problems.into_iter().chain(found).collect();
    let located = read.locator.locate(problems);
    Ok(Subject {
        file,
        spec: Some(read.spec),
        problems: located.iter().map(ToString::to_string).collect(),
    })
}

/// Writes a line for each finding, with what to type beneath it, and a summary.
fn render(report: &Report) -> String {
    let widest = |text: fn(&Finding) -> usize| report.findings.iter().map(text).max();
    let status = widest(|one| one.status.to_string().len()).unwrap_or_default();
    let check = widest(|one| one.check.chars().count()).unwrap_or_default();
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    for finding in &report.findings {
        let Finding {
            check: name,
            status: how,
            found,
            remedy,
            needed_by,
        } = finding;
        line(format!(
            "{:status$}  {name:check$}  {found}",
            how.to_string()
        ));
        let indent = " ".repeat(status + check + 4);
        if *how != Status::Ok {
            if !needed_by.is_empty() {
                line(format!("{indent}needed by {}", needed_by.join(", ")));
            }
            if let Some(remedy) = remedy {
                line(format!("{indent}→ {remedy}"));
            }
        }
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

fn summary(report: &Report) -> String {
    let (warnings, missing) = (report.count(Status::Warning), report.count(Status::Missing));
    let plural = if warnings == 1 { "" } else { "s" };
    let count = format!("{warnings} warning{plural}, {missing} missing");
    match (warnings + missing, report.fails()) {
        (0, _) => "All is there.".to_owned(),
        (_, false) => format!("{count}: nothing that is needed."),
        (_, true) => format!("{count}: the configuration cannot run here as it is."),
    }
}
