//! Requests to pipelines of this process.

use std::time::Duration;

use crate::actors::{Gateway, InferRequest};
use crate::app::{Loaded, Runtime};
use crate::plan::PlannedPipeline;
use crate::types::{LogFormat, Tensor};

use super::compose;
use super::error::CliError;

/// How long a command waits for its own requests when it is done; there are none left unless it failed.
const DRAIN: Duration = Duration::from_secs(1);

/// Returns the index of the pipeline called `name`, which may be left out where there is only one.
pub(super) fn choose_pipeline(names: &[&str], name: Option<&str>) -> Result<usize, CliError> {
    let known = || {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    match (name, names) {
        (Some(name), _) => names
            .iter()
            .position(|&known| known == name)
            .ok_or_else(|| CliError::UnknownPipeline {
                seen: name.to_owned(),
                known: known(),
            }),
        (None, [_]) => Ok(0),
        (None, _) => Err(CliError::Usage(format!(
            "--pipeline is missing, expected one of: {}",
            known().join(", ")
        ))),
    }
}

/// Returns a pipeline that is not running yet, chosen as by [`choose_pipeline`].
pub(super) fn planned<'loaded>(
    loaded: &'loaded Loaded,
    name: Option<&str>,
) -> Result<&'loaded PlannedPipeline, CliError> {
    let pipelines = &loaded.plan.pipelines;
    let names: Vec<_> = pipelines
        .iter()
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    Ok(&pipelines[choose_pipeline(&names, name)?])
}

/// Returns a runtime for the futures of replies.
pub(super) fn client() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Client)
}

/// A pipeline of a runtime that this command started.
#[derive(Debug)]
pub(super) struct OwnPipeline {
    runtime: Runtime,
    gateway: Gateway,
    index: usize,
}

impl OwnPipeline {
    /// Starts all that `loaded` holds and takes the pipeline called `name`.
    pub(super) fn start(loaded: Loaded, name: &str) -> Result<Self, CliError> {
        let runtime = Runtime::start(loaded, compose::part(None, LogFormat::Text))?;
        let gateway = runtime.gateway().cloned().ok_or_else(|| {
            CliError::Usage("the configuration has its gateway on another host".to_owned())
        })?;
        let names: Vec<_> = gateway
            .pipelines()
            .iter()
            .map(|pipeline| pipeline.name.as_str())
            .collect();
        let index = choose_pipeline(&names, Some(name))?;
        Ok(Self {
            runtime,
            gateway,
            index,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.gateway.pipelines()[self.index].name
    }

    /// Sends one request and waits for its reply.
    pub(super) async fn infer(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, CliError> {
        infer(&self.gateway, self.index, inputs).await
    }

    pub(super) fn stop(self) {
        self.runtime.stop(DRAIN);
    }
}

async fn infer(
    gateway: &Gateway,
    pipeline: usize,
    inputs: Vec<Tensor>,
) -> Result<Vec<Tensor>, CliError> {
    let request = InferRequest {
        pipeline,
        inputs,
        deadline: None,
    };
    let ticket = gateway.submit(request).map_err(CliError::Request)?;
    Ok(ticket.await.map_err(CliError::Request)?.outputs)
}
