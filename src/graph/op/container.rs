//! Operators on sequences of tensors and on optional values.

use crate::graph::Container;
use crate::types::DType;

/// An operator that makes, changes or opens a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerOp {
    /// Inputs: at least one tensor.
    SequenceConstruct,
    /// No inputs.
    SequenceEmpty { dtype: DType },
    /// Inputs: sequence, position. A negative position counts from the end, here and below.
    SequenceAt,
    /// Inputs: sequence, tensor, position?. Without a position at the end.
    SequenceInsert,
    /// Inputs: sequence, position?. Without a position the last one.
    SequenceErase,
    /// Inputs: sequence. INT64 scalar.
    SequenceLength,
    /// Inputs: data, sizes?. One size for all parts, the last of which may be smaller, or a list of theirs; 1 without.
    SplitToSequence {
        axis: i64,
        /// Whether parts keep the dimension; only without sizes can they lose it.
        keep_dims: bool,
    },
    /// Inputs: sequence. Joins the tensors along a dimension they have, or along a new one.
    ConcatFromSequence { axis: i64, new_axis: bool },
    /// Inputs: value?. Without one an empty optional, of the dtype and container given.
    Optional { empty: Option<(DType, Container)> },
    /// Inputs: value?. BOOL scalar.
    OptionalHasElement,
    /// Inputs: optional, or a value that is passed on.
    OptionalGetElement,
}
