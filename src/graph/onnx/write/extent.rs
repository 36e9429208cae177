//! Operators that change the spatial extent of an image.

use crate::graph::PadMode;

use super::attribute::{ints, size, text};
use super::call::{Call, Written};

pub(super) fn pad(call: &mut Call<'_, '_>, mode: PadMode) -> Written {
    let mode = match mode {
        PadMode::Constant => "constant",
        PadMode::Reflect => "reflect",
        PadMode::Edge => "edge",
        PadMode::Wrap => "wrap",
    };
    call.plain(vec![text("mode", mode)])
}

pub(super) fn center_crop_pad(call: &mut Call<'_, '_>, axes: Option<&[i64]>) -> Written {
    let axes = axes.map(|axes| ints("axes", axes.iter().copied()));
    call.plain(axes.into_iter().collect())
}

pub(super) fn depth_to_space(
    call: &mut Call<'_, '_>,
    block: usize,
    channels_first: bool,
) -> Written {
    let mode = if channels_first { "CRD" } else { "DCR" };
    call.plain(vec![size("blocksize", block), text("mode", mode)])
}

pub(super) fn space_to_depth(call: &mut Call<'_, '_>, block: usize) -> Written {
    call.plain(vec![size("blocksize", block)])
}
