//! The model repository extension: which pipelines there are, and having the configuration be read again.
//!
//! The repository is the configuration file with the models it names. Loading a pipeline has the whole of it be read again and
//! served as one step, since blocks that belong together change together. A request may not bring a model or settings of
//! its own, and what is configured cannot be unloaded: both would serve what no file says.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::http::Shared;
use super::parameters::Object;
use super::rejection::{Rejection, shown};
use super::{Backend, Front, body, metadata};
use crate::actors::PipelineState;

#[derive(Serialize)]
struct IndexJson<'a> {
    name: &'a str,
    version: &'static str,
    state: &'static str,
    reason: String,
}

#[derive(Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

#[derive(Default, Deserialize)]
struct LoadRequest {
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Lists the pipelines; only those that are ready if the body is `{"ready": true}`.
pub(super) async fn index<F: Front>(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let body = body::read(&request, payload, &shared.limits, 0).await?;
    let IndexRequest { ready } = asked(&body)?;
    let backend = shared.front.current();
    let entries: Vec<_> = backend
        .pipelines()
        .iter()
        .enumerate()
        .map(|(index, pipeline)| {
            let (state, reason) = match backend.state(index) {
                PipelineState::Ready => ("READY", String::new()),
                PipelineState::NotReady { reason } => ("UNAVAILABLE", reason),
            };
            IndexJson {
                name: &pipeline.name,
                version: metadata::VERSION,
                state,
                reason,
            }
        })
        .filter(|entry| !ready || entry.state == "READY")
        .collect();
    Ok(HttpResponse::Ok().json(entries))
}

/// Has the configuration be read again. Answers once that is served, or says why it is not.
pub(super) async fn load<F: Front>(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let body = body::read(&request, payload, &shared.limits, 0).await?;
    let LoadRequest { parameters } = asked(&body)?;
    if let Some(name) = parameters.keys().next() {
        return Err(Rejection::LoadParameter { seen: shown(name) });
    }
    shared.front.reload().await?;
    metadata::find(&shared.front.current(), &request)?;
    Ok(HttpResponse::Ok().finish())
}

pub(super) async fn unload(request: HttpRequest) -> Result<HttpResponse, Rejection> {
    let name = request.match_info().get("name").unwrap_or_default();
    Err(Rejection::Unload {
        pipeline: shown(name),
    })
}

/// Reads a body; one that is empty asks for nothing in particular.
fn asked<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let read = serde_json::from_slice::<Object<T>>(body);
    read.map(|Object(asked)| asked)
        .map_err(|cause| Rejection::Json {
            cause: cause.to_string(),
            hint: "",
        })
}
