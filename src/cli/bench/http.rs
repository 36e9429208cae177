//! A pipeline behind the Open Inference Protocol v2, spoken with binary tensors.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::request;
use crate::types::{DType, Dim, ShapeSpec, Signature, Tensor, TensorSpec, with_causes};

use super::target::Fault;

/// Length of the JSON in front of the tensors, in both directions.
const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

/// Bytes of an error reply that are shown.
const CAUSE_BYTES_MAX: usize = 300;

/// A server, before a pipeline of it is chosen.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    base: Url,
}

/// One pipeline and the request that it is sent.
#[derive(Debug)]
pub(super) struct HttpPipeline {
    client: Client,
    url: Url,
    json_length: usize,
    body: Bytes,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    inputs: Vec<TensorMetadata>,
    #[serde(default)]
    outputs: Vec<TensorMetadata>,
}

#[derive(Debug, Deserialize)]
struct TensorMetadata {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

#[derive(Debug, Deserialize)]
struct Indexed {
    name: String,
}

impl Server {
    pub(super) fn new(base: &str, timeout: Duration) -> Result<Self, CliError> {
        let error = |cause: String| CliError::Http {
            url: base.to_owned(),
            cause,
        };
        let url: Url = base.parse().map_err(|cause| error(format!("{cause}")))?;
        if url.scheme() != "http" || url.cannot_be_a_base() {
            return Err(error(
                "expected a URL such as http://127.0.0.1:8000".to_owned(),
            ));
        }
        let client = Client::builder()
            .timeout(timeout)
            .build()
            .map_err(|cause| error(with_causes(&cause)))?;
        Ok(Self { client, base: url })
    }

    /// Returns the name of the pipeline to measure, asking the server where none is given.
    pub(super) async fn choose(&self, name: Option<&str>) -> Result<String, CliError> {
        if let Some(name) = name {
            return Ok(name.to_owned());
        }
        let url = self.at(&["repository", "index"]);
        let index: Vec<Indexed> = self.fetch(self.client.post(url.clone()), &url).await?;
        let names: Vec<_> = index.iter().map(|one| one.name.as_str()).collect();
        Ok(names[request::choose_pipeline(&names, None)?].to_owned())
    }

    pub(super) async fn signature(&self, pipeline: &str) -> Result<Signature, CliError> {
        let url = self.at(&["models", pipeline]);
        let metadata: Metadata = self.fetch(self.client.get(url.clone()), &url).await?;
        let specs = |tensors: Vec<TensorMetadata>| -> Result<Vec<TensorSpec>, CliError> {
            tensors
                .into_iter()
                .map(|tensor| {
                    spec(tensor).map_err(|cause| CliError::Http {
                        url: url.to_string(),
                        cause,
                    })
                })
                .collect()
        };
        Ok(Signature {
            inputs: specs(metadata.inputs)?,
            outputs: specs(metadata.outputs)?,
        })
    }

    pub(super) fn pipeline(
        self,
        name: &str,
        signature: &Signature,
        inputs: &[Tensor],
    ) -> Result<HttpPipeline, CliError> {
        let (json_length, body) = encode(signature, inputs)?;
        let url = self.at(&["models", name, "infer"]);
        Ok(HttpPipeline {
            client: self.client,
            url,
            json_length,
            body,
        })
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v2").extend(path);
        }
        url
    }

    async fn fetch<T: for<'de> Deserialize<'de>>(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
    ) -> Result<T, CliError> {
        let error = |cause: String| CliError::Http {
            url: url.to_string(),
            cause,
        };
        let response = request
            .send()
            .await
            .map_err(|cause| error(with_causes(&cause)))?;
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|cause| error(with_causes(&cause)))?;
        if !status.is_success() {
            return Err(error(format!("{status}: {}", excerpt(&body))));
        }
        serde_json::from_slice(&body).map_err(|cause| error(format!("unexpected reply: {cause}")))
    }
}

impl HttpPipeline {
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    pub(super) async fn send(&self) -> Result<(), Fault> {
        let request = self
            .client
            .post(self.url.clone())
            .header(HEADER_LENGTH, self.json_length)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(self.body.clone());
        let response = request.send().await.map_err(|error| fault(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| fault(&error))?;
        if status.is_success() {
            return Ok(());
        }
        Err(Fault {
            kind: format!("http_{}", status.as_u16()),
            cause: excerpt(&body),
        })
    }
}

fn spec(tensor: TensorMetadata) -> Result<TensorSpec, String> {
    let dtype: DType = tensor
        .datatype
        .parse()
        .map_err(|error| format!("{error}"))?;
    let dims = tensor
        .shape
        .iter()
        .map(|&size| usize::try_from(size).map_or(Dim::Any, Dim::Fixed));
    Ok(TensorSpec::new(
        tensor.name,
        dtype,
        ShapeSpec(dims.collect()),
    ))
}

/// Returns the length of the JSON and the body: the JSON, then the tensors in the order of the inputs.
fn encode(signature: &Signature, inputs: &[Tensor]) -> Result<(usize, Bytes), CliError> {
    let described: Vec<_> = signature
        .inputs
        .iter()
        .zip(inputs)
        .map(|(spec, tensor)| {
            json!({
                "name": spec.name,
                "datatype": tensor.dtype().name(),
                "shape": tensor.shape(),
                "parameters": { "binary_data_size": tensor.bytes().len() },
            })
        })
        .collect();
    let header = json!({ "inputs": described, "parameters": { "binary_data_output": true } });
    let mut body = serde_json::to_vec(&header).map_err(CliError::Json)?;
    let json_length = body.len();
    inputs
        .iter()
        .for_each(|tensor| body.extend_from_slice(tensor.bytes()));
    Ok((json_length, Bytes::from(body)))
}

fn fault(error: &reqwest::Error) -> Fault {
    let kind = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "transport"
    };
    Fault {
        kind: kind.to_owned(),
        cause: with_causes(error),
    }
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(CAUSE_BYTES_MAX)])
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_json_followed_by_the_tensors() {
        let spec = TensorSpec::new("x", DType::U8, ShapeSpec(vec![Dim::Any]));
        let signature = Signature {
            inputs: vec![spec],
            outputs: Vec::new(),
        };
        let tensor = Tensor::copy_of(DType::U8, vec![3], &[7, 8, 9]).expect("a tensor");
        let (length, body) = encode(&signature, &[tensor]).expect("encodes");
        assert_eq!(&body[length..], [7, 8, 9]);
        let header: serde_json::Value = serde_json::from_slice(&body[..length]).expect("JSON");
        let expected = json!({
            "inputs": [{ "name": "x", "datatype": "UINT8", "shape": [3], "parameters": { "binary_data_size": 3 } }],
            "parameters": { "binary_data_output": true },
        });
        assert_eq!(header, expected);
    }

    #[test]
    fn names_are_escaped_in_urls_and_a_base_path_is_kept() {
        let server =
            Server::new("http://host:1/prefix/", Duration::from_secs(1)).expect("a server");
        assert_eq!(
            server.at(&["models", "a b/c", "infer"]).as_str(),
            "http://host:1/prefix/v2/models/a%20b%2Fc/infer"
        );
        assert!(Server::new("https://host", Duration::from_secs(1)).is_err());
        assert!(Server::new("host:80", Duration::from_secs(1)).is_err());
    }
}
