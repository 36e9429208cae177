//! Which operators compute in 16-bit floats where a block asks for them, and which stay in FP32.
//!
//! The lists follow those of PyTorch's automatic mixed precision (`torch.amp`, "Autocast Op Reference", CUDA ops): what
//! gains most computes narrow, what loses most computes wide, and what is between computes as its inputs are. One
//! difference: where inputs are of both kinds, the result is narrow. Not so of sums and choices: one of them may be a mask of
//! the least FP32, which is infinite in fewer bits.
//!
//! | computes | operators |
//! |---|---|
//! | narrow | convolutions, MatMul, Gemm, Linear, scaled-dot-product attention |
//! | narrow if all of its inputs but weights were computed so | Add, Sub, Where |
//! | narrow if one of its inputs was computed so | Mul, Div, PRelu, Clip, Einsum; `Sum`, `Max`, `Min` and `Mean` of several tensors; Relu and its kind, Sigmoid, Tanh, GELU, SiLU, HardSwish, Mish, Erf, Abs, Neg; batch normalisation, of which the four parameters stay FP32, as do sums within; maximum pooling; greatest and least elements; what moves elements or picks some, which Gather does of a table of weights in any case |
//! | FP32 | all else: softmax and its kind, layer, group, instance and RMS normalisation, sums and means over elements, average pooling, exponentials, logarithms, powers, roots, reciprocals, sines, comparisons, losses, resizing, recurrent layers, attention by ONNX's own operator, bodies of control flow, operators of ATen that have no counterpart here |
//!
//! So what is computed from sizes and positions alone, where a rounded number would be another place, stays FP32: also
//! an outer product of such, as rotary embeddings have it. What is not listed stays FP32, too, so that an operator that
//! is added later is computed as it was tested.

use crate::graph::{Binary, Graph, Index, Node, Normalization, Op, PoolKind, Reduce, Unary};
use crate::types::Dim;

/// What becomes of the FP32 inputs of a node, and with them of its FP32 outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Narrow,
    /// As the inputs at these places are, all where there is no list; the others stay FP32.
    Follows(Option<&'static [usize]>),
    /// Narrow if all inputs but weights are.
    Promotes,
    /// Likewise; weights alone are taken narrow.
    Picks(&'static [usize]),
    Wide,
}

const FIRST: Role = Role::Follows(Some(&[0]));

pub(super) fn role(graph: &Graph, node: &Node) -> Role {
    match &node.op {
        Op::MatMul if is_outer(graph, node) => Role::Follows(None),
        Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::FusedConv(_)
        | Op::MatMul
        | Op::Gemm { .. }
        | Op::Linear { .. }
        | Op::ScaledDotProduct(_) => Role::Narrow,
        Op::Gather { .. } => Role::Picks(&[0]),
        Op::Transpose { .. } if rank(graph, node, 0) == Some(2) => Role::Picks(&[0]),
        Op::Unary(function) if is_narrow(*function) => FIRST,
        Op::Normalization(Normalization::Batch { .. })
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Split { .. }
        | Op::Slice
        | Op::Expand
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::Identity
        | Op::Dropout { .. }
        | Op::Shape { .. }
        | Op::Size
        | Op::ArgExtreme { .. }
        | Op::Reduce {
            kind: Reduce::Max | Reduce::Min,
            ..
        }
        | Op::GlobalPool(PoolKind::Max)
        | Op::Index(
            Index::Compress { .. }
            | Index::GatherElements { .. }
            | Index::GatherNd { .. }
            | Index::Tile
            | Index::Trilu { .. },
        ) => FIRST,
        Op::Pool(pool) if pool.kind == PoolKind::Max => FIRST,
        Op::Pad(_) => Role::Follows(Some(&[0, 2])),
        Op::Where | Op::Binary(Binary::Add | Binary::Sub) => Role::Promotes,
        Op::Binary(Binary::Mul | Binary::Div | Binary::PRelu)
        | Op::Variadic(_)
        | Op::Einsum(_)
        | Op::Concat { .. }
        | Op::Clip => Role::Follows(None),
        _ => Role::Wide,
    }
}

fn is_narrow(function: Unary) -> bool {
    matches!(
        function,
        Unary::Relu
            | Unary::LeakyRelu { .. }
            | Unary::Elu { .. }
            | Unary::Selu { .. }
            | Unary::Celu { .. }
            | Unary::Gelu { .. }
            | Unary::Swish { .. }
            | Unary::Mish
            | Unary::HardSwish
            | Unary::HardSigmoid { .. }
            | Unary::Sigmoid
            | Unary::Tanh
            | Unary::Erf
            | Unary::Abs
            | Unary::Neg
    )
}

/// Tells whether a product of matrices adds nothing up.
fn is_outer(graph: &Graph, node: &Node) -> bool {
    let columns = dims(graph, node, 0).and_then(<[Dim]>::last);
    rank(graph, node, 0).is_some_and(|rank| rank > 1) && columns == Some(&Dim::Fixed(1))
}

fn rank(graph: &Graph, node: &Node, place: usize) -> Option<usize> {
    dims(graph, node, place).map(<[Dim]>::len)
}

fn dims<'a>(graph: &'a Graph, node: &Node, place: usize) -> Option<&'a [Dim]> {
    let value = graph.value((*node.inputs.get(place)?)?);
    value.shape.as_ref().map(|shape| shape.0.as_slice())
}
