//! Canonical operators. Their semantics are those of the ONNX operator of the same name at opset 17 unless said
//! otherwise; older and newer forms are normalised into these by the reader.
//!
//! Parameters that ONNX passes as tensors (`shape`, `axes`, `starts`, `min`, …) are inputs here too, in ONNX order,
//! also where an older opset had an attribute: the reader turns that into an initialiser.

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
        to: crate::types::DType,
    },
    /// Inputs: shape. A tensor filled with one value;
    ConstantOfShape {
        value: f64,
        dtype: crate::types::DType,
    },
    Identity,
}

/// Element-wise functions of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    Relu,
    Sigmoid,
    Tanh,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Sign,
    Erf,
    Not,
    Softplus,
    Softsign,
    HardSwish,
    Mish,
    /// `max(0, min(1, alpha · x + beta))`.
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    LeakyRelu {
        alpha: f32,
    },
    Elu {
        alpha: f32,
    },
    Gelu {
        tanh: bool,
    },
}

/// Element-wise functions of two tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// Integers truncate towards zero.
    Div,
    Pow,
    PRelu,
    And,
    Or,
    Xor,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
}

/// How padding is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoPad {
    #[default]
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// Parameters of a convolution. Empty vectors stand for the ONNX defaults (ones, zeros).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conv {
    pub auto_pad: AutoPad,
    /// All begins, then all ends.
    pub pads: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub groups: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    Average,
    Max,
}

/// Parameters of a pooling. Empty vectors stand for the ONNX defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub kind: PoolKind,
    pub kernel: Vec<usize>,
    pub auto_pad: AutoPad,
    pub pads: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub ceil_mode: bool,
    /// Average only: whether padding counts in the divisor.
    pub count_include_pad: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
}
