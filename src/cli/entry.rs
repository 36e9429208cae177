//! Entry: reads the command line, runs the command, ends with its code.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::args::{Arguments, Command};
use super::error::CliError;
use super::exit::Exit;
use crate::telemetry;

use super::{
    bench, check, doctor, explain, infer, inspect, keys, operate, output, run, shared, split,
    worker,
};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A reader of the help text that went away has read all it wanted.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            }
            .into();
        }
    };
    match execute(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            complain(&error);
            error.exit().into()
        }
    }
}

fn execute(arguments: Arguments) -> Result<Exit, CliError> {
    let Arguments { log, command } = arguments;
    let Some(command) = command else {
        output::print(&Arguments::command().render_help().to_string())?;
        return Ok(Exit::Success);
    };
    // These start the log themselves: the configuration has a say.
    if !matches!(command, Command::Run(_) | Command::Worker) {
        telemetry::init(&log.or_quiet())?;
    }
    match command {
        Command::Run(arguments) => run::execute(&arguments, &log),
        Command::Check(arguments) => check::execute(&arguments),
        Command::Doctor(arguments) => doctor::execute(&arguments),
        Command::Explain(arguments) => explain::execute(&arguments),
        Command::Infer(arguments) => infer::execute(&arguments),
        Command::Inspect(arguments) => inspect::execute(&arguments),
        Command::Split(arguments) => split::execute(&arguments),
        Command::Shared(arguments) => shared::execute(&arguments),
        Command::Bench(arguments) => bench::execute(&arguments),
        Command::Reload(arguments) => operate::reload(&arguments),
        Command::Plan(arguments) => operate::plan(&arguments, &log),
        Command::History(arguments) => operate::history(&arguments),
        Command::Rollback(arguments) => operate::rollback(&arguments),
        Command::Swap(arguments) => operate::swap(&arguments),
        Command::Keys(arguments) => keys::execute(&arguments),
        Command::Worker => worker::execute(),
    }
}

fn complain(error: &CliError) {
    match error {
        CliError::Configuration(_) | CliError::Problems(_) => {
            output::complain(&format!("{error}\n"))
        }
        _ => output::complain(&format!("error: {error}\n")),
    }
}
