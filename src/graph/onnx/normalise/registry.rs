//! Which rule reads which ONNX operator.

use super::call::{Call, Form};
use super::{constant, convolution, elementwise, linear, reduce, selection, shape};
use crate::graph::{Binary, Fault, Op, PoolKind, Reduce, Unary};

/// Turns one use of an ONNX operator into the canonical form.
pub(in crate::graph::onnx) type Normalise = fn(&mut Call<'_>) -> Result<Form, Fault>;

/// Returns the rule for an operator of the default domain.
pub(in crate::graph::onnx) fn find(operator: &str) -> Option<Normalise> {
    REGISTRY
        .iter()
        .find(|(name, _)| *name == operator)
        .map(|(_, rule)| *rule)
}

/// The supported operators.
const REGISTRY: &[(&str, Normalise)] = &[
    ("Abs", |call| call.plain(Op::Unary(Unary::Abs))),
    ("Add", |call| elementwise::binary(call, Binary::Add)),
    ("And", |call| elementwise::binary(call, Binary::And)),
    ("ArgMax", |call| reduce::arg_extreme(call, true)),
    ("ArgMin", |call| reduce::arg_extreme(call, false)),
    ("AveragePool", convolution::average_pool),
    ("BatchNormalization", linear::batch_normalization),
    ("Cast", elementwise::cast),
    ("Ceil", |call| call.plain(Op::Unary(Unary::Ceil))),
    ("Clip", elementwise::clip),
    ("Concat", shape::concat),
    ("Constant", constant::constant),
    ("ConstantOfShape", constant::constant_of_shape),
    ("Conv", convolution::conv),
    ("Div", |call| elementwise::binary(call, Binary::Div)),
    ("Dropout", constant::dropout),
    ("Elu", elementwise::elu),
    ("Equal", |call| elementwise::binary(call, Binary::Equal)),
    ("Erf", |call| call.plain(Op::Unary(Unary::Erf))),
    ("Exp", |call| call.plain(Op::Unary(Unary::Exp))),
    ("Expand", |call| call.plain(Op::Expand)),
    ("Flatten", shape::flatten),
    ("Floor", |call| call.plain(Op::Unary(Unary::Floor))),
    ("Gather", selection::gather),
    ("Gelu", elementwise::gelu),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", |call| {
        call.plain(Op::GlobalPool(PoolKind::Average))
    }),
    ("GlobalMaxPool", |call| {
        call.plain(Op::GlobalPool(PoolKind::Max))
    }),
    ("Greater", |call| elementwise::binary(call, Binary::Greater)),
    ("GreaterOrEqual", |call| {
        elementwise::binary(call, Binary::GreaterOrEqual)
    }),
    ("HardSigmoid", elementwise::hard_sigmoid),
    ("HardSwish", |call| call.plain(Op::Unary(Unary::HardSwish))),
    ("Identity", |call| call.plain(Op::Identity)),
    ("LayerNormalization", linear::layer_normalization),
    ("LeakyRelu", elementwise::leaky_relu),
    ("Less", |call| elementwise::binary(call, Binary::Less)),
    ("LessOrEqual", |call| {
        elementwise::binary(call, Binary::LessOrEqual)
    }),
    ("Log", |call| call.plain(Op::Unary(Unary::Log))),
    ("LogSoftmax", |call| reduce::softmax(call, true)),
    ("MatMul", |call| call.plain(Op::MatMul)),
    ("Max", |call| call.plain(Op::Variadic(Reduce::Max))),
    ("MaxPool", convolution::max_pool),
    ("Mean", |call| call.plain(Op::Variadic(Reduce::Mean))),
    ("Min", |call| call.plain(Op::Variadic(Reduce::Min))),
    ("Mish", |call| call.plain(Op::Unary(Unary::Mish))),
    ("Mul", |call| elementwise::binary(call, Binary::Mul)),
    ("Neg", |call| call.plain(Op::Unary(Unary::Neg))),
    ("Not", |call| call.plain(Op::Unary(Unary::Not))),
    ("Or", |call| elementwise::binary(call, Binary::Or)),
    ("PRelu", elementwise::prelu),
    ("Pad", selection::pad),
    ("Pow", |call| elementwise::binary(call, Binary::Pow)),
    ("Reciprocal", |call| {
        call.plain(Op::Unary(Unary::Reciprocal))
    }),
    ("ReduceL1", |call| reduce::reduce(call, Reduce::L1, 18)),
    ("ReduceL2", |call| reduce::reduce(call, Reduce::L2, 18)),
    ("ReduceMax", |call| reduce::reduce(call, Reduce::Max, 18)),
    ("ReduceMean", |call| reduce::reduce(call, Reduce::Mean, 18)),
    ("ReduceMin", |call| reduce::reduce(call, Reduce::Min, 18)),
    ("ReduceProd", |call| reduce::reduce(call, Reduce::Prod, 18)),
    ("ReduceSum", |call| reduce::reduce(call, Reduce::Sum, 13)),
    ("Relu", |call| call.plain(Op::Unary(Unary::Relu))),
    ("Reshape", shape::reshape),
    ("Round", |call| call.plain(Op::Unary(Unary::Round))),
    ("Shape", shape::shape),
    ("Sigmoid", |call| call.plain(Op::Unary(Unary::Sigmoid))),
    ("Sign", |call| call.plain(Op::Unary(Unary::Sign))),
    ("Slice", selection::slice),
    ("Softmax", |call| reduce::softmax(call, false)),
    ("Softplus", |call| call.plain(Op::Unary(Unary::Softplus))),
    ("Softsign", |call| call.plain(Op::Unary(Unary::Softsign))),
    ("Split", selection::split),
    ("Sqrt", |call| call.plain(Op::Unary(Unary::Sqrt))),
    ("Squeeze", shape::squeeze),
    ("Sub", |call| elementwise::binary(call, Binary::Sub)),
    ("Sum", |call| call.plain(Op::Variadic(Reduce::Sum))),
    ("Tanh", |call| call.plain(Op::Unary(Unary::Tanh))),
    ("Transpose", shape::transpose),
    ("Unsqueeze", shape::unsqueeze),
    ("Where", |call| call.plain(Op::Where)),
    ("Xor", |call| elementwise::binary(call, Binary::Xor)),
];
