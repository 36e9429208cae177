//! Convolutions, also transposed and deformable, and their blocks put together again.

use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{AutoPad, Col2Im, Conv, ConvTranspose, DeformConv};

use super::attribute::{size, sizes, text};
use super::call::{Call, Written};

pub(super) fn conv(call: &mut Call<'_, '_>, op: &Conv) -> Written {
    call.plain(windows(op))
}

pub(super) fn conv_transpose(call: &mut Call<'_, '_>, op: &ConvTranspose) -> Written {
    let mut attributes = windows(&op.conv);
    attributes.extend(sizes("output_padding", &op.output_padding));
    attributes.extend(sizes("output_shape", &op.output_shape));
    call.plain(attributes)
}

pub(super) fn deform_conv(call: &mut Call<'_, '_>, op: &DeformConv) -> Written {
    let mut attributes = windows(&op.conv);
    attributes.push(size("offset_group", op.offset_groups));
    call.plain(attributes)
}

pub(super) fn col2im(call: &mut Call<'_, '_>, op: &Col2Im) -> Written {
    call.plain(window(AutoPad::Explicit, &op.pads, &op.strides, &op.dilations).collect())
}

/// Returns the attributes of a convolution.
pub(super) fn windows(conv: &Conv) -> Vec<AttributeProto> {
    let mut attributes = vec![size("group", conv.groups)];
    attributes.extend(window(
        conv.auto_pad,
        &conv.pads,
        &conv.strides,
        &conv.dilations,
    ));
    attributes
}

/// Returns the attributes that tell where windows lie.
pub(super) fn window(
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
