//! Routes: which path and method reaches which handler, and what everything else is told.

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, Resource, guard, web};

use super::body::BodyLimits;
use super::rejection::{Rejection, shown};
use super::{Backend, Front, infer, metadata, repository};

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every handler needs.
#[derive(Debug)]
pub(super) struct Shared<F> {
    pub(super) front: F,
    pub(super) limits: BodyLimits,
    pub(super) metrics: fn() -> String,
}

/// Adds every route to an application.
pub(super) fn routes<F: Front>(config: &mut web::ServiceConfig) {
    config
        .service(get("/").route(read().to(front::<F>)))
        .service(get("/metrics").route(read().to(metrics::<F>)))
        .service(get("/v2").route(read().to(metadata::server)))
        .service(get("/v2/health/live").route(read().to(HttpResponse::Ok)))
        .service(get("/v2/health/ready").route(read().to(metadata::server_ready::<F>)))
        .service(post("/v2/repository/index").route(web::post().to(repository::index::<F>)))
        .service(
            post("/v2/repository/models/{name}/load").route(web::post().to(repository::load::<F>)),
        )
        .service(
            post("/v2/repository/models/{name}/unload")
                .route(web::post().to(repository::unload::<F>)),
        )
        .default_service(web::to(unknown));
    for version in ["", "/versions/{version}"] {
        let path = |rest: &str| format!("/v2/models/{{name}}{version}{rest}");
        config
            .service(get(&path("")).route(read().to(metadata::pipeline::<F>)))
            .service(get(&path("/ready")).route(read().to(metadata::pipeline_ready::<F>)))
            .service(get(&path("/config")).route(read().to(metadata::pipeline_config::<F>)))
            .service(post(&path("/infer")).route(web::post().to(infer::infer::<F>)));
    }
}

fn read() -> actix_web::Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

fn get(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|request| wrong_method(request, "GET")))
}

fn post(path: &str) -> Resource {
    web::resource(path).default_service(web::to(|request| wrong_method(request, "POST")))
}

async fn wrong_method(
    request: HttpRequest,
    allow: &'static str,
) -> Result<HttpResponse, Rejection> {
    Err(Rejection::Method {
        method: shown(request.method().as_str()),
        path: shown(request.path()),
        allow,
    })
}

async fn unknown(request: HttpRequest) -> Result<HttpResponse, Rejection> {
    Err(Rejection::Path {
        path: shown(request.path()),
    })
}

async fn metrics<F: Front>(shared: web::Data<Shared<F>>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(METRICS_TYPE)
        .body((shared.metrics)())
}

async fn front<F: Front>(shared: web::Data<Shared<F>>) -> HttpResponse {
    let mut text = format!(
        "blockflow {}: Open Inference Protocol v2\n\n\
         GET  /v2                          server metadata\n\
         GET  /v2/health/live              is the server up\n\
         GET  /v2/health/ready             is every pipeline ready\n\
         GET  /v2/models/{{name}}            inputs and outputs of a pipeline\n\
         GET  /v2/models/{{name}}/ready      is one pipeline ready\n\
         POST /v2/models/{{name}}/infer      inference\n\
         POST /v2/repository/index         pipelines and their states\n\
         POST /v2/repository/models/{{name}}/load   serve what is configured now\n\
         POST /v2/repository/models/{{name}}/unload   serve a pipeline no more\n\
         GET  /metrics                     metrics\n\n\
         pipelines:\n",
        env!("CARGO_PKG_VERSION"),
    );
    for pipeline in shared.front.current().pipelines() {
        text.push_str("  ");
        text.push_str(&pipeline.name);
        text.push('\n');
    }
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(text)
}
