//! Operators that change the spatial extent of an image: Pad, CenterCropPad, DepthToSpace, SpaceToDepth.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Fault, Op, PadMode};

pub(super) const RULES: &[Rule] = &[
    ("CenterCropPad", center_crop_pad),
    ("DepthToSpace", depth_to_space),
    ("Pad", pad),
    ("SpaceToDepth", |call| {
        let block = block(call)?;
        call.plain(Op::SpaceToDepth { block })
    }),
];

fn center_crop_pad(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axes = call.attributes.ints("axes")?.map(<[i64]>::to_vec);
    call.plain(Op::CenterCropPad { axes })
}

fn block(call: &Call<'_>) -> Result<usize, Fault> {
    let size = call.attributes.int("blocksize")?;
    let size = size.ok_or(Fault::NoAttribute {
        attribute: "blocksize".to_owned(),
        expected: "the side of a block",
    })?;
    usize::try_from(size)
        .ok()
        .filter(|&size| size > 0)
        .ok_or_else(|| wrong("blocksize", size, "at least 1"))
}

fn depth_to_space(call: &mut Call<'_>) -> Result<Form, Fault> {
    let mode = match call.opset {
        11.. => call.attributes.text("mode")?,
        _ => None,
    };
    let channels_first = match mode.as_deref() {
        None | Some("DCR") => false,
        Some("CRD") => true,
        Some(seen) => return Err(wrong("mode", format!("{seen:?}"), "\"DCR\" or \"CRD\"")),
    };
    let block = block(call)?;
    call.plain(Op::DepthToSpace {
        block,
        channels_first,
    })
}

pub(super) fn pad(call: &mut Call<'_>) -> Result<Form, Fault> {
    let mode = match call.attributes.text("mode")?.as_deref() {
        None | Some("constant") => PadMode::Constant,
        Some("reflect") => PadMode::Reflect,
        Some("edge") => PadMode::Edge,
        Some("wrap") if call.opset >= 19 => PadMode::Wrap,
        Some(seen) => {
            return Err(wrong(
                "mode",
                format!("{seen:?}"),
                match call.opset {
                    19.. => "\"constant\", \"reflect\", \"edge\" or \"wrap\"",
                    _ => "\"constant\", \"reflect\" or \"edge\"",
                },
            ));
        }
    };
    if call.opset >= 11 {
        return call.plain(Op::Pad(mode));
    }
    call.at_most_inputs(1)?;
    let expected = "all begins, then all ends";
    let attribute = if call.opset < 2 { "paddings" } else { "pads" };
    let pads = call.attributes.ints(attribute)?;
    let pads = pads.ok_or(Fault::NoAttribute {
        attribute: attribute.to_owned(),
        expected,
    })?;
    let value = call.attributes.float_or("value", 0.0)?;
    let mut inputs = vec![Some(call.input(0)?), Some(call.integers("pads", pads)?)];
    if mode == PadMode::Constant && value != 0.0 {
        let dtype = call.dtype(0, "value")?;
        let expected = "a floating-point datatype".to_owned();
        let scalar = literal::float(dtype, value).ok_or(Fault::DType {
            input: 0,
            seen: dtype,
            expected,
        })?;
        inputs.push(Some(call.literal("value", Some(scalar))?));
    }
    Ok(Form::Node(Op::Pad(mode), inputs))
}
