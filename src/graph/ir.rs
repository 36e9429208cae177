//! The arena of nodes and values.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::{DType, ShapeSpec, Tensor};

use super::Op;

/// Index of a node in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// Index of a value in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A tensor that the model file carries. Its memory is a slice of the mapped file where that is possible, so its address
/// is a multiple of nothing: read elements as bytes, or copy them to where they are aligned.
#[derive(Debug, Clone)]
pub struct Initializer {
    pub tensor: Tensor,
}

/// A list of integers of at most this many elements is read as a setting of an operator.
const SETTING_MAX: usize = 256;

impl Initializer {
    /// Tells whether it sets an operator rather than being trained: a scalar, or a short list of integers. ONNX passes
    /// axes, shapes and bounds as such tensors.
    pub fn is_setting(&self) -> bool {
        let tensor = &self.tensor;
        let integers = matches!(tensor.dtype(), DType::I64 | DType::I32 | DType::Bool);
        let count = tensor.shape().iter().product::<usize>();
        tensor.shape().is_empty() || (integers && count <= SETTING_MAX)
    }
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum ValueOrigin {
    /// Input of the graph, by position.
    Input(usize),
    Initializer(Arc<Initializer>),
    /// Output of a node, by position.
    Node(NodeId, usize),
}

/// What a value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Container {
    #[default]
    Tensor,
    /// Any number of tensors of one dtype.
    Sequence,
    /// A tensor, or nothing.
    Optional,
    /// A sequence, or nothing.
    OptionalSequence,
}

/// A named value of the graph. Dtype and shape, which are those of each tensor in a container, are `None` where
/// inference could not tell.
#[derive(Debug, Clone)]
pub struct Value {
    pub name: String,
    pub dtype: Option<DType>,
    pub shape: Option<ShapeSpec>,
    pub container: Container,
    pub origin: ValueOrigin,
}

/// One use of an operator. An absent optional input or output is `None`.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    pub op: Op,
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: Vec<Option<ValueId>>,
}

/// A model or a segment of one.
#[derive(Debug, Clone)]
pub struct Graph {
    pub name: String,
    /// The file it was read from, for messages.
    pub path: PathBuf,
    /// Files beside it in which some of its weights lie.
    pub data_files: Arc<[PathBuf]>,
    pub nodes: Vec<Node>,
    pub values: Vec<Value>,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensor => "a tensor",
            Self::Sequence => "a sequence",
            Self::Optional => "an optional tensor",
            Self::OptionalSequence => "an optional sequence",
        })
    }
}

impl Graph {
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// Returns the value of a name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        let place = self.values.iter().position(|value| value.name == name)?;
        u32::try_from(place).ok().map(ValueId)
    }
}
