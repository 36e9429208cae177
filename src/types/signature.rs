//! Signatures: what a block or a pipeline takes and gives, and the check of a request against it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DType, Dim, Shape, ShapeSpec, Tensor};

/// Name, dtype and shape of one input or output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorSpec {
    pub name: String,
    pub dtype: DType,
    pub shape: ShapeSpec,
}

/// Named inputs and outputs, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

/// Sizes that the symbols of a signature have in one request.
pub type Bindings = BTreeMap<Arc<str>, usize>;

/// A tensor that does not fit its specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("expected {expected} inputs, got {seen}")]
    Count { expected: usize, seen: usize },
    #[error("input {name:?} has datatype {seen}, expected {expected}")]
    DType {
        name: String,
        seen: DType,
        expected: DType,
    },
    #[error("input {name:?} has shape {seen:?}, expected {expected}")]
    Shape {
        name: String,
        seen: Shape,
        expected: ShapeSpec,
    },
    #[error(
        "input {name:?} has shape {seen:?}, where {symbol} is {size}, but another input set {symbol} to {bound}"
    )]
    Symbol {
        name: String,
        seen: Shape,
        symbol: Arc<str>,
        size: usize,
        bound: usize,
    },
}

impl TensorSpec {
    pub fn new(name: impl Into<String>, dtype: DType, shape: ShapeSpec) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape,
        }
    }

    /// Checks dtype and shape of one tensor, adding its sizes to `bindings`.
    pub fn bind(
        &self,
        dtype: DType,
        shape: &[usize],
        bindings: &mut Bindings,
    ) -> Result<(), SignatureError> {
        if dtype != self.dtype {
            return Err(SignatureError::DType {
                name: self.name.clone(),
                seen: dtype,
                expected: self.dtype,
            });
        }
        let mismatch = || SignatureError::Shape {
            name: self.name.clone(),
            seen: shape.to_vec(),
            expected: self.shape.clone(),
        };
        if shape.len() != self.shape.rank() {
            return Err(mismatch());
        }
        for (dim, &size) in self.shape.0.iter().zip(shape) {
            match dim {
                Dim::Fixed(expected) if *expected != size => return Err(mismatch()),
                Dim::Fixed(_) | Dim::Any => {}
                Dim::Symbol(symbol) => {
                    let bound = *bindings.entry(symbol.clone()).or_insert(size);
                    if bound != size {
                        return Err(SignatureError::Symbol {
                            name: self.name.clone(),
                            seen: shape.to_vec(),
                            symbol: symbol.clone(),
                            size,
                            bound,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

impl Signature {
    /// Checks tensors, given in the order of the inputs, and returns what the symbols stand for.
    pub fn bind(&self, inputs: &[Tensor]) -> Result<Bindings, SignatureError> {
        if inputs.len() != self.inputs.len() {
            return Err(SignatureError::Count {
                expected: self.inputs.len(),
                seen: inputs.len(),
            });
        }
        let mut bindings = Bindings::new();
        for (spec, tensor) in self.inputs.iter().zip(inputs) {
            spec.bind(tensor.dtype(), tensor.shape(), &mut bindings)?;
        }
        Ok(bindings)
    }

    pub fn input(&self, name: &str) -> Option<(usize, &TensorSpec)> {
        self.inputs
            .iter()
            .enumerate()
            .find(|(_, spec)| spec.name == name)
    }

    pub fn output(&self, name: &str) -> Option<(usize, &TensorSpec)> {
        self.outputs
            .iter()
            .enumerate()
            .find(|(_, spec)| spec.name == name)
    }

    /// Tells whether requests can be joined along the first dimension: it is one and the same symbol in every
    /// input and output, and every element has a fixed size.
    pub fn batchable(&self) -> bool {
        let first = |spec: &TensorSpec| match spec.shape.0.first() {
            Some(Dim::Symbol(symbol)) if spec.dtype != DType::Bytes => Some(symbol.clone()),
            _ => None,
        };
        let mut specs = self.inputs.iter().chain(&self.outputs);
        let Some(symbol) = self.inputs.first().and_then(first) else {
            return false;
        };
        specs.all(|spec| first(spec).as_ref() == Some(&symbol))
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.name, self.dtype, self.shape)
    }
}
