//! What is known of a value before the model runs.

use std::sync::Arc;

use crate::graph::Container;
use crate::types::{DType, Dim, ShapeSpec};

/// Tensors of at most this many elements have their elements followed, so that shapes computed by nodes are known.
pub(in crate::graph) const CONTENTS_MAX: usize = 256;

/// An integer element of a small tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::graph) enum Size {
    Known(i64),
    /// The size that a symbol stands for.
    Symbol(Arc<str>),
    Unknown,
}

/// Dtype, shape and, for small integer tensors, elements, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::graph) struct Fact {
    pub(in crate::graph) dtype: Option<DType>,
    pub(in crate::graph) shape: Option<ShapeSpec>,
    pub(in crate::graph) contents: Option<Vec<Size>>,
    pub(in crate::graph) container: Container,
}

impl Size {
    pub(in crate::graph) const fn known(&self) -> Option<i64> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Symbol(_) | Self::Unknown => None,
        }
    }

    /// Reads the element as the size of a dimension; `None` if it is negative.
    pub(in crate::graph) fn dim(&self) -> Option<Dim> {
        match self {
            Self::Known(value) => usize::try_from(*value).ok().map(Dim::Fixed),
            Self::Symbol(symbol) => Some(Dim::Symbol(symbol.clone())),
            Self::Unknown => Some(Dim::Any),
        }
    }
}

impl From<&Dim> for Size {
    fn from(dim: &Dim) -> Self {
        match dim {
            Dim::Fixed(size) => i64::try_from(*size).map_or(Self::Unknown, Self::Known),
            Dim::Symbol(symbol) => Self::Symbol(symbol.clone()),
            Dim::Any => Self::Unknown,
        }
    }
}

impl Fact {
    pub(in crate::graph) fn new(dtype: Option<DType>, shape: Option<ShapeSpec>) -> Self {
        Self {
            dtype,
            shape,
            contents: None,
            container: Container::Tensor,
        }
    }

    pub(in crate::graph) fn within(mut self, container: Container) -> Self {
        self.container = container;
        self
    }

    pub(in crate::graph) fn with_contents(mut self, contents: Option<Vec<Size>>) -> Self {
        self.contents = contents.filter(|contents| contents.len() <= CONTENTS_MAX);
        self
    }

    /// Returns what is left without sizes and elements.
    pub(in crate::graph) fn without_sizes(&self) -> Self {
        let any = |shape: &ShapeSpec| ShapeSpec(vec![Dim::Any; shape.rank()]);
        Self::new(self.dtype, self.shape.as_ref().map(any)).within(self.container)
    }

    pub(in crate::graph) fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(ShapeSpec::rank)
    }

    pub(in crate::graph) fn dims(&self) -> Option<&[Dim]> {
        self.shape.as_ref().map(|shape| shape.0.as_slice())
    }

    /// Returns the elements if every one of them is known.
    pub(in crate::graph) fn numbers(&self) -> Option<Vec<i64>> {
        self.contents.as_ref()?.iter().map(Size::known).collect()
    }
}
