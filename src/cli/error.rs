//! Why a command failed, and the exit code that tells.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::app::{ControlError, HistoryError, KeyError, ServeFailure, StartError, WorkFailure};
use crate::config::Located;
use crate::engine::{EngineError, NpyError};
use crate::graph::GraphError;
use crate::telemetry::LogError;
use crate::types::{Failure, FaultKind, Signature, TensorError, TensorSpec};

use super::exit::Exit;

/// Failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{}", lines(.0).trim_end())]
    Configuration(Vec<Located>),
    /// As [`CliError::Configuration`], where the places of the problems are told with them.
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Serve(#[from] ServeFailure),
    #[error(transparent)]
    Work(#[from] WorkFailure),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Model(#[from] GraphError),
    #[error("cannot prepare {path}: {source}", path = path.display())]
    Prepare { path: PathBuf, source: EngineError },
    #[error("run failed: {0}")]
    Run(#[source] EngineError),
    #[error("request refused or failed ({kind}): {0}", kind = .0.kind.name())]
    Request(Failure),
    #[error(transparent)]
    Npy(#[from] NpyError),
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("{cause}\n{}", describe(signature))]
    Inputs { cause: String, signature: Signature },
    #[error("{0}")]
    Usage(String),
    #[error("no pipeline {seen:?}, expected one of: {known}", known = known.join(", "))]
    UnknownPipeline { seen: String, known: Vec<String> },
    #[error("{url}: {cause}")]
    Http { url: String, cause: String },
    #[error("{errors} of {requests} requests failed")]
    BenchErrors { errors: u64, requests: u64 },
    #[error("cannot write the result: {0}")]
    Stdout(std::io::Error),
    #[error("cannot render the result: {0}")]
    Json(serde_json::Error),
    #[error("cannot set up the client: {0}")]
    Client(std::io::Error),
    #[error("cannot listen on the socket that was handed over: {0}")]
    Inherited(std::io::Error),
    #[error("cannot start this program again: {0}")]
    Again(std::io::Error),
    #[error("stopped at {address} with {} requests unanswered:\n  {}", stragglers.len(), stragglers.join("\n  "))]
    Stragglers {
        address: SocketAddr,
        stragglers: Vec<String>,
    },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl CliError {
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Configuration(_) | Self::Problems(_) => Exit::Configuration,
            Self::Serve(
                ServeFailure::Ended | ServeFailure::Gateway(_) | ServeFailure::TooOften(_),
            ) => Exit::Failed,
            Self::Model(GraphError::Write { .. } | GraphError::Unwritable { .. }) => Exit::Failed,
            Self::Model(GraphError::TooFewCuts { .. }) => Exit::Usage,
            Self::Work(WorkFailure::Orders(_)) => Exit::Usage,
            Self::Work(WorkFailure::Fault { kind, .. }) => match kind {
                FaultKind::DeviceLost => Exit::DeviceLost,
                FaultKind::Hang => Exit::Stuck,
                _ => Exit::Failed,
            },
            Self::Work(_)
            | Self::Inherited(_)
            | Self::Start(_)
            | Self::Serve(_)
            | Self::Model(_)
            | Self::Prepare { .. } => Exit::CannotStart,
            Self::Log(_) | Self::Inputs { .. } | Self::Usage(_) | Self::UnknownPipeline { .. } => {
                Exit::Usage
            }
            Self::Stragglers { .. } => Exit::Stragglers,
            Self::Run(_)
            | Self::Request(_)
            | Self::Npy(_)
            | Self::File { .. }
            | Self::Key(_)
            | Self::History(_)
            | Self::Control(_)
            | Self::Tensor(_)
            | Self::Http { .. }
            | Self::BenchErrors { .. }
            | Self::Stdout(_)
            | Self::Again(_)
            | Self::Json(_)
            | Self::Client(_) => Exit::Failed,
        }
    }
}

/// Writes one problem per line.
pub(super) fn lines(problems: &[Located]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

fn describe(signature: &Signature) -> String {
    let list = |heading: &str, specs: &[TensorSpec]| {
        let lines: String = specs.iter().map(|spec| format!("\n  {spec}")).collect();
        format!("{heading}:{lines}")
    };
    format!(
        "{}\n{}",
        list("inputs", &signature.inputs),
        list("outputs", &signature.outputs)
    )
}
