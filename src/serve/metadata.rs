//! What the server and its pipelines say about themselves.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::http::Shared;
use super::rejection::{Rejection, shown};
use super::{Backend, Front};
use crate::actors::{PipelineInfo, PipelineState};
use crate::types::TensorSpec;

/// The only version a pipeline has.
pub(super) const VERSION: &str = "1";

#[derive(Serialize)]
struct ServerJson {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 2],
}

#[derive(Serialize)]
struct PipelineJson<'a> {
    name: &'a str,
    versions: [&'static str; 1],
    platform: &'static str,
    inputs: Vec<TensorJson<'a>>,
    outputs: Vec<TensorJson<'a>>,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<i64>,
}

/// Finds the pipeline of `backend`, and the version if there is one, that a path names.
pub(super) fn find<'a, F: Front>(
    front: &F,
    backend: &'a F::Backend,
    request: &HttpRequest,
) -> Result<(usize, &'a PipelineInfo), Rejection> {
    let part = |name: &str| request.match_info().get(name);
    let name = part("name").unwrap_or_default();
    let pipelines = backend.pipelines();
    let Some((index, pipeline)) = pipelines
        .iter()
        .enumerate()
        .find(|(_, pipeline)| pipeline.name == name)
    else {
        if front.unloaded().iter().any(|unloaded| unloaded == name) {
            return Err(Rejection::Unloaded {
                pipeline: name.to_owned(),
            });
        }
        let known = pipelines
            .iter()
            .map(|pipeline| pipeline.name.clone())
            .collect();
        return Err(Rejection::Pipeline {
            seen: shown(name),
            known,
        });
    };
    match part("version") {
        Some(version) if version != VERSION => Err(Rejection::Version {
            pipeline: pipeline.name.clone(),
            seen: shown(version),
        }),
        _ => Ok((index, pipeline)),
    }
}

pub(super) async fn server() -> HttpResponse {
    HttpResponse::Ok().json(ServerJson {
        name: "blockflow",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data", "model_repository"],
    })
}

pub(super) async fn pipeline<F: Front>(
    request: HttpRequest,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let backend = shared.front.current();
    let (_, pipeline) = find(&shared.front, &backend, &request)?;
    Ok(HttpResponse::Ok().json(PipelineJson {
        name: &pipeline.name,
        versions: [VERSION],
        platform: "blockflow_pipeline",
        inputs: tensors(&pipeline.signature.inputs),
        outputs: tensors(&pipeline.signature.outputs),
    }))
}

pub(super) async fn pipeline_ready<F: Front>(
    request: HttpRequest,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let backend = shared.front.current();
    let (index, pipeline) = find(&shared.front, &backend, &request)?;
    match backend.state(index) {
        PipelineState::Ready => Ok(HttpResponse::Ok().finish()),
        PipelineState::NotReady { reason } => Err(Rejection::NotReady {
            reasons: vec![not_ready(&pipeline.name, &reason)],
        }),
    }
}

pub(super) async fn pipeline_config<F: Front>(
    request: HttpRequest,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let backend = shared.front.current();
    let (_, pipeline) = find(&shared.front, &backend, &request)?;
    Err(Rejection::ModelConfig {
        pipeline: pipeline.name.clone(),
    })
}

pub(super) async fn server_ready<F: Front>(
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    let backend = shared.front.current();
    let reasons: Vec<_> = backend
        .pipelines()
        .iter()
        .enumerate()
        .filter_map(|(index, pipeline)| match backend.state(index) {
            PipelineState::Ready => None,
            PipelineState::NotReady { reason } => Some(not_ready(&pipeline.name, &reason)),
        })
        .collect();
    if reasons.is_empty() {
        Ok(HttpResponse::Ok().finish())
    } else {
        Err(Rejection::NotReady { reasons })
    }
}

fn tensors(specs: &[TensorSpec]) -> Vec<TensorJson<'_>> {
    specs
        .iter()
        .map(|spec| TensorJson {
            name: &spec.name,
            datatype: spec.dtype.name(),
            shape: spec.shape.wire(),
        })
        .collect()
}

fn not_ready(pipeline: &str, reason: &str) -> String {
    format!("pipeline {pipeline:?} is not ready: {reason}")
}
