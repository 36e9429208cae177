//! Which kernel each operator has. Everything the engine can run is in this table.

use crate::graph::Op;

use super::super::cause::Cause;
use super::args::Kernel;
use super::context::NodeContext;
use super::{convolution, elementwise, index, linear, normalisation, pad, pooling, reduce, shape};

/// Makes the kernel of a node.
pub(super) fn kernel(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let op = &context.node().op;
    if !matches!(op, Op::Split { .. }) {
        context.only_first_output()?;
    }
    Ok(match op {
        Op::Unary(function) => elementwise::unary(*function),
        Op::Binary(function) => elementwise::binary(*function),
        Op::Variadic(kind) => elementwise::variadic(context, *kind)?,
        Op::Clip => elementwise::clip(context)?,
        Op::Where => elementwise::select(),
        Op::Conv(op) => convolution::convolution(op),
        Op::BatchNormalization { epsilon } => normalisation::batch_normalization(*epsilon),
        Op::LayerNormalization { axis, epsilon } => {
            normalisation::layer_normalization(*axis, *epsilon)
        }
        Op::Pool(op) => pooling::pool(op),
        Op::GlobalPool(kind) => pooling::global_pool(*kind),
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
        } => reduce::arg_extreme(*largest, *axis, *keep_dims, *select_last),
        Op::Softmax { axis } => normalisation::softmax(*axis, false),
        Op::LogSoftmax { axis } => normalisation::softmax(*axis, true),
        Op::FlatSoftmax { axis, log } => normalisation::flat_softmax(*axis, *log),
        Op::Reshape { allow_zero } => shape::reshape(context, *allow_zero)?,
        Op::Flatten { axis } => shape::flatten(*axis),
        Op::Transpose { permutation } => shape::transpose(permutation.as_deref()),
        Op::Squeeze => shape::squeeze(context)?,
        Op::Unsqueeze => shape::unsqueeze(context)?,
        Op::Concat { axis } => shape::concat(*axis),
        Op::Split { axis } => shape::split(context, *axis)?,
        Op::Slice => index::slice(context)?,
        Op::Gather { axis } => index::gather(context, *axis)?,
        Op::Expand => shape::expand(context)?,
        Op::Pad(mode) => pad::pad(context, *mode)?,
        Op::Shape { start, end } => shape::shape(*start, *end),
        Op::Cast { to } => shape::cast(*to)?,
        Op::ConstantOfShape { value, dtype } => shape::constant_of_shape(context, *value, *dtype)?,
        Op::Identity => shape::identity(),
    })
}
