//! Files of one tensor, as the ONNX project writes inputs and expected outputs of a model (`input_0.pb`).

use std::path::Path;

use prost::Message;

use super::external::Files;
use super::proto::TensorProto;
use super::tensor::read;
use crate::graph::GraphError;
use crate::graph::build::map;
use crate::types::Tensor;

/// Reads a file that holds one `TensorProto`.
///
/// # Errors
/// If the file cannot be read, holds no such message, or one that contradicts itself.
pub fn read_tensor(path: &Path) -> Result<Tensor, GraphError> {
    let path = path.to_path_buf();
    let bytes = map(&path).map_err(|source| GraphError::Read {
        path: path.clone(),
        source,
    })?;
    let proto = TensorProto::decode(bytes).map_err(|source| GraphError::DecodeTensor {
        path: path.clone(),
        source,
    })?;
    match read(&proto, &proto.name, &mut Files::beside(&path)) {
        Ok(initializer) => Ok(initializer.tensor.clone()),
        Err(defect) => Err(GraphError::Model {
            path,
            source: Box::new(defect),
        }),
    }
}
