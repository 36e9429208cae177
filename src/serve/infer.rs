//! The inference handler: body → call → reply → response, all within one future.

use actix_web::{HttpRequest, HttpResponse, web};

use super::http::Shared;
use super::rejection::Rejection;
use super::response::{self, ResponseHead};
use super::{Backend, Front, binary, body, metadata, request};
use crate::actors::InferRequest;

/// Answers one inference request. The reply is awaited here and nowhere else: when the connection drops this future
/// because the client is gone, the reply is dropped with it, and that cancels the request.
pub(super) async fn infer<F: Front>(
    http: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared<F>>,
) -> Result<HttpResponse, Rejection> {
    // What is not there need not be read.
    metadata::find(&shared.front, &shared.front.current(), &http)?;
    let header = binary::header_length(&http)?;
    let body = body::read(&http, payload, &shared.limits, header.unwrap_or_default()).await?;
    // Which may have taken long: others may be served by now.
    let backend = shared.front.current();
    let (index, pipeline) = metadata::find(&shared.front, &backend, &http)?;
    let call = request::parse(&pipeline.signature, &body, header)?;
    // What the tensors do not use of the body is freed before the wait.
    drop(body);
    let request = InferRequest {
        pipeline: index,
        inputs: call.inputs,
        deadline: call.deadline,
    };
    let reply = backend.submit(request)?.await?;
    let head = ResponseHead {
        pipeline: &pipeline.name,
        version: metadata::VERSION,
        id: call.id.as_deref(),
        specs: &pipeline.signature.outputs,
    };
    response::build(&head, &call.outputs, &reply.outputs)
}
