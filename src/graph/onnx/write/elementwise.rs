//! Functions of single elements, conversions.

use crate::graph::onnx::dtype::number;
use crate::graph::{Binary, Narrowing, RoundMode, Unary};
use crate::types::DType;

use super::attribute::{flag, float, int, text};
use super::call::{Call, Written};

pub(super) fn unary(call: &mut Call<'_, '_>, function: Unary) -> Written {
    let attributes = match function {
        Unary::HardSigmoid { alpha, beta } => vec![float("alpha", alpha), float("beta", beta)],
        Unary::LeakyRelu { alpha }
        | Unary::Elu { alpha }
        | Unary::Celu { alpha }
        | Unary::ThresholdedRelu { alpha }
        | Unary::Swish { alpha } => vec![float("alpha", alpha)],
        Unary::Gelu { tanh } => vec![text("approximate", if tanh { "tanh" } else { "none" })],
        Unary::Selu { alpha, gamma } => vec![float("alpha", alpha), float("gamma", gamma)],
        Unary::Shrink { bias, lambda } => vec![float("bias", bias), float("lambd", lambda)],
        Unary::IsInf { negative, positive } => vec![
            flag("detect_negative", negative),
            flag("detect_positive", positive),
        ],
        // Made by a pass, and no operator of ONNX.
        _ => Vec::new(),
    };
    call.plain(attributes)
}

pub(super) fn binary(call: &mut Call<'_, '_>, function: Binary) -> Written {
    let attributes = match function {
        Binary::Mod { truncated } => vec![flag("fmod", truncated)],
        Binary::ShiftLeft => vec![text("direction", "LEFT")],
        Binary::ShiftRight => vec![text("direction", "RIGHT")],
        _ => Vec::new(),
    };
    call.plain(attributes)
}

pub(super) fn cast(call: &mut Call<'_, '_>, to: DType) -> Written {
    call.plain(vec![int("to", number(to).into())])
}

pub(super) fn narrow(call: &mut Call<'_, '_>, op: Narrowing) -> Written {
    let mut attributes = vec![
        int("to", number(op.to).into()),
        flag("saturate", op.saturate),
    ];
    match op.round {
        RoundMode::Up => {}
        RoundMode::Down => attributes.push(text("round_mode", "down")),
        RoundMode::Nearest => attributes.push(text("round_mode", "nearest")),
    }
    call.plain(attributes)
}
