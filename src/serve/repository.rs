//! The model repository extension: which pipelines there are, and having the configuration be read again.
//!
//! The repository is the configuration file with the models it names. Loading a pipeline has the whole of it be read again and
//! served as one step, since blocks that belong together change together. A request may not bring a model or settings of
//! its own: that would serve what no file says. A pipeline that is unloaded is not served, and what only it used is freed,
//! until it is loaded or the server starts again.

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
struct IndexJson {
    name: String,
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

/// What index says of a pipeline that was unloaded.
const UNLOADED: &str = "unloaded";
/// Sent by clients of servers whose models are made of others, which are known here as blocks.
const DEPENDENTS: &str = "unload_dependents";

/// Lists the pipelines; only those that are ready if the body is `{"ready": true}`.
pub(super) async fn index<F: Front>(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let IndexRequest { ready } = asked(&request, payload, &shared).await?;
    let backend = shared.front.current();
    let served = backend.pipelines().iter().enumerate();
    let served = served.map(|(index, pipeline)| {
        let (state, reason) = match backend.state(index) {
            PipelineState::Ready => ("READY", String::new()),
            PipelineState::NotReady { reason } => ("UNAVAILABLE", reason),
        };
        (pipeline.name.clone(), state, reason)
    });
    let unloaded = shared.front.unloaded().into_iter();
    let unloaded = unloaded
        .filter(|name| !backend.pipelines().iter().any(|one| one.name == *name))
        .map(|name| (name, "UNAVAILABLE", UNLOADED.to_owned()));
    let entries: Vec<_> = served
        .chain(unloaded)
        .map(|(name, state, reason)| IndexJson {
            name,
            version: metadata::VERSION,
            state,
            reason,
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
    let LoadRequest { parameters } = asked(&request, payload, &shared).await?;
    if let Some(name) = parameters.keys().next() {
        return Err(Rejection::LoadParameter { seen: shown(name) });
    }
    shared.front.load(named(&request)).await?;
    metadata::find(&shared.front, &shared.front.current(), &request)?;
    Ok(HttpResponse::Ok().finish())
}

/// Has a pipeline not be served any more. Answers once it is not; requests that it has taken are answered still.
pub(super) async fn unload<F: Front>(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let LoadRequest { parameters } = asked(&request, payload, &shared).await?;
    if let Some(name) = parameters.keys().find(|name| *name != DEPENDENTS) {
        return Err(Rejection::UnloadParameter { seen: shown(name) });
    }
    match metadata::find(&shared.front, &shared.front.current(), &request) {
        Ok(_) => shared.front.unload(named(&request)).await?,
        Err(Rejection::Unloaded { .. }) => {}
        Err(unknown) => return Err(unknown),
    }
    Ok(HttpResponse::Ok().finish())
}

fn named(request: &HttpRequest) -> String {
    let name = request.match_info().get("name").unwrap_or_default();
    name.to_owned()
}

/// Reads the body of a request; one that is empty asks for nothing in particular.
async fn asked<T: Default + DeserializeOwned, F>(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &Shared<F>,
) -> Result<T, Rejection> {
    let body = body::read(request, payload, &shared.limits, 0).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    let read = serde_json::from_slice::<Object<T>>(&body);
    read.map(|Object(asked)| asked)
        .map_err(|cause| Rejection::Json {
            cause: cause.to_string(),
            hint: "",
        })
}
