//! The attributes of each canonical operator that is one ONNX operator.

use crate::graph::onnx::dtype::number;
use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{
    AutoPad, Binary, Conv, ConvTranspose, Index, Node, Normalization, Op, PadMode, Pool, PoolKind,
    Unary,
};

use super::attribute::{flag, float, int, sizes, tensor, text};
use super::tensor::single;

type Attributes = Vec<AttributeProto>;

/// Returns the attributes of a node's operator; `None` if that is not written as one ONNX operator.
pub(super) fn attributes(node: &Node) -> Option<Attributes> {
    elementwise(&node.op)
        .or_else(|| spatial(&node.op))
        .or_else(|| algebra(&node.op))
        .or_else(|| selection(&node.op))
        .or_else(|| layout(node))
}

fn elementwise(op: &Op) -> Option<Attributes> {
    Some(match op {
        Op::Unary(Unary::HardSigmoid { alpha, beta }) => {
            vec![float("alpha", *alpha), float("beta", *beta)]
        }
        Op::Unary(Unary::LeakyRelu { alpha } | Unary::Elu { alpha }) => {
            vec![float("alpha", *alpha)]
        }
        Op::Unary(Unary::Gelu { tanh }) => {
            vec![text("approximate", if *tanh { "tanh" } else { "none" })]
        }
        Op::Unary(Unary::Selu { alpha, gamma }) => {
            vec![float("alpha", *alpha), float("gamma", *gamma)]
        }
        Op::Unary(
            Unary::Celu { alpha } | Unary::ThresholdedRelu { alpha } | Unary::Swish { alpha },
        ) => vec![float("alpha", *alpha)],
        Op::Unary(Unary::Shrink { bias, lambda }) => {
            vec![float("bias", *bias), float("lambd", *lambda)]
        }
        Op::Unary(Unary::IsInf { negative, positive }) => vec![
            flag("detect_negative", *negative),
            flag("detect_positive", *positive),
        ],
        Op::Binary(Binary::Mod { truncated }) => vec![flag("fmod", *truncated)],
        Op::Binary(Binary::ShiftLeft) => vec![text("direction", "LEFT")],
        Op::Binary(Binary::ShiftRight) => vec![text("direction", "RIGHT")],
        Op::Unary(_) | Op::Binary(_) | Op::Variadic(_) => Vec::new(),
        Op::Clip | Op::Where | Op::Identity | Op::Size | Op::Range => Vec::new(),
        Op::Cast { to } => vec![int("to", number(*to).into())],
        _ => return None,
    })
}

fn spatial(op: &Op) -> Option<Attributes> {
    Some(match op {
        Op::Conv(conv) => convolution(conv),
        Op::ConvTranspose(ConvTranspose {
            conv,
            output_padding,
            output_shape,
        }) => {
            let mut attributes = convolution(conv);
            attributes.extend(sizes("output_padding", output_padding));
            attributes.extend(sizes("output_shape", output_shape));
            attributes
        }
        Op::Pool(Pool {
            kind: PoolKind::Lp { .. },
            ..
        }) => return None,
        Op::Pool(op) => pool(op),
        Op::GlobalPool(PoolKind::Average | PoolKind::Max) => Vec::new(),
        Op::DepthToSpace {
            block,
            channels_first,
        } => vec![
            int("blocksize", i64::try_from(*block).ok()?),
            text("mode", if *channels_first { "CRD" } else { "DCR" }),
        ],
        Op::SpaceToDepth { block } => vec![int("blocksize", i64::try_from(*block).ok()?)],
        Op::Pad(mode) => {
            let mode = match mode {
                PadMode::Constant => "constant",
                PadMode::Reflect => "reflect",
                PadMode::Edge => "edge",
                PadMode::Wrap => "wrap",
            };
            vec![text("mode", mode)]
        }
        _ => return None,
    })
}

fn convolution(conv: &Conv) -> Attributes {
    let groups = int("group", i64::try_from(conv.groups).unwrap_or(i64::MAX));
    let mut attributes = vec![groups];
    attributes.extend(window(
        conv.auto_pad,
        &conv.pads,
        &conv.strides,
        &conv.dilations,
    ));
    attributes
}

fn pool(pool: &Pool) -> Attributes {
    let mut attributes = vec![flag("ceil_mode", pool.ceil_mode)];
    attributes.extend(sizes("kernel_shape", &pool.kernel));
    match pool.kind {
        PoolKind::Average => {
            attributes.push(flag("count_include_pad", pool.count_include_pad));
        }
        PoolKind::Max => attributes.push(flag("storage_order", pool.column_major)),
        PoolKind::Lp { .. } => {}
    }
    attributes.extend(window(
        pool.auto_pad,
        &pool.pads,
        &pool.strides,
        &pool.dilations,
    ));
    attributes
}

fn window(
    auto_pad: AutoPad,
    pads: &[usize],
    strides: &[usize],
    dilations: &[usize],
) -> impl Iterator<Item = AttributeProto> {
    let padding = match auto_pad {
        AutoPad::Explicit => sizes("pads", pads),
        AutoPad::SameUpper => Some(text("auto_pad", "SAME_UPPER")),
        AutoPad::SameLower => Some(text("auto_pad", "SAME_LOWER")),
        AutoPad::Valid => Some(text("auto_pad", "VALID")),
    };
    let parts = [
        padding,
        sizes("strides", strides),
        sizes("dilations", dilations),
    ];
    parts.into_iter().flatten()
}

fn algebra(op: &Op) -> Option<Attributes> {
    Some(match op {
        Op::MatMul => Vec::new(),
        Op::Gemm {
            alpha,
            beta,
            transpose_a,
            transpose_b,
        } => vec![
            float("alpha", *alpha),
            float("beta", *beta),
            flag("transA", *transpose_a),
            flag("transB", *transpose_b),
        ],
        Op::Normalization(kind) => normalization(*kind)?,
        Op::Softmax { axis } | Op::LogSoftmax { axis } => vec![int("axis", *axis)],
        Op::Reduce {
            keep_dims,
            noop_with_empty_axes,
            ..
        } => vec![
            flag("keepdims", *keep_dims),
            flag("noop_with_empty_axes", *noop_with_empty_axes),
        ],
        Op::ArgExtreme {
            axis,
            keep_dims,
            select_last,
            ..
        } => vec![
            int("axis", *axis),
            flag("keepdims", *keep_dims),
            flag("select_last_index", *select_last),
        ],
        _ => return None,
    })
}

fn normalization(kind: Normalization) -> Option<Attributes> {
    Some(match kind {
        Normalization::Batch { epsilon } | Normalization::Instance { epsilon } => {
            vec![float("epsilon", epsilon)]
        }
        Normalization::Layer {
            axis,
            epsilon,
            brief_statistics: false,
        }
        | Normalization::RootMeanSquare { axis, epsilon } => {
            vec![int("axis", axis), float("epsilon", epsilon)]
        }
        Normalization::LocalResponse {
            size,
            alpha,
            beta,
            bias,
        } => vec![
            int("size", i64::try_from(size).unwrap_or(i64::MAX)),
            float("alpha", alpha),
            float("beta", beta),
            float("bias", bias),
        ],
        _ => return None,
    })
}

fn selection(op: &Op) -> Option<Attributes> {
    Some(match op {
        Op::Index(Index::NonZero | Index::Tile) => Vec::new(),
        Op::Index(Index::GatherElements { axis } | Index::OneHot { axis }) => {
            vec![int("axis", *axis)]
        }
        Op::Index(Index::GatherNd { batch_dims }) => {
            vec![int("batch_dims", *batch_dims)]
        }
        Op::Index(Index::Trilu { upper }) => vec![flag("upper", *upper)],
        Op::TopK { axis, largest } => vec![int("axis", *axis), flag("largest", *largest)],
        Op::Hardmax { axis } => vec![int("axis", *axis)],
        Op::Cumulative {
            product: false,
            exclusive,
            reverse,
        } => vec![flag("exclusive", *exclusive), flag("reverse", *reverse)],
        _ => return None,
    })
}

fn layout(node: &Node) -> Option<Attributes> {
    Some(match &node.op {
        Op::Squeeze | Op::Unsqueeze | Op::Slice | Op::Expand => Vec::new(),
        Op::Reshape { allow_zero } => vec![flag("allowzero", *allow_zero)],
        Op::Transpose { permutation } => {
            let permutation = permutation.as_deref().unwrap_or_default();
            sizes("perm", permutation).into_iter().collect()
        }
        Op::Flatten { axis } | Op::Concat { axis } | Op::Gather { axis } => {
            vec![int("axis", *axis)]
        }
        Op::Split { axis } => {
            let mut attributes = vec![int("axis", *axis)];
            // Either the sizes are an input, or the number of equal parts is told.
            if node.inputs.get(1).copied().flatten().is_none() {
                let parts = i64::try_from(node.outputs.len()).unwrap_or(i64::MAX);
                attributes.push(int("num_outputs", parts));
            }
            attributes
        }
        Op::Shape { start, end } => {
            let end = end.map(|end| int("end", end));
            [int("start", *start)].into_iter().chain(end).collect()
        }
        Op::ConstantOfShape { value, dtype } => vec![tensor("value", single(*dtype, *value)?)],
        _ => return None,
    })
}
