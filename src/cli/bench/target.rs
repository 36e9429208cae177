//! What is measured: a pipeline of this process, or one behind HTTP.

use crate::cli::error::CliError;
use crate::cli::request::OwnPipeline;
use crate::types::Tensor;

use super::http::HttpPipeline;

/// A place to send the same request to again and again.
#[derive(Debug)]
pub(super) enum Target {
    Process {
        pipeline: Box<OwnPipeline>,
        inputs: Vec<Tensor>,
    },
    Http(HttpPipeline),
}

/// Why a request of a benchmark got no result.
#[derive(Debug)]
pub(super) struct Fault {
    /// One of few words, by which faults are counted.
    pub(super) kind: String,
    pub(super) cause: String,
}

impl Target {
    /// Sends one request and waits for its reply.
    pub(super) async fn send(&self) -> Result<(), Fault> {
        match self {
            Self::Process { pipeline, inputs } => match pipeline.infer(inputs.clone()).await {
                Ok(_) => Ok(()),
                Err(CliError::Request(failure)) => Err(Fault {
                    kind: failure.kind.name().to_owned(),
                    cause: failure.to_string(),
                }),
                Err(error) => Err(Fault {
                    kind: "client".to_owned(),
                    cause: error.to_string(),
                }),
            },
            Self::Http(pipeline) => pipeline.send().await,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Process { pipeline, .. } => {
                format!("pipeline {} in this process", pipeline.name())
            }
            Self::Http(pipeline) => pipeline.url().to_owned(),
        }
    }

    pub(super) fn stop(self) {
        if let Self::Process { pipeline, .. } = self {
            pipeline.stop();
        }
    }
}
