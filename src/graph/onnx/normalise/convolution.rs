//! Convolution and pooling: windows, strides, padding.

use super::super::attributes::{Attributes, wrong};
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{AutoPad, Conv, Fault, Op, Pool, PoolKind};

/// Reads `auto_pad` and `pads`; the latter count only if the former leaves the choice to them.
fn padding(attributes: &Attributes<'_>) -> Result<(AutoPad, Vec<usize>), Fault> {
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
    ("AveragePool", average_pool),
    ("Conv", conv),
    ("GlobalAveragePool", |call| {
        call.plain(Op::GlobalPool(PoolKind::Average))
    }),
    ("GlobalMaxPool", |call| {
        call.plain(Op::GlobalPool(PoolKind::Max))
    }),
    ("MaxPool", max_pool),
];

pub(super) fn conv(call: &mut Call<'_>) -> Result<Form, Fault> {
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
        let weight = crate::types::ShapeSpec(weight.to_vec());
        return Err(wrong(
            "kernel_shape",
            format!("{kernel:?}"),
            &format!("{weight} as the weight has"),
        ));
    }
    call.plain(Op::Conv(conv))
}

fn pool(call: &Call<'_>, kind: PoolKind) -> Result<Pool, Fault> {
    let attributes = &call.attributes;
    let (auto_pad, pads) = padding(attributes)?;
    let kernel = attributes.sizes("kernel_shape")?;
    if kernel.is_empty() {
        let attribute = "kernel_shape".to_owned();
        return Err(Fault::NoAttribute {
            attribute,
            expected: "the size of the window",
        });
    }
    Ok(Pool {
        kind,
        kernel,
        auto_pad,
        pads,
        strides: attributes.sizes("strides")?,
        dilations: attributes.sizes("dilations")?,
        ceil_mode: attributes.flag("ceil_mode", false)?,
        count_include_pad: false,
    })
}

pub(super) fn max_pool(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.only_first_output()?;
    // How indices are counted, which are not computed.
    call.attributes.ignore(&["storage_order"]);
    let pool = pool(call, PoolKind::Max)?;
    call.plain(Op::Pool(pool))
}

pub(super) fn average_pool(call: &mut Call<'_>) -> Result<Form, Fault> {
    let count_include_pad = call.attributes.flag("count_include_pad", false)?;
    let pool = Pool {
        count_include_pad,
        ..pool(call, PoolKind::Average)?
    };
    call.plain(Op::Pool(pool))
}
