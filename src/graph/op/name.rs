//! The names of operators, for messages and reports.

use super::{
    Binary, Cell, ContainerOp, Control, Distribution, Index, Normalization, Op, PoolKind,
    Quantised, Reduce, Unary,
};

impl Op {
    /// Returns the name that ONNX gives the operator, or, where it has none, ours.
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
            Self::ConvTranspose(_) => "ConvTranspose",
            Self::DeformConv(_) => "DeformConv",
            Self::Col2Im(_) => "Col2Im",
            Self::Normalization(kind) => normalization_name(*kind),
            Self::Dropout { .. } => "Dropout",
            Self::Pool(op) => match op.kind {
                PoolKind::Average => "AveragePool",
                PoolKind::Max => "MaxPool",
                PoolKind::Lp { .. } => "LpPool",
            },
            Self::FusedConv(_) => "FusedConv",
            Self::Linear { .. } => "Linear",
            Self::ScaledDotProduct(_) => "ScaledDotProduct",
            Self::GlobalPool(PoolKind::Average) => "GlobalAveragePool",
            Self::GlobalPool(PoolKind::Max) => "GlobalMaxPool",
            Self::GlobalPool(PoolKind::Lp { .. }) => "GlobalLpPool",
            Self::MaxUnpool(_) => "MaxUnpool",
            Self::MaxRoiPool(_) => "MaxRoiPool",
            Self::RoiAlign(_) => "RoiAlign",
            Self::Resize(_) => "Resize",
            Self::GridSample(_) => "GridSample",
            Self::AffineGrid { .. } => "AffineGrid",
            Self::NonMaxSuppression { .. } => "NonMaxSuppression",
            Self::ImageDecoder(_) => "ImageDecoder",
            Self::Attention(_) => "Attention",
            Self::RotaryEmbedding(_) => "RotaryEmbedding",
            Self::LinearAttention(_) => "LinearAttention",
            Self::CausalConv { .. } => "CausalConvWithState",
            Self::Recurrent(op) => match op.cell {
                Cell::Rnn => "RNN",
                Cell::Gru { .. } => "GRU",
                Cell::Lstm { .. } => "LSTM",
            },
            Self::MatMul => "MatMul",
            Self::Gemm { .. } => "Gemm",
            Self::Reduce { kind, .. } => reduce_name(*kind),
            Self::ArgExtreme { largest: true, .. } => "ArgMax",
            Self::ArgExtreme { largest: false, .. } => "ArgMin",
            Self::Hardmax { .. } => "Hardmax",
            Self::Cumulative { product: false, .. } => "CumSum",
            Self::Cumulative { product: true, .. } => "CumProd",
            Self::TopK { .. } => "TopK",
            Self::Unique { .. } => "Unique",
            Self::Einsum(_) => "Einsum",
            Self::Det => "Det",
            Self::NegativeLogLikelihoodLoss { .. } => "NegativeLogLikelihoodLoss",
            Self::Signal(op) => op.name(),
            Self::Text(op) => op.name(),
            Self::LabelEncoder => "LabelEncoder",
            Self::TreeEnsemble(_) => "TreeEnsemble",
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
            Self::CenterCropPad { .. } => "CenterCropPad",
            Self::DepthToSpace { .. } => "DepthToSpace",
            Self::SpaceToDepth { .. } => "SpaceToDepth",
            Self::Shape { .. } => "Shape",
            Self::Size => "Size",
            Self::Cast { .. } | Self::Narrow(_) => "Cast",
            Self::BitCast { .. } => "BitCast",
            Self::Quantised(op) => quantised_name(op),
            Self::ConstantOfShape { .. } => "ConstantOfShape",
            Self::Range => "Range",
            Self::EyeLike { .. } => "EyeLike",
            Self::Random(op) => match op.distribution {
                Distribution::Uniform { .. } => "RandomUniform",
                Distribution::Normal { .. } => "RandomNormal",
                Distribution::Classes { .. } => "Multinomial",
            },
            Self::Identity => "Identity",
            Self::Index(op) => index_name(*op),
            Self::Container(op) => container_name(*op),
            Self::Control(Control::If { .. }) => "If",
            Self::Control(Control::Loop { .. }) => "Loop",
            Self::Control(Control::Scan(_)) => "Scan",
            Self::Control(Control::SequenceMap { .. }) => "SequenceMap",
            Self::Aten(_) => "ATen",
        }
    }
}

fn unary_name(function: Unary) -> &'static str {
    match function {
        Unary::Relu => "Relu",
        Unary::Sigmoid => "Sigmoid",
        Unary::Tanh => "Tanh",
        Unary::Sin => "Sin",
        Unary::Cos => "Cos",
        Unary::Tan => "Tan",
        Unary::Asin => "Asin",
        Unary::Acos => "Acos",
        Unary::Atan => "Atan",
        Unary::Sinh => "Sinh",
        Unary::Cosh => "Cosh",
        Unary::Asinh => "Asinh",
        Unary::Acosh => "Acosh",
        Unary::Atanh => "Atanh",
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
        Unary::BitwiseNot => "BitwiseNot",
        Unary::IsNaN => "IsNaN",
        Unary::IsInf { .. } => "IsInf",
        Unary::Softplus => "Softplus",
        Unary::Softsign => "Softsign",
        Unary::HardSwish => "HardSwish",
        Unary::Mish => "Mish",
        Unary::HardSigmoid { .. } => "HardSigmoid",
        Unary::LeakyRelu { .. } => "LeakyRelu",
        Unary::Elu { .. } => "Elu",
        Unary::Gelu { .. } => "Gelu",
        Unary::Selu { .. } => "Selu",
        Unary::Celu { .. } => "Celu",
        Unary::Shrink { .. } => "Shrink",
        Unary::ThresholdedRelu { .. } => "ThresholdedRelu",
        Unary::Swish { .. } => "Swish",
    }
}

fn binary_name(function: Binary) -> &'static str {
    match function {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Mod { .. } => "Mod",
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
        Binary::BitwiseAnd => "BitwiseAnd",
        Binary::BitwiseOr => "BitwiseOr",
        Binary::BitwiseXor => "BitwiseXor",
        Binary::ShiftLeft | Binary::ShiftRight => "BitShift",
    }
}

fn quantised_name(op: &Quantised) -> &'static str {
    match op {
        Quantised::Quantize { .. } => "QuantizeLinear",
        Quantised::Dequantize { .. } => "DequantizeLinear",
        Quantised::DynamicQuantize => "DynamicQuantizeLinear",
        Quantised::MatMul => "QLinearMatMul",
        Quantised::Conv(_) => "QLinearConv",
        Quantised::MatMulInteger => "MatMulInteger",
        Quantised::ConvInteger(_) => "ConvInteger",
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
        Reduce::SumSquare => "ReduceSumSquare",
        Reduce::LogSum => "ReduceLogSum",
        Reduce::LogSumExp => "ReduceLogSumExp",
    }
}

fn index_name(op: Index) -> &'static str {
    match op {
        Index::Compress { .. } => "Compress",
        Index::GatherElements { .. } => "GatherElements",
        Index::GatherNd { .. } => "GatherND",
        Index::NonZero => "NonZero",
        Index::OneHot { .. } => "OneHot",
        Index::ReverseSequence { .. } => "ReverseSequence",
        Index::ScatterElements { .. } => "ScatterElements",
        Index::ScatterNd { .. } => "ScatterND",
        Index::TensorScatter { .. } => "TensorScatter",
        Index::Tile => "Tile",
        Index::Trilu { .. } => "Trilu",
    }
}

fn container_name(op: ContainerOp) -> &'static str {
    match op {
        ContainerOp::SequenceConstruct => "SequenceConstruct",
        ContainerOp::SequenceEmpty { .. } => "SequenceEmpty",
        ContainerOp::SequenceAt => "SequenceAt",
        ContainerOp::SequenceInsert => "SequenceInsert",
        ContainerOp::SequenceErase => "SequenceErase",
        ContainerOp::SequenceLength => "SequenceLength",
        ContainerOp::SplitToSequence { .. } => "SplitToSequence",
        ContainerOp::ConcatFromSequence { .. } => "ConcatFromSequence",
        ContainerOp::Optional { .. } => "Optional",
        ContainerOp::OptionalHasElement => "OptionalHasElement",
        ContainerOp::OptionalGetElement => "OptionalGetElement",
    }
}

fn normalization_name(kind: Normalization) -> &'static str {
    match kind {
        Normalization::Batch { .. } | Normalization::BatchTraining { .. } => "BatchNormalization",
        Normalization::Layer { .. } => "LayerNormalization",
        Normalization::RootMeanSquare { .. } => "RMSNormalization",
        Normalization::Group { .. } => "GroupNormalization",
        Normalization::Instance { .. } => "InstanceNormalization",
        Normalization::LocalResponse { .. } => "LRN",
    }
}
