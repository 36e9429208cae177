//! Pooling: windows, regions and whole images.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::convolution::padding;
use super::registry::Rule;
use crate::graph::{Fault, MaxRoiPool, MaxUnpool, Op, Pool, PoolKind};

pub(super) const RULES: &[Rule] = &[
    ("AveragePool", average_pool),
    ("GlobalAveragePool", |call| {
        call.plain(Op::GlobalPool(PoolKind::Average))
    }),
    ("GlobalLpPool", |call| {
        let kind = lp(call)?;
        call.plain(Op::GlobalPool(kind))
    }),
    ("GlobalMaxPool", |call| {
        call.plain(Op::GlobalPool(PoolKind::Max))
    }),
    ("LpPool", lp_pool),
    ("MaxPool", max_pool),
    ("MaxRoiPool", max_roi_pool),
    ("MaxUnpool", max_unpool),
];

fn kernel(call: &Call<'_>) -> Result<Vec<usize>, Fault> {
    let kernel = call.attributes.sizes("kernel_shape")?;
    if kernel.is_empty() {
        return Err(Fault::NoAttribute {
            attribute: "kernel_shape".to_owned(),
            expected: "the size of the window",
        });
    }
    Ok(kernel)
}

fn pool(call: &Call<'_>, kind: PoolKind) -> Result<Pool, Fault> {
    let attributes = &call.attributes;
    let (auto_pad, pads) = padding(attributes)?;
    Ok(Pool {
        kind,
        kernel: kernel(call)?,
        auto_pad,
        pads,
        strides: attributes.sizes("strides")?,
        dilations: attributes.sizes("dilations")?,
        ceil_mode: attributes.flag("ceil_mode", false)?,
        count_include_pad: false,
        column_major: false,
    })
}

fn max_pool(call: &mut Call<'_>) -> Result<Form, Fault> {
    let pool = Pool {
        column_major: call.attributes.flag("storage_order", false)?,
        ..pool(call, PoolKind::Max)?
    };
    call.plain(Op::Pool(pool))
}

fn average_pool(call: &mut Call<'_>) -> Result<Form, Fault> {
    let count_include_pad = call.attributes.flag("count_include_pad", false)?;
    let pool = Pool {
        count_include_pad,
        ..pool(call, PoolKind::Average)?
    };
    call.plain(Op::Pool(pool))
}

fn lp_pool(call: &mut Call<'_>) -> Result<Form, Fault> {
    let kind = lp(call)?;
    let pool = pool(call, kind)?;
    call.plain(Op::Pool(pool))
}

/// Reads the order of the norm, which opset 1 gave as a floating-point number.
fn lp(call: &Call<'_>) -> Result<PoolKind, Fault> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "norms of such a high order are all the maximum"
    )]
    let p = match call.opset {
        ..2 => call.attributes.float_or("p", 2.0)?,
        _ => call.attributes.int_or("p", 2)? as f32,
    };
    if p > 0.0 && p.is_finite() {
        Ok(PoolKind::Lp { p })
    } else {
        Err(wrong("p", p, "a positive number"))
    }
}

fn max_unpool(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = MaxUnpool {
        kernel: kernel(call)?,
        pads: call.attributes.sizes("pads")?,
        strides: call.attributes.sizes("strides")?,
    };
    call.plain(Op::MaxUnpool(op))
}

fn max_roi_pool(call: &mut Call<'_>) -> Result<Form, Fault> {
    let shape = call.attributes.sizes("pooled_shape")?;
    let size = <[usize; 2]>::try_from(shape.as_slice())
        .ok()
        .filter(|size| !size.contains(&0))
        .ok_or_else(|| wrong("pooled_shape", format!("{shape:?}"), "a height and a width"))?;
    let scale = call.attributes.float_or("spatial_scale", 1.0)?;
    call.plain(Op::MaxRoiPool(MaxRoiPool { size, scale }))
}
