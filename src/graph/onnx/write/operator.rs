//! Which rule writes which canonical operator.

use crate::graph::Op;

use super::call::{Call, Written};
use super::{
    attention, container, control, convolution, elementwise, extent, fill, index, linear,
    normalisation, pooling, quantised, recurrent, reduce, sampling, shape, signal, text, trees,
};

/// Writes a node; every operator is here, so that one that is added to the set is not forgotten.
pub(super) fn write(call: &mut Call<'_, '_>) -> Written {
    match &call.node.op {
        Op::Unary(function) => elementwise::unary(call, *function),
        Op::Binary(function) => elementwise::binary(call, *function),
        Op::Cast { to } => elementwise::cast(call, *to),
        Op::Narrow(op) => elementwise::narrow(call, *op),
        Op::BitCast { to } => elementwise::cast(call, *to),
        Op::Conv(op) => convolution::conv(call, op),
        Op::ConvTranspose(op) => convolution::conv_transpose(call, op),
        Op::DeformConv(op) => convolution::deform_conv(call, op),
        Op::Col2Im(op) => convolution::col2im(call, op),
        Op::Normalization(op) => normalisation::normalisation(call, *op),
        Op::Dropout { seed } => normalisation::dropout(call, *seed),
        Op::Pool(op) => pooling::pool(call, op),
        Op::GlobalPool(kind) => pooling::global_pool(call, *kind),
        Op::MaxUnpool(op) => pooling::max_unpool(call, op),
        Op::MaxRoiPool(op) => pooling::max_roi_pool(call, op),
        Op::RoiAlign(op) => sampling::roi_align(call, op),
        Op::Resize(op) => sampling::resize(call, op),
        Op::GridSample(op) => sampling::grid_sample(call, *op),
        Op::AffineGrid { align_corners } => sampling::affine_grid(call, *align_corners),
        Op::NonMaxSuppression { center_point_box } => {
            sampling::non_max_suppression(call, *center_point_box)
        }
        Op::ImageDecoder(format) => sampling::image_decoder(call, *format),
        Op::Attention(op) => attention::attention(call, op),
        Op::RotaryEmbedding(op) => attention::rotary_embedding(call, *op),
        Op::LinearAttention(op) => attention::linear_attention(call, *op),
        Op::CausalConv { silu } => attention::causal_conv(call, *silu),
        Op::Recurrent(op) => recurrent::recurrent(call, op),
        Op::Gemm {
            alpha,
            beta,
            transpose_a,
            transpose_b,
        } => linear::gemm(call, [*alpha, *beta], [*transpose_a, *transpose_b]),
        Op::Einsum(equation) => linear::einsum(call, equation),
        Op::Reduce {
            keep_dims,
            noop_with_empty_axes,
            ..
        } => reduce::reduce(call, *keep_dims, *noop_with_empty_axes),
        Op::ArgExtreme {
            axis,
            keep_dims,
            select_last,
            ..
        } => reduce::arg_extreme(call, *axis, *keep_dims, *select_last),
        Op::Cumulative {
            exclusive, reverse, ..
        } => reduce::cumulative(call, *exclusive, *reverse),
        Op::TopK { axis, largest } => reduce::top_k(call, *axis, *largest),
        Op::Unique { axis, sorted } => reduce::unique(call, *axis, *sorted),
        Op::NegativeLogLikelihoodLoss { ignored, reduction } => {
            reduce::loss(call, *ignored, *reduction)
        }
        Op::FlatSoftmax { axis, log } => reduce::flat_softmax(call, *axis, *log),
        Op::Signal(op) => signal::signal(call, op),
        Op::Text(op) => text::text(call, op),
        Op::LabelEncoder => text::label_encoder(call),
        Op::TreeEnsemble(trees) => trees::tree_ensemble(call, trees),
        Op::Softmax { axis }
        | Op::LogSoftmax { axis }
        | Op::Hardmax { axis }
        | Op::Flatten { axis }
        | Op::Concat { axis }
        | Op::Gather { axis } => shape::along(call, *axis),
        Op::Reshape { allow_zero } => shape::reshape(call, *allow_zero),
        Op::Transpose { permutation } => shape::transpose(call, permutation.as_deref()),
        Op::Split { axis } => shape::split(call, *axis),
        Op::Shape { start, end } => shape::shape(call, *start, *end),
        Op::Pad(mode) => extent::pad(call, *mode),
        Op::CenterCropPad { axes } => extent::center_crop_pad(call, axes.as_deref()),
        Op::DepthToSpace {
            block,
            channels_first,
        } => extent::depth_to_space(call, *block, *channels_first),
        Op::SpaceToDepth { block } => extent::space_to_depth(call, *block),
        Op::Quantised(op) => quantised::quantised(call, op),
        Op::ConstantOfShape { value, dtype } => fill::constant_of_shape(call, *value, *dtype),
        Op::EyeLike { dtype, offset } => fill::eye_like(call, *dtype, *offset),
        Op::Random(op) => fill::random(call, *op),
        Op::Index(op) => index::index(call, *op),
        Op::Container(op) => container::container(call, *op),
        Op::Control(op) => control::control(call, op),
        Op::Variadic(_)
        | Op::Clip
        | Op::Where
        | Op::MatMul
        | Op::Det
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Slice
        | Op::Expand
        | Op::Size
        | Op::Range
        | Op::Identity => call.plain(Vec::new()),
        // Made by passes from operators that ONNX has, or of another library.
        Op::FusedConv(_) | Op::Linear { .. } | Op::ScaledDotProduct(_) | Op::Aten(_) => {
            Err(call.refused())
        }
    }
}
