//! The side of who gives commands.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::with_causes;

use super::server::socket_in;
use super::{Answer, Planned, Rollback, Status, Swapped, Unpinned};

/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 1 << 26;
/// How long an answer may take: a reload loads models, and may wait for others before it.
const ANSWER: Duration = Duration::from_secs(3600);

/// Gives commands to the server of a state directory.
#[derive(Debug)]
pub struct Control {
    client: Client,
    state: PathBuf,
    /// The path to the socket leads through it.
    _directory: File,
}

/// Why a command had no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "no server runs with the state directory {state}: start `blockflow run`, or pass the --config and --state of the one that runs",
        state = state.display()
    )]
    NoServer { state: PathBuf },
    #[error("cannot ask the server of {state}: {cause}", state = state.display())]
    Failed { state: PathBuf, cause: String },
}

impl Control {
    /// Looks for the server of a state directory; whether one is there shows when it is asked.
    pub fn of(state: &Path) -> Result<Self, ControlError> {
        let failed = |cause: String| ControlError::Failed {
            state: state.to_owned(),
            cause,
        };
        let directory = File::open(state).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ControlError::NoServer {
                state: state.to_owned(),
            },
            _ => failed(error.to_string()),
        })?;
        let client = Client::builder()
            .unix_socket(socket_in(&directory))
            .timeout(ANSWER)
            .build()
            .map_err(|error| failed(with_causes(&error)))?;
        Ok(Self {
            client,
            state: state.to_owned(),
            _directory: directory,
        })
    }

    pub async fn status(&self) -> Result<Status, ControlError> {
        self.ask(Method::GET, "status", &()).await
    }

    /// Asks what a reload would do.
    pub async fn plan(&self) -> Result<Planned, ControlError> {
        self.ask(Method::GET, "plan", &()).await
    }

    /// Has what is configured be served.
    pub async fn reload(&self) -> Result<Answer, ControlError> {
        self.ask(Method::POST, "reload", &()).await
    }

    /// Has an epoch of before be served; `None`: the one before.
    pub async fn rollback(&self, epoch: Option<u32>) -> Result<Answer, ControlError> {
        let command = Rollback { epoch };
        self.ask(Method::POST, "rollback", &command).await
    }

    /// Gives a block another model, at an absolute path.
    pub async fn swap(
        &self,
        block: String,
        file: PathBuf,
        pinned: bool,
    ) -> Result<Answer, ControlError> {
        let command = Swapped {
            block,
            file,
            pinned,
        };
        self.ask(Method::POST, "swap", &command).await
    }

    /// Gives a block its configured model again.
    pub async fn unpin(&self, block: String) -> Result<Answer, ControlError> {
        let command = Unpinned { block };
        self.ask(Method::POST, "unpin", &command).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        command: &str,
        body: &impl Serialize,
    ) -> Result<T, ControlError> {
        let failed = |cause: String| ControlError::Failed {
            state: self.state.clone(),
            cause,
        };
        let body = serde_json::to_vec(body).map_err(|error| failed(error.to_string()))?;
        let request = self
            .client
            .request(method, format!("http://blockflow/v1/{command}"));
        let mut response = request.body(body).send().await.map_err(|error| {
            if error.is_connect() {
                return ControlError::NoServer {
                    state: self.state.clone(),
                };
            }
            failed(with_causes(&error))
        })?;
        let mut text = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| failed(with_causes(&error)))?
        {
            text.extend_from_slice(&piece);
            if text.len() > ANSWER_BYTES_MAX {
                return Err(failed(format!(
                    "an answer of more than {ANSWER_BYTES_MAX} bytes"
                )));
            }
        }
        let answer = serde_json::from_slice(&text);
        answer.map_err(|error| match serde_json::from_slice(&text) {
            Ok(Answer::Rejected { reasons } | Answer::RolledBack { reasons }) => {
                failed(reasons.join("; "))
            }
            Ok(Answer::Stopping) => failed("it is shutting down".to_owned()),
            Ok(_) | Err(_) => failed(error.to_string()),
        })
    }
}
