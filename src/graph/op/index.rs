//! Operators that pick elements by index, or put them somewhere.
//!
//! An index is at least −size and below size of the dimension it points into; negative ones count from the end.

/// An operator on places of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Index {
    /// Inputs: data, condition. The slices along `axis`, or the elements of the flattened data, where it is true.
    Compress { axis: Option<i64> },
    /// Inputs: data, indices, of one rank.
    GatherElements { axis: i64 },
    /// Inputs: data, indices, the last dimension of which holds the coordinates of a slice.
    GatherNd { batch_dims: i64 },
    /// INT64 coordinates of the elements that are not zero, a row per dimension.
    NonZero,
    /// Inputs: indices, depth, values (off, on).
    OneHot { axis: i64 },
    /// Inputs: data, lengths. Reverses the first `length` elements of each row; the axes are 0 and 1.
    ReverseSequence { batch_axis: i64, time_axis: i64 },
    /// Inputs: data, indices, updates, of one rank.
    ScatterElements { axis: i64, combine: Combine },
    /// Inputs: data, indices, updates.
    ScatterNd { combine: Combine },
    /// Inputs: cache, update, start of each row?.
    TensorScatter { axis: i64, circular: bool },
    /// Inputs: data, repeats of each dimension.
    Tile,
    /// Inputs: matrices, number of the diagonal?. Keeps what is above it, or below.
    Trilu { upper: bool },
}

/// What becomes of an element that is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Combine {
    Replace,
    Add,
    Multiply,
    Max,
    Min,
}
