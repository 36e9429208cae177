//! The set of canonical operators.

use crate::types::DType;

use super::{Binary, Conv, PadMode, Pool, PoolKind, Reduce, Unary};

/// One canonical operator with its static parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Unary(Unary),
    /// Two inputs, broadcast as in NumPy.
    Binary(Binary),
    /// n inputs, broadcast: element-wise `Sum`, `Max`, `Min`, `Mean`.
    Variadic(Reduce),
    /// Inputs: data, min?, max?.
    Clip,
    /// Inputs: condition, then, else.
    Where,
    /// Inputs: data, weight, bias?. Any number of spatial dimensions from 1 to 3.
    Conv(Conv),
    /// Inputs: data, scale, bias, mean, variance. Inference form: one output.
    BatchNormalization {
        epsilon: f32,
    },
    /// Inputs: data, scale, bias?. Normalises over the dimensions from `axis`.
    LayerNormalization {
        axis: i64,
        epsilon: f32,
    },
    Pool(Pool),
    /// Average or maximum over all spatial dimensions, kept as size 1.
    GlobalPool(PoolKind),
    MatMul,
    /// Inputs: a, b, c?. `alpha · a' · b' + beta · c`.
    Gemm {
        alpha: f32,
        beta: f32,
        transpose_a: bool,
        transpose_b: bool,
    },
    /// Inputs: data, axes?. No axes: all, unless `noop_with_empty_axes`.
    Reduce {
        kind: Reduce,
        keep_dims: bool,
        noop_with_empty_axes: bool,
    },
    /// Index of the extreme along `axis`, INT64.
    ArgExtreme {
        largest: bool,
        axis: i64,
        keep_dims: bool,
        select_last: bool,
    },
    Softmax {
        axis: i64,
    },
    LogSoftmax {
        axis: i64,
    },
    /// Softmax of opset < 13: the tensor is seen as a matrix split before `axis`.
    FlatSoftmax {
        axis: i64,
        log: bool,
    },
    /// Inputs: data, shape. 0 copies a size unless `allow_zero`; one −1 is inferred.
    Reshape {
        allow_zero: bool,
    },
    Flatten {
        axis: i64,
    },
    Transpose {
        permutation: Option<Vec<usize>>,
    },
    /// Inputs: data, axes?.
    Squeeze,
    /// Inputs: data, axes.
    Unsqueeze,
    Concat {
        axis: i64,
    },
    /// Inputs: data, split sizes?. As many outputs as the node has.
    Split {
        axis: i64,
    },
    /// Inputs: data, starts, ends, axes?, steps?.
    Slice,
    /// Inputs: data, indices.
    Gather {
        axis: i64,
    },
    /// Inputs: data, shape; two-way broadcast.
    Expand,
    /// Inputs: data, pads (all begins, then all ends), value?, axes?.
    Pad(PadMode),
    /// INT64 sizes of the dimensions `start..end`.
    Shape {
        start: i64,
        end: Option<i64>,
    },
    /// Converts to `to`.
    Cast {
        to: DType,
    },
    /// Inputs: shape. A tensor filled with one value.
    ConstantOfShape {
        value: f64,
        dtype: DType,
    },
    Identity,
}
