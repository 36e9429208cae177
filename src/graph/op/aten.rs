//! Uses of operators of ATen that have no canonical counterpart.

use crate::types::{DType, ShapeSpec};

/// An operator of ATen by the name and overload of its schema, as models written by `torch.export` use them. It sees
/// tensors as inputs of the node; everything else is constant.
#[derive(Debug, Clone, PartialEq)]
pub struct AtenOp {
    /// With its namespace: `aten::roll`.
    pub name: String,
    /// Empty for the main one.
    pub overload: String,
    /// What is left out has the default of the schema.
    pub arguments: Vec<(AtenPlace, AtenArgument)>,
    /// What the model says of each output.
    pub outputs: Vec<AtenOutput>,
}

/// Which argument of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtenPlace {
    Position(usize),
    Name(String),
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq)]
pub enum AtenArgument {
    None,
    /// Input of the node, by position.
    Input(usize),
    /// A list of inputs; `None` is a tensor left out.
    Inputs(Vec<Option<usize>>),
    Int(i64),
    Ints(Vec<i64>),
    Float(f64),
    Floats(Vec<f64>),
    Bool(bool),
    Bools(Vec<bool>),
    Text(String),
    DType(DType),
    /// The device that the block runs on.
    Device,
    /// Elements side by side, as opposed to sparse ones.
    StridedLayout,
    MemoryFormat(MemoryFormat),
}

/// The order of dimensions in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryFormat {
    Contiguous,
    Preserve,
    ChannelsLast,
    ChannelsLast3d,
}

/// Dtype and shape of an output, as far as the model states them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AtenOutput {
    pub dtype: Option<DType>,
    pub shape: Option<ShapeSpec>,
}
