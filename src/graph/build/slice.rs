//! Weights that stay in the file.

use std::sync::Arc;

use bytes::Bytes;

use crate::graph::Defect;
use crate::types::{DType, HostMemory};

/// A slice of a mapped file.
#[derive(Debug)]
struct Slice(Bytes);

impl HostMemory for Slice {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Returns a slice of a mapped file as the memory of a tensor.
pub(in crate::graph) fn in_file(bytes: Bytes) -> Arc<dyn HostMemory> {
    Arc::new(Slice(bytes))
}

/// Checks that the elements of a tensor of truth values are that, as engines believe it.
pub(in crate::graph) fn check_truth_values(
    tensor: &str,
    dtype: DType,
    bytes: &[u8],
) -> Result<(), Defect> {
    match bytes.iter().find(|&&byte| byte > 1) {
        Some(&odd) if dtype == DType::Bool => Err(Defect::Element {
            tensor: tensor.to_owned(),
            dtype,
            seen: odd.into(),
        }),
        _ => Ok(()),
    }
}
