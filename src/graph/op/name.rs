//! The names of operators, for messages and reports.

use super::{Binary, Op, PoolKind, Reduce, Unary};

impl Op {
    /// Returns the name that ONNX gives the operator.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unary(function) => unary_name(*function),
            Self::Binary(function) => binary_name(*function),
            Self::Variadic(Reduce::Sum) => "Sum",
            Self::Variadic(Reduce::Mean) => "Mean",
            Self::Variadic(Reduce::Max) => "Max",
            Self::Variadic(Reduce::Min) => "Min",
            Self::Variadic(_) => "Variadic",
            Self::Clip => "Clip",
            Self::Where => "Where",
            Self::Conv(_) => "Conv",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::LayerNormalization { .. } => "LayerNormalization",
            Self::Pool(op) if op.kind == PoolKind::Max => "MaxPool",
            Self::Pool(_) => "AveragePool",
            Self::GlobalPool(PoolKind::Max) => "GlobalMaxPool",
            Self::GlobalPool(PoolKind::Average) => "GlobalAveragePool",
            Self::MatMul => "MatMul",
            Self::Gemm { .. } => "Gemm",
            Self::Reduce { kind, .. } => reduce_name(*kind),
            Self::ArgExtreme { largest: true, .. } => "ArgMax",
            Self::ArgExtreme { largest: false, .. } => "ArgMin",
            Self::Softmax { .. } | Self::FlatSoftmax { log: false, .. } => "Softmax",
            Self::LogSoftmax { .. } | Self::FlatSoftmax { log: true, .. } => "LogSoftmax",
            Self::Reshape { .. } => "Reshape",
            Self::Flatten { .. } => "Flatten",
            Self::Transpose { .. } => "Transpose",
            Self::Squeeze => "Squeeze",
            Self::Unsqueeze => "Unsqueeze",
            Self::Concat { .. } => "Concat",
            Self::Split { .. } => "Split",
            Self::Slice => "Slice",
            Self::Gather { .. } => "Gather",
            Self::Expand => "Expand",
            Self::Pad(_) => "Pad",
            Self::Shape { .. } => "Shape",
            Self::Cast { .. } => "Cast",
            Self::ConstantOfShape { .. } => "ConstantOfShape",
            Self::Identity => "Identity",
        }
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
