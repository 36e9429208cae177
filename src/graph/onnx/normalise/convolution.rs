//! Convolutions, also transposed and deformable, and their blocks put together again.

use super::super::attributes::{Attributes, wrong};
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{AutoPad, Col2Im, Conv, ConvTranspose, DeformConv, Fault, Op};
use crate::types::ShapeSpec;

/// Reads `auto_pad` and `pads`; the latter count only if the former leaves the choice to them.
pub(super) fn padding(attributes: &Attributes<'_>) -> Result<(AutoPad, Vec<usize>), Fault> {
    let pads = attributes.sizes("pads")?;
    let auto_pad = match attributes.text("auto_pad")?.as_deref() {
        None | Some("" | "NOTSET") => return Ok((AutoPad::Explicit, pads)),
        Some("SAME_UPPER") => AutoPad::SameUpper,
        Some("SAME_LOWER") => AutoPad::SameLower,
        Some("VALID") => AutoPad::Valid,
        Some(seen) => {
            return Err(wrong(
                "auto_pad",
                format!("{seen:?}"),
                "NOTSET, SAME_UPPER, SAME_LOWER or VALID",
            ));
        }
    };
    Ok((auto_pad, Vec::new()))
}

pub(super) const RULES: &[Rule] = &[
    ("Col2Im", col2im),
    ("Conv", |call| {
        let conv = conv(call)?;
        call.plain(Op::Conv(conv))
    }),
    ("ConvTranspose", conv_transpose),
    ("DeformConv", deform_conv),
];

/// Reads the attributes; input 1 is the weight.
pub(super) fn conv(call: &Call<'_>) -> Result<Conv, Fault> {
    let attributes = &call.attributes;
    let (auto_pad, pads) = padding(attributes)?;
    let groups = attributes.int_or("group", 1)?;
    let conv = Conv {
        auto_pad,
        pads,
        strides: attributes.sizes("strides")?,
        dilations: attributes.sizes("dilations")?,
        groups: usize::try_from(groups).map_err(|_| wrong("group", groups, "at least 1"))?,
    };
    // The weight has the kernel's shape too; the attribute may only repeat it.
    let kernel = attributes.sizes("kernel_shape")?;
    let weight = call
        .builder
        .fact(call.input(1)?)
        .dims()
        .and_then(|dims| dims.get(2..));
    if let (false, Some(weight)) = (kernel.is_empty(), weight)
        && !(weight.len() == kernel.len()
            && weight
                .iter()
                .zip(&kernel)
                .all(|(dim, &size)| dim.fixed().is_none_or(|fixed| fixed == size)))
    {
        let weight = ShapeSpec(weight.to_vec());
        return Err(wrong(
            "kernel_shape",
            format!("{kernel:?}"),
            &format!("{weight} as the weight has"),
        ));
    }
    Ok(conv)
}

fn conv_transpose(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = ConvTranspose {
        conv: conv(call)?,
        output_padding: call.attributes.sizes("output_padding")?,
        output_shape: call.attributes.sizes("output_shape")?,
    };
    call.plain(Op::ConvTranspose(op))
}

fn deform_conv(call: &mut Call<'_>) -> Result<Form, Fault> {
    let groups = call.attributes.int_or("offset_group", 1)?;
    let op = DeformConv {
        conv: conv(call)?,
        offset_groups: usize::try_from(groups)
            .map_err(|_| wrong("offset_group", groups, "at least 1"))?,
    };
    call.plain(Op::DeformConv(op))
}

fn col2im(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = Col2Im {
        pads: call.attributes.sizes("pads")?,
        strides: call.attributes.sizes("strides")?,
        dilations: call.attributes.sizes("dilations")?,
    };
    call.plain(Op::Col2Im(op))
}
