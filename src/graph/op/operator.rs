//! The set of canonical operators.

use crate::types::DType;

use super::{
    Activation, AtenOp, Attention, Binary, Col2Im, ContainerOp, Control, Conv, ConvTranspose,
    DeformConv, Equation, FusedConv, GridSample, Index, LinearAttention, MaxRoiPool, MaxUnpool,
    Narrowing, Normalization, PadMode, PixelFormat, Pool, PoolKind, Quantised, Random, Recurrent,
    Reduce, Resize, RoiAlign, RotaryEmbedding, ScaledDotProduct, Signal, Text, TreeEnsemble, Unary,
};

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
    /// Inputs: data, weight (channels, filters / groups, …), bias?. As many spatial dimensions.
    ConvTranspose(ConvTranspose),
    /// Inputs: data, weight, offsets, bias?, mask?.
    DeformConv(DeformConv),
    /// Inputs: blocks (batch, channels · block elements, blocks), shape of the image, shape of a block.
    Col2Im(Col2Im),
    Normalization(Normalization),
    /// Inputs: data, ratio?, training mode?. Outputs: result, mask of what was kept.
    Dropout {
        seed: Option<i64>,
    },
    /// Inputs: data, weight, bias?, addend?.
    FusedConv(FusedConv),
    /// Maximum has a second output, INT64: the index of each in the whole data.
    Pool(Pool),
    /// Over all spatial dimensions, kept as size 1.
    GlobalPool(PoolKind),
    /// Inputs: data, indices, shape?.
    MaxUnpool(MaxUnpool),
    /// Inputs: data, regions: batch index and two corners (x, y), inclusive.
    MaxRoiPool(MaxRoiPool),
    /// Inputs: data, regions: two corners (x, y), batch indices.
    RoiAlign(RoiAlign),
    /// Inputs: data, region?, scales?, sizes?.
    Resize(Resize),
    /// Inputs: data, places (batch, …, dimension: the last one of the data first).
    GridSample(GridSample),
    /// Inputs: matrices, shape of the image.
    AffineGrid {
        align_corners: bool,
    },
    /// Inputs: boxes, scores, count per class?, greatest overlap?, least score?. INT64 rows: batch, class, box.
    NonMaxSuppression {
        /// Whether a box is its centre and size (x, y first), or two corners (y, x).
        center_point_box: bool,
    },
    /// Input: the bytes of a file. Output: UINT8 [height, width, channels], empty if they are no image.
    ImageDecoder(PixelFormat),
    Attention(Attention),
    RotaryEmbedding(RotaryEmbedding),
    LinearAttention(LinearAttention),
    /// Inputs: data, weight, bias?, past state?. Depthwise over the last dimension, seeing no later elements; outputs:
    /// result, what the next call gets as its past state. `silu`: whether the result goes through x · sigmoid(x).
    CausalConv {
        silu: bool,
    },
    Recurrent(Recurrent),
    MatMul,
    /// Inputs: a, b, c?. `alpha · a' · b' + beta · c`.
    Gemm {
        alpha: f32,
        beta: f32,
        transpose_a: bool,
        transpose_b: bool,
    },
    /// Inputs: data (…, k), weight (k, n), bias? (n). `activation(data · weight + bias)`.
    Linear {
        activation: Option<Activation>,
    },
    /// Inputs: q [.., l, e], k [.., s, e], v [.., s, n], mask?, which broadcasts to [.., l, s]: of BOOL, true where a row
    /// sees a column; else added.
    ScaledDotProduct(ScaledDotProduct),
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
    /// Inputs: data, axis. Sums or products of all elements up to each, that one `exclusive` or not.
    Cumulative {
        product: bool,
        exclusive: bool,
        reverse: bool,
    },
    /// Inputs: data, k. Outputs: values, INT64 indices; in order, and of equal elements the first ones first.
    TopK {
        axis: i64,
        largest: bool,
    },
    /// Outputs: distinct elements, or slices along the axis; place of the first of each; place of each of the input
    /// among them; how often each occurs. In rising order if `sorted`, else in that of the input.
    Unique {
        axis: Option<i64>,
        sorted: bool,
    },
    Einsum(Equation),
    /// Determinants of the matrices in the last two dimensions.
    Det,
    /// Inputs: logarithms of probabilities with the classes in dimension 1, target classes, weights of classes?.
    NegativeLogLikelihoodLoss {
        ignored: Option<i64>,
        reduction: LossReduction,
    },
    Signal(Signal),
    Text(Text),
    /// Inputs: data, keys, values, default. The value that stands at the place of the key that each element equals.
    LabelEncoder,
    TreeEnsemble(TreeEnsemble),
    Softmax {
        axis: i64,
    },
    LogSoftmax {
        axis: i64,
    },
    /// 1 at the first greatest element along the axis, 0 elsewhere.
    Hardmax {
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
    /// Inputs: data, sizes of `axes`, or of all axes. Crops or pads with zeros on both sides.
    CenterCropPad {
        axes: Option<Vec<i64>>,
    },
    /// Moves blocks of channels into squares of `block` elements.
    DepthToSpace {
        block: usize,
        /// Whether the channels of the output come before the places in the square, or after them.
        channels_first: bool,
    },
    SpaceToDepth {
        block: usize,
    },
    /// INT64 sizes of the dimensions `start..end`.
    Shape {
        start: i64,
        end: Option<i64>,
    },
    /// Number of elements, INT64.
    Size,
    /// Converts to `to`.
    Cast {
        to: DType,
    },
    Narrow(Narrowing),
    /// Reads the bits of elements as elements of another type of as many bits.
    BitCast {
        to: DType,
    },
    Quantised(Quantised),
    /// Inputs: shape. A tensor filled with one value.
    ConstantOfShape {
        value: f64,
        dtype: DType,
    },
    /// Inputs: start, limit, delta; scalars. `limit` is not reached.
    Range,
    /// Inputs: a matrix, of which only the shape counts. Ones on the diagonal, `offset` above the main one.
    EyeLike {
        dtype: DType,
        offset: i64,
    },
    Random(Random),
    /// Passes any value on.
    Identity,
    Index(Index),
    Container(ContainerOp),
    Control(Control),
    /// Any operator of ATen that writes to none of its arguments. One output for each result, or one for each tensor
    /// where the only result is a list.
    Aten(AtenOp),
}

/// What becomes of the losses of single elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReduction {
    None,
    Sum,
    /// The weighted mean.
    Mean,
}
