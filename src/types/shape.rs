//! Shapes: concrete ones of tensors, and specifications with symbolic dimensions.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::DType;

/// Sizes of a tensor's dimensions, outermost first. Row-major and contiguous everywhere in this program.
pub type Shape = Vec<usize>;

/// Dimensions of one tensor at most.
pub const RANK_MAX: usize = 32;

/// Tensors that one producer gives to one consumer for one request at most.
pub const TENSORS_MAX: usize = 1024;

/// One dimension of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dim {
    Fixed(usize),
    /// Any size; equal symbols of one signature have equal sizes in one request.
    Symbol(#[serde(with = "shared")] Arc<str>),
    /// Any size, related to nothing.
    Any,
}

/// Shape with symbolic dimensions, written `[batch, 3, 224, 224]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ShapeSpec(pub Vec<Dim>);

/// Sizes that do not describe memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("the sizes of shape {shape:?} multiply to more than this machine can address")]
    Overflow { shape: Shape },
    #[error("datatype BYTES has no fixed element size")]
    NoFixedSize,
}

/// Returns the number of elements of `shape`; 1 for a scalar.
pub fn element_count(shape: &[usize]) -> Result<usize, ShapeError> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .filter(|&count| count <= isize::MAX as usize)
        .ok_or_else(|| ShapeError::Overflow {
            shape: shape.to_vec(),
        })
}

/// Returns the number of bytes a tensor of `dtype` and `shape` occupies.
pub fn byte_count(dtype: DType, shape: &[usize]) -> Result<usize, ShapeError> {
    let size = dtype.size().ok_or(ShapeError::NoFixedSize)?;
    element_count(shape)?
        .checked_mul(size)
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .ok_or_else(|| ShapeError::Overflow {
            shape: shape.to_vec(),
        })
}

/// Shared text as serde writes and reads it.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

impl Dim {
    pub fn symbol(name: &str) -> Self {
        Self::Symbol(Arc::from(name))
    }

    pub const fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(*size),
            Self::Symbol(_) | Self::Any => None,
        }
    }
}

impl ShapeSpec {
    pub fn fixed(shape: &[usize]) -> Self {
        Self(shape.iter().copied().map(Dim::Fixed).collect())
    }

    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Returns the concrete shape if no dimension is symbolic.
    pub fn concrete(&self) -> Option<Shape> {
        self.0.iter().map(Dim::fixed).collect()
    }

    /// Tells whether some concrete shape satisfies both specifications, symbols of the two being unrelated.
    pub fn compatible(&self, other: &Self) -> bool {
        self.rank() == other.rank()
            && self.0.iter().zip(&other.0).all(|pair| match pair {
                (Dim::Fixed(left), Dim::Fixed(right)) => left == right,
                _ => true,
            })
    }

    /// Returns the sizes as the Open Inference Protocol writes them: −1 where any size is accepted.
    pub fn wire(&self) -> Vec<i64> {
        self.0
            .iter()
            .map(|dim| {
                dim.fixed()
                    .map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX))
            })
            .collect()
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Symbol(name) => f.write_str(name),
            Self::Any => f.write_str("?"),
        }
    }
}

impl fmt::Display for ShapeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, dim) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}
