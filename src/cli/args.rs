//! The command line's grammar: global flags and subcommands. Each subcommand declares its own flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::types::{LogFormat, LogSpec};

use super::bench::BenchArguments;
use super::check::CheckArguments;
use super::doctor::DoctorArguments;
use super::exit;
use super::explain::ExplainArguments;
use super::infer::InferArguments;
use super::inspect::InspectArguments;
use super::keys::KeysArguments;
use super::operate::{
    HistoryArguments, PlanArguments, ReloadArguments, RollbackArguments, SwapArguments,
};
use super::run::RunArguments;
use super::shared::SharedArguments;
use super::split::SplitArguments;

/// Filter of commands that are not servers.
const QUIET_FILTER: &str = "warn";

/// Runs deep neural networks as blocks that exchange tensors over ZeroMQ.
#[derive(Debug, Parser)]
#[command(name = "blockflow", version, after_help = exit::HELP, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) log: LogArguments,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the pipelines of a configuration until interrupted.
    Run(RunArguments),
    /// Check a configuration and the models it names, without loading a device.
    Check(CheckArguments),
    /// Look at this machine, and say what it lacks for a configuration, with what to type.
    Doctor(DoctorArguments),
    /// Show what a configuration means: pipelines, placements, and the route of every edge with its reason.
    Explain(ExplainArguments),
    /// Run a model file or a configured pipeline once on files.
    Infer(InferArguments),
    /// Show what a model holds and costs: signature, operators, weights, hashes, where it can be cut.
    Inspect(InspectArguments),
    /// Cut a model into block files, with a configuration that runs them.
    Split(SplitArguments),
    /// Show what models have in common, and the bytes that sharing it saves.
    Shared(SharedArguments),
    /// Measure latency and throughput of a pipeline, in this process or over HTTP.
    Bench(BenchArguments),
    /// Have a running server serve what is configured now, and wait until it does.
    Reload(ReloadArguments),
    /// Show what a reload would do, without doing it.
    Plan(PlanArguments),
    /// Show the epochs that a server has applied.
    History(HistoryArguments),
    /// Have a running server serve an epoch of before.
    Rollback(RollbackArguments),
    /// Give a block of a running server another model.
    Swap(SwapArguments),
    /// Make the keys by which the hosts of a configuration know each other.
    Keys(KeysArguments),
    /// Run blocks of a configuration that are to have a process of their own. Started by the other commands, not by hand.
    Worker,
}

/// Global flags of the log, which goes to stderr. Their ids differ from those of every subcommand's flags.
#[derive(Debug, Clone, Args)]
pub(super) struct LogArguments {
    /// What to log, such as `info` or `info,blockflow::actors=debug`.
    #[arg(long = "log", id = "log_filter", value_name = "FILTER", global = true)]
    filter: Option<String>,
    /// Form of log lines.
    #[arg(
        long = "log-format",
        id = "log_format",
        value_name = "FORMAT",
        global = true
    )]
    format: Option<LogForm>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogForm {
    Text,
    Json,
}

/// The configuration file, as a positional argument.
#[derive(Debug, Args)]
pub(super) struct ConfigArgument {
    /// Configuration file.
    #[arg(value_name = "FILE", default_value = "blocks.toml")]
    pub(super) config: PathBuf,
}

impl LogArguments {
    /// Returns `base` with the flags applied.
    pub(super) fn over(&self, base: &LogSpec) -> LogSpec {
        let format = match self.format {
            Some(LogForm::Text) => LogFormat::Text,
            Some(LogForm::Json) => LogFormat::Json,
            None => base.format,
        };
        LogSpec {
            filter: self.filter.clone().unwrap_or_else(|| base.filter.clone()),
            format,
        }
    }

    /// Returns the flags over the defaults of a command that is no server.
    pub(super) fn or_quiet(&self) -> LogSpec {
        self.over(&LogSpec {
            filter: QUIET_FILTER.to_owned(),
            format: LogFormat::Text,
        })
    }
}
