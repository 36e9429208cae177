//! The rule for each operator.

use super::operands::Operands;
use crate::types::RANK_MAX;

use super::{Fact, elementwise, join, layout, linear, reduce, spatial, target};
use crate::graph::{Fault, Op};

/// Returns what is known of an operator's outputs, of which the node has `outputs`.
pub(in crate::graph) fn infer(
    op: &Op,
    inputs: &[Option<&Fact>],
    outputs: usize,
) -> Result<Vec<Fact>, Fault> {
    let operands = Operands(inputs);
    let facts = match op {
        Op::Unary(function) => elementwise::unary(*function, operands),
        Op::Binary(function) => elementwise::binary(*function, operands),
        Op::Variadic(kind) => elementwise::variadic(*kind, operands),
        Op::Clip => elementwise::clip(operands),
        Op::Where => elementwise::choose(operands),
        Op::Conv(conv) => spatial::conv(conv, operands),
        Op::BatchNormalization { .. } => elementwise::batch_normalization(operands),
        Op::LayerNormalization { axis, .. } => elementwise::layer_normalization(*axis, operands),
        Op::Pool(pool) => spatial::pool(pool, operands),
        Op::GlobalPool(_) => spatial::global_pool(operands),
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
        Op::Pad(_) => spatial::pad(operands),
        Op::Shape { start, end } => layout::shape(*start, *end, operands),
        Op::Cast { to } => layout::cast(*to, operands),
        Op::ConstantOfShape { value, dtype } => target::constant_of_shape(*value, *dtype, operands),
        Op::Identity => layout::identity(operands),
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
