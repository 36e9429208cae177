//! Which kernel each operator has. Everything the engine can run is in this table.

use crate::graph::{Binary, Op, PoolKind, Reduce, Unary};

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

/// Returns the ONNX name of an operator, for messages.
pub(super) fn name(op: &Op) -> &'static str {
    match op {
        Op::Unary(function) => unary_name(*function),
        Op::Binary(function) => binary_name(*function),
        Op::Variadic(Reduce::Sum) => "Sum",
        Op::Variadic(Reduce::Mean) => "Mean",
        Op::Variadic(Reduce::Max) => "Max",
        Op::Variadic(Reduce::Min) => "Min",
        Op::Variadic(_) => "Variadic",
        Op::Clip => "Clip",
        Op::Where => "Where",
        Op::Conv(_) => "Conv",
        Op::BatchNormalization { .. } => "BatchNormalization",
        Op::LayerNormalization { .. } => "LayerNormalization",
        Op::Pool(op) if op.kind == PoolKind::Max => "MaxPool",
        Op::Pool(_) => "AveragePool",
        Op::GlobalPool(PoolKind::Max) => "GlobalMaxPool",
        Op::GlobalPool(PoolKind::Average) => "GlobalAveragePool",
        Op::MatMul => "MatMul",
        Op::Gemm { .. } => "Gemm",
        Op::Reduce { kind, .. } => reduce_name(*kind),
        Op::ArgExtreme { largest: true, .. } => "ArgMax",
        Op::ArgExtreme { largest: false, .. } => "ArgMin",
        Op::Softmax { .. } | Op::FlatSoftmax { log: false, .. } => "Softmax",
        Op::LogSoftmax { .. } | Op::FlatSoftmax { log: true, .. } => "LogSoftmax",
        Op::Reshape { .. } => "Reshape",
        Op::Flatten { .. } => "Flatten",
        Op::Transpose { .. } => "Transpose",
        Op::Squeeze => "Squeeze",
        Op::Unsqueeze => "Unsqueeze",
        Op::Concat { .. } => "Concat",
        Op::Split { .. } => "Split",
        Op::Slice => "Slice",
        Op::Gather { .. } => "Gather",
        Op::Expand => "Expand",
        Op::Pad(_) => "Pad",
        Op::Shape { .. } => "Shape",
        Op::Cast { .. } => "Cast",
        Op::ConstantOfShape { .. } => "ConstantOfShape",
        Op::Identity => "Identity",
    }
}

fn unary_name(function: Unary) -> &'static str {
    match function {
        Unary::Relu => "Relu",
        Unary::Sigmoid => "Sigmoid",
        Unary::Tanh => "Tanh",
        Unary::Exp => "Exp",
        Unary::Log => "Log",
        Unary::Sqrt => "Sqrt",
        Unary::Reciprocal => "Reciprocal",
        Unary::Neg => "Neg",
        Unary::Abs => "Abs",
        Unary::Floor => "Floor",
        Unary::Ceil => "Ceil",
        Unary::Round => "Round",
        Unary::Sign => "Sign",
        Unary::Erf => "Erf",
        Unary::Not => "Not",
        Unary::Softplus => "Softplus",
        Unary::Softsign => "Softsign",
        Unary::HardSwish => "HardSwish",
        Unary::Mish => "Mish",
        Unary::HardSigmoid { .. } => "HardSigmoid",
        Unary::LeakyRelu { .. } => "LeakyRelu",
        Unary::Elu { .. } => "Elu",
        Unary::Gelu { .. } => "Gelu",
    }
}

fn binary_name(function: Binary) -> &'static str {
    match function {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Pow => "Pow",
        Binary::PRelu => "PRelu",
        Binary::And => "And",
        Binary::Or => "Or",
        Binary::Xor => "Xor",
        Binary::Equal => "Equal",
        Binary::Less => "Less",
        Binary::LessOrEqual => "LessOrEqual",
        Binary::Greater => "Greater",
        Binary::GreaterOrEqual => "GreaterOrEqual",
    }
}

fn reduce_name(kind: Reduce) -> &'static str {
    match kind {
        Reduce::Sum => "ReduceSum",
        Reduce::Mean => "ReduceMean",
        Reduce::Max => "ReduceMax",
        Reduce::Min => "ReduceMin",
        Reduce::Prod => "ReduceProd",
        Reduce::L1 => "ReduceL1",
        Reduce::L2 => "ReduceL2",
    }
}
