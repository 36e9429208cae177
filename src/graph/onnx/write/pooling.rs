//! Pooling: windows, regions and whole images.

use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{AutoPad, MaxRoiPool, MaxUnpool, Pool, PoolKind};

use super::attribute::{flag, float, int, sizes};
use super::call::{Call, Written};
use super::convolution::window;

pub(super) fn pool(call: &mut Call<'_, '_>, op: &Pool) -> Written {
    let mut attributes = vec![flag("ceil_mode", op.ceil_mode)];
    attributes.extend(sizes("kernel_shape", &op.kernel));
    match op.kind {
        PoolKind::Average => attributes.push(flag("count_include_pad", op.count_include_pad)),
        PoolKind::Max => attributes.push(flag("storage_order", op.column_major)),
        PoolKind::Lp { p } => attributes.push(order(p).ok_or_else(|| call.refused())?),
    }
    attributes.extend(window(op.auto_pad, &op.pads, &op.strides, &op.dilations));
    call.plain(attributes)
}

pub(super) fn global_pool(call: &mut Call<'_, '_>, kind: PoolKind) -> Written {
    match kind {
        PoolKind::Average | PoolKind::Max => call.plain(Vec::new()),
        PoolKind::Lp { p } => {
            let order = order(p).ok_or_else(|| call.refused())?;
            call.plain(vec![order])
        }
    }
}

/// The order of a norm, which is an integer since opset 2.
fn order(p: f32) -> Option<AttributeProto> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "checked by the way back"
    )]
    let order = Some(p as i64).filter(|&order| (order as f32).to_bits() == p.to_bits());
    order.map(|order| int("p", order))
}

pub(super) fn max_unpool(call: &mut Call<'_, '_>, op: &MaxUnpool) -> Written {
    let kernel = sizes("kernel_shape", &op.kernel).into_iter();
    let window = window(AutoPad::Explicit, &op.pads, &op.strides, &[]);
    call.plain(kernel.chain(window).collect())
}

pub(super) fn max_roi_pool(call: &mut Call<'_, '_>, op: &MaxRoiPool) -> Written {
    let mut attributes = vec![float("spatial_scale", op.scale)];
    attributes.extend(sizes("pooled_shape", &op.size));
    call.plain(attributes)
}
