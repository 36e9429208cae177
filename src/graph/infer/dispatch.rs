//! The rule for each operator.

use super::operands::Operands;
use crate::types::RANK_MAX;

use super::{
    Fact, aten, attention, container, control, convolution, einsum, elementwise, extent, fill,
    fused, index, join, layout, linear, linear_attention, loss, normalisation, order, pooling,
    quantised, recurrent, reduce, sampling, signal, target, text,
};
use crate::graph::{Container, Fault, Op};

/// Returns what is known of an operator's outputs, of which the node has `outputs`.
pub(in crate::graph) fn infer(
    op: &Op,
    inputs: &[Option<&Fact>],
    outputs: usize,
) -> Result<Vec<Fact>, Fault> {
    let operands = Operands(inputs);
    if !matches!(op, Op::Identity | Op::Container(_) | Op::Control(_)) {
        only_tensors(inputs)?;
    }
    let facts = match op {
        Op::Unary(function) => elementwise::unary(*function, operands),
        Op::Binary(function) => elementwise::binary(*function, operands),
        Op::Variadic(kind) => elementwise::variadic(*kind, operands),
        Op::Clip => elementwise::clip(operands),
        Op::Where => elementwise::choose(operands),
        Op::Conv(conv) => convolution::conv(conv, operands),
        Op::ConvTranspose(op) => convolution::conv_transpose(op, operands),
        Op::DeformConv(op) => convolution::deform_conv(op, operands),
        Op::Col2Im(op) => convolution::col2im(op, operands),
        Op::Normalization(kind) => normalisation::normalization(*kind, operands),
        Op::Dropout { .. } => normalisation::dropout(operands),
        Op::Pool(pool) => pooling::pool(pool, operands),
        Op::GlobalPool(_) => pooling::global_pool(operands),
        Op::MaxUnpool(op) => pooling::max_unpool(op, operands),
        Op::MaxRoiPool(op) => pooling::max_roi_pool(op, operands),
        Op::RoiAlign(op) => sampling::roi_align(op, operands),
        Op::Resize(op) => sampling::resize(op, operands),
        Op::GridSample(_) => sampling::grid_sample(operands),
        Op::AffineGrid { .. } => sampling::affine_grid(operands),
        Op::NonMaxSuppression { .. } => sampling::non_max_suppression(operands),
        Op::ImageDecoder(format) => sampling::image_decoder(*format, operands),
        Op::FusedConv(op) => fused::conv(op, operands),
        Op::Linear { .. } => fused::linear(operands),
        Op::ScaledDotProduct(_) => fused::attention(operands),
        Op::Attention(op) => attention::attention(op, operands),
        Op::RotaryEmbedding(op) => attention::rotary_embedding(op, operands),
        Op::LinearAttention(op) => linear_attention::linear_attention(op, operands),
        Op::CausalConv { .. } => linear_attention::causal_conv(operands),
        Op::Recurrent(op) => recurrent::recurrent(op, operands),
        Op::MatMul => linear::matmul(operands),
        Op::Gemm {
            transpose_a,
            transpose_b,
            ..
        } => linear::gemm(*transpose_a, *transpose_b, operands),
        Op::Reduce {
            kind,
            keep_dims,
            noop_with_empty_axes,
        } => reduce::reduce(*kind, *keep_dims, *noop_with_empty_axes, operands),
        Op::ArgExtreme {
            axis, keep_dims, ..
        } => reduce::arg_extreme(*axis, *keep_dims, operands),
        Op::Softmax { axis } | Op::LogSoftmax { axis } => {
            elementwise::softmax(*axis, false, operands)
        }
        Op::Hardmax { axis } => elementwise::hardmax(*axis, operands),
        Op::Cumulative { .. } => reduce::cumulative(operands),
        Op::TopK { axis, .. } => order::top_k(*axis, operands),
        Op::Unique { axis, .. } => order::unique(*axis, operands),
        Op::Einsum(equation) => einsum::einsum(equation, operands),
        Op::Det => linear::det(operands),
        Op::NegativeLogLikelihoodLoss { reduction, .. } => {
            loss::negative_log_likelihood(*reduction, operands)
        }
        Op::Signal(op) => signal::signal(op, operands),
        Op::Text(op) => text::text(op, operands),
        Op::LabelEncoder => text::label_encoder(operands),
        Op::TreeEnsemble(trees) => text::tree_ensemble(trees, operands),
        Op::FlatSoftmax { axis, .. } => elementwise::softmax(*axis, true, operands),
        Op::Reshape { allow_zero } => target::reshape(*allow_zero, operands),
        Op::Flatten { axis } => layout::flatten(*axis, operands),
        Op::Transpose { permutation } => layout::transpose(permutation.as_deref(), operands),
        Op::Squeeze => layout::squeeze(operands),
        Op::Unsqueeze => layout::unsqueeze(operands),
        Op::Concat { axis } => join::concat(*axis, operands),
        Op::Split { axis } => join::split(*axis, outputs, operands),
        Op::Slice => join::slice(operands),
        Op::Gather { axis } => join::gather(*axis, operands),
        Op::Expand => target::expand(operands),
        Op::Pad(_) => extent::pad(operands),
        Op::CenterCropPad { axes } => extent::center_crop_pad(axes.as_deref(), operands),
        Op::DepthToSpace { block, .. } => extent::depth_to_space(*block, operands),
        Op::SpaceToDepth { block } => extent::space_to_depth(*block, operands),
        Op::Shape { start, end } => layout::shape(*start, *end, operands),
        Op::Size => layout::size(operands),
        Op::Cast { to } => layout::cast(*to, operands),
        Op::Narrow(narrowing) => layout::cast(narrowing.to, operands),
        Op::BitCast { to } => layout::bit_cast(*to, operands),
        Op::Quantised(op) => quantised::infer(op, operands),
        Op::ConstantOfShape { value, dtype } => target::constant_of_shape(*value, *dtype, operands),
        Op::Range => fill::range(operands),
        Op::EyeLike { dtype, .. } => fill::eye_like(*dtype, operands),
        Op::Random(op) => fill::random(op, operands),
        Op::Identity => layout::identity(operands),
        Op::Index(op) => index::index(*op, operands),
        Op::Container(op) => container::container(*op, operands),
        Op::Control(op) => control::control(op, operands),
        Op::Aten(op) => Ok(aten::declared(op, outputs)),
    }?;
    if facts.len() < outputs {
        let expected = format!("at most {}", facts.len());
        return Err(Fault::OutputCount {
            seen: outputs,
            expected,
        });
    }
    match facts
        .iter()
        .filter_map(Fact::rank)
        .find(|&rank| rank > RANK_MAX)
    {
        Some(seen) => Err(Fault::Rank {
            seen,
            most: RANK_MAX,
        }),
        None => Ok(facts),
    }
}

fn only_tensors(inputs: &[Option<&Fact>]) -> Result<(), Fault> {
    let containers = inputs
        .iter()
        .map(|fact| fact.map_or(Container::Tensor, |fact| fact.container));
    match containers
        .enumerate()
        .find(|(_, container)| *container != Container::Tensor)
    {
        Some((input, seen)) => Err(Fault::Container {
            input,
            seen,
            expected: Container::Tensor,
        }),
        None => Ok(()),
    }
}
