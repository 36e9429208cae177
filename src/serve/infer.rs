//! The inference handler: body → call → reply → response, all within one future.

use actix_web::{HttpRequest, HttpResponse, web};

use super::http::Shared;
use super::rejection::Rejection;
use super::response::{self, ResponseHead};
use super::{Backend, binary, body, metadata, request};
use crate::actors::InferRequest;

/// Answers one inference request. The reply is awaited here and nowhere else: when the connection drops this future
/// because the client is gone, the reply is dropped with it, and that cancels the request.
pub(super) async fn infer<B: Backend>(
    http: HttpRequest,
    payload: web::Payload,
    shared: web::Data<Shared<B>>,
) -> Result<HttpResponse, Rejection> {
    let (index, pipeline) = metadata::find(&shared.backend, &http)?;
    let header = binary::header_length(&http)?;
    let body = body::read(&http, payload, &shared.limits, header.unwrap_or_default()).await?;
    let call = request::parse(&pipeline.signature, &body, header)?;
    // What the tensors do not use of the body is freed before the wait.
    drop(body);
    let request = InferRequest {
        pipeline: index,
        inputs: call.inputs,
        deadline: call.deadline,
    };
    let reply = shared.backend.submit(request)?.await?;
    let head = ResponseHead {
        pipeline: &pipeline.name,
        version: metadata::VERSION,
        id: call.id.as_deref(),
        specs: &pipeline.signature.outputs,
    };
    response::build(&head, &call.outputs, &reply.outputs)
}
