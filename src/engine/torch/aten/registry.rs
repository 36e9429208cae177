//! Which kernel each operator has. Everything the engine can run is in this table.

use crate::graph::{Binary, Combine, Index, Op, Quantised, Text};
use crate::types::DType;

use super::super::cause::Cause;
use super::args::Kernel;
use super::context::NodeContext;
use super::{
    attention, cast, container, control, convolution, deformable, dropout, elementwise, escape,
    fill, fold, fused, grid, image_file, index as selection, labels, linear, linear_attention,
    loss, mask, normalisation, order, pad, pooling, quantised, quantised_product, random,
    recurrent, reduce, regions, resize, rotary, scatter, shape, signal, softmax, space_depth,
    storage, strings, suppression, text, transposed, unpool,
};

/// Makes the kernel of a node.
pub(super) fn kernel(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let op = &context.node().op;
    if !gives_several(op) {
        context.only_first_output()?;
    }
    let kernel = storage::wrapping(context, numeric(context, op)?);
    Ok(match gives_strings(op) {
        Some(gives) if takes_strings(context) => strings::numbered(kernel, gives),
        _ => kernel,
    })
}

/// Tells whether the kernel gives more than the first of the outputs that ONNX defines.
fn gives_several(op: &Op) -> bool {
    matches!(
        op,
        Op::Split { .. }
            | Op::Aten(_)
            | Op::Control(_)
            | Op::Container(_)
            | Op::Pool(_)
            | Op::Normalization(_)
            | Op::Dropout { .. }
            | Op::Attention(_)
            | Op::LinearAttention(_)
            | Op::CausalConv { .. }
            | Op::Recurrent(_)
            | Op::TopK { .. }
            | Op::Unique { .. }
            | Op::Text(Text::Split { .. })
            | Op::Quantised(Quantised::DynamicQuantize)
    )
}

/// Tells whether an input of a node holds strings, or may do so.
fn takes_strings(context: &NodeContext<'_>) -> bool {
    (0..context.inputs())
        .any(|input| matches!(context.input_dtype(input), None | Some(DType::Bytes)))
}

/// Tells of an operator that does the same to elements of any type whether it gives elements that it was given. Others
/// refuse strings, or know them.
fn gives_strings(op: &Op) -> Option<bool> {
    match op {
        Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Split { .. }
        | Op::Slice
        | Op::Gather { .. }
        | Op::Expand
        | Op::Concat { .. }
        | Op::Where => Some(true),
        Op::Index(
            Index::Compress { .. }
            | Index::GatherElements { .. }
            | Index::GatherNd { .. }
            | Index::OneHot { .. }
            | Index::ReverseSequence { .. }
            | Index::TensorScatter { .. }
            | Index::Tile,
        )
        | Op::Index(
            Index::ScatterElements {
                combine: Combine::Replace,
                ..
            }
            | Index::ScatterNd {
                combine: Combine::Replace,
            },
        ) => Some(true),
        Op::Binary(Binary::Equal) | Op::Shape { .. } | Op::Size => Some(false),
        _ => None,
    }
}

fn numeric(context: &NodeContext<'_>, op: &Op) -> Result<Kernel, Cause> {
    Ok(match op {
        Op::Unary(function) => elementwise::unary(context.input_dtype(0), *function),
        Op::Binary(function) => elementwise::binary(context, *function)?,
        Op::Variadic(kind) => elementwise::variadic(context, *kind)?,
        Op::Clip => elementwise::clip(context)?,
        Op::Where => elementwise::select(),
        Op::Conv(op) => convolution::convolution(op),
        Op::ConvTranspose(op) => transposed::transposed(op),
        Op::DeformConv(op) => deformable::deformable(op),
        Op::Col2Im(op) => fold::fold(context, op)?,
        Op::Normalization(kind) => normalisation::normalization(context, *kind)?,
        Op::Dropout { seed } => dropout::dropout(*seed),
        Op::Pool(op) => pooling::pool(context, op),
        Op::FusedConv(op) => fused::conv(op),
        Op::Linear { activation } => fused::linear(*activation),
        Op::ScaledDotProduct(op) => fused::attention(*op),
        Op::GlobalPool(kind) => pooling::global_pool(*kind),
        Op::MaxUnpool(op) => unpool::unpool(context, op)?,
        Op::MaxRoiPool(op) => regions::max_roi_pool(op),
        Op::RoiAlign(op) => regions::roi_align(op),
        Op::Resize(op) => resize::resize(context, op)?,
        Op::GridSample(op) => grid::grid_sample(*op),
        Op::AffineGrid { align_corners } => grid::affine_grid(context, *align_corners)?,
        Op::NonMaxSuppression { center_point_box } => {
            suppression::non_max_suppression(*center_point_box)
        }
        Op::ImageDecoder(format) => image_file::image_decoder(*format),
        Op::Attention(op) => attention::attention(context, op),
        Op::RotaryEmbedding(op) => rotary::rotary_embedding(*op),
        Op::LinearAttention(op) => linear_attention::linear_attention(*op),
        Op::CausalConv { silu } => linear_attention::causal_conv(*silu),
        Op::Recurrent(op) => recurrent::recurrent(context, op)?,
        Op::MatMul => linear::matmul(),
        Op::Gemm {
            alpha,
            beta,
            transpose_a,
            transpose_b,
        } => linear::gemm(*alpha, *beta, *transpose_a, *transpose_b),
        Op::Reduce {
            kind,
            keep_dims,
            noop_with_empty_axes,
        } => reduce::reduce(context, *kind, *keep_dims, *noop_with_empty_axes)?,
        Op::ArgExtreme {
            largest,
            axis,
            keep_dims,
            select_last,
        } => reduce::arg_extreme(context, *largest, *axis, *keep_dims, *select_last),
        Op::Softmax { axis } => softmax::softmax(*axis, false),
        Op::LogSoftmax { axis } => softmax::softmax(*axis, true),
        Op::FlatSoftmax { axis, log } => softmax::flat_softmax(*axis, *log),
        Op::Hardmax { axis } => reduce::hardmax(*axis),
        Op::Cumulative {
            product,
            exclusive,
            reverse,
        } => reduce::cumulative(context, *product, *exclusive, *reverse)?,
        Op::TopK { axis, largest } => order::top_k(context, *axis, *largest),
        Op::Unique { axis, sorted } => order::unique(context, *axis, *sorted),
        Op::Einsum(equation) => linear::einsum(equation),
        Op::Det => linear::det(),
        Op::NegativeLogLikelihoodLoss { ignored, reduction } => {
            loss::negative_log_likelihood(*ignored, *reduction)
        }
        Op::Signal(op) => signal::signal(context, op)?,
        Op::Text(op) => text::text(context, op)?,
        Op::LabelEncoder => labels::label_encoder(context)?,
        Op::TreeEnsemble(trees) => labels::tree_ensemble(trees),
        Op::Reshape { allow_zero } => shape::reshape(context, *allow_zero)?,
        Op::Flatten { axis } => shape::flatten(*axis),
        Op::Transpose { permutation } => shape::transpose(permutation.as_deref()),
        Op::Squeeze => shape::squeeze(context)?,
        Op::Unsqueeze => shape::unsqueeze(context)?,
        Op::Concat { axis } => shape::concat(*axis),
        Op::Split { axis } => shape::split(context, *axis)?,
        Op::Slice => selection::slice(context)?,
        Op::Gather { axis } => selection::gather(context, *axis)?,
        Op::Expand => shape::expand(context)?,
        Op::Pad(mode) => pad::pad(context, *mode)?,
        Op::CenterCropPad { axes } => pad::center_crop_pad(context, axes.as_deref())?,
        Op::DepthToSpace {
            block,
            channels_first,
        } => space_depth::depth_to_space(*block, *channels_first),
        Op::SpaceToDepth { block } => space_depth::space_to_depth(*block),
        Op::Shape { start, end } => shape::shape(*start, *end),
        Op::Size => fill::size(),
        Op::Cast { to } => cast::cast(context, *to),
        Op::Narrow(narrowing) => cast::narrow(context, *narrowing),
        Op::BitCast { to } => cast::bit_cast(context, *to),
        Op::Quantised(op) => match op {
            Quantised::Quantize {
                scaling,
                saturate,
                precision,
                ..
            } => quantised::quantize(context, *scaling, *saturate, *precision)?,
            Quantised::Dequantize { scaling, .. } => quantised::dequantize(context, *scaling)?,
            Quantised::DynamicQuantize => quantised::dynamic_quantize(),
            Quantised::MatMul => quantised_product::matmul(context)?,
            Quantised::Conv(conv) => quantised_product::conv(context, conv)?,
            Quantised::MatMulInteger => quantised_product::matmul_integer(),
            Quantised::ConvInteger(conv) => quantised_product::conv_integer(conv),
        },
        Op::ConstantOfShape { value, dtype } => shape::constant_of_shape(context, *value, *dtype)?,
        Op::Range => fill::range(),
        Op::EyeLike { dtype, offset } => fill::eye_like(*dtype, *offset)?,
        Op::Random(op) => random::random(context, *op)?,
        Op::Identity => shape::identity(),
        Op::Index(op) => index(context, *op)?,
        Op::Container(op) => container::container(context, *op)?,
        Op::Control(op) => control::control(context, op)?,
        Op::Aten(op) => escape::aten(context, op)?,
    })
}

fn index(context: &NodeContext<'_>, op: Index) -> Result<Kernel, Cause> {
    Ok(match op {
        Index::Compress { axis } => mask::compress(axis),
        Index::GatherElements { axis } => scatter::gather_elements(axis),
        Index::GatherNd { batch_dims } => scatter::gather_nd(batch_dims),
        Index::NonZero => mask::non_zero(),
        Index::OneHot { axis } => mask::one_hot(axis),
        Index::ReverseSequence {
            batch_axis,
            time_axis,
        } => mask::reverse_sequence(batch_axis, time_axis),
        Index::ScatterElements { axis, combine } => scatter::scatter_elements(axis, combine),
        Index::ScatterNd { combine } => scatter::scatter_nd(combine),
        Index::TensorScatter { axis, circular } => scatter::tensor_scatter(axis, circular),
        Index::Tile => mask::tile(context)?,
        Index::Trilu { upper } => mask::trilu(context, upper)?,
    })
}
