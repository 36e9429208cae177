//! Convolutions, also transposed.

use super::super::call::{Call, Form};
use super::super::schema::Argument;
use super::registry::Rule;
use crate::graph::{AutoPad, Conv, ConvTranspose, Fault, Op, ValueId};

pub(super) const RULES: &[Rule] = &[
    ("conv1d.default", |call| convolution(call, false)),
    ("conv1d.padding", |call| convolution(call, false)),
    ("conv2d.default", |call| convolution(call, false)),
    ("conv2d.padding", |call| convolution(call, false)),
    ("conv3d.default", |call| convolution(call, false)),
    ("conv3d.padding", |call| convolution(call, false)),
    ("conv_transpose1d.default", |call| convolution(call, true)),
    ("conv_transpose2d.input", |call| convolution(call, true)),
    ("conv_transpose3d.input", |call| convolution(call, true)),
    ("convolution.default", |call| {
        let transposed = call.arguments.flag("transposed", false)?;
        convolution(call, transposed)
    }),
];

fn convolution(call: &mut Call<'_>, transposed: bool) -> Result<Form, Fault> {
    let (data, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional("bias")?;
    let rank = call.rank_of(weight, "weight")?;
    let spatial = rank.saturating_sub(2);
    // A single image may come without the dimension of the batch.
    if spatial == 0 || call.rank(data) != Some(rank) {
        return Ok(Form::Aten);
    }
    let strides = sizes(call, "stride", spatial, 1)?;
    let dilations = sizes(call, "dilation", spatial, 1)?;
    let pads = match call.arguments.get("padding") {
        Some(Argument::Text(kind)) if kind == "valid" => vec![0; 2 * spatial],
        Some(Argument::Text(_)) => match same(call, weight, &dilations) {
            Some(pads) => pads,
            None => return Ok(Form::Aten),
        },
        _ => sizes(call, "padding", spatial, 0)?.repeat(2),
    };
    let groups = call.arguments.int_or("groups", 1)?;
    let conv = Conv {
        auto_pad: AutoPad::Explicit,
        pads,
        strides,
        dilations,
        groups: usize::try_from(groups).unwrap_or(0),
    };
    let inputs = vec![Some(data), Some(weight), bias];
    let output_padding = sizes(call, "output_padding", spatial, 0)?;
    let op = if transposed {
        Op::ConvTranspose(ConvTranspose {
            conv,
            output_padding,
            output_shape: Vec::new(),
        })
    } else {
        Op::Conv(conv)
    };
    Ok(Form::Node(op, inputs))
}

/// Returns the padding that keeps sizes, as libtorch splits it: the odd element comes behind.
fn same(call: &Call<'_>, weight: ValueId, dilations: &[usize]) -> Option<Vec<usize>> {
    let kernel = call.builder.fact(weight).dims()?.get(2..)?;
    let mut totals = Vec::with_capacity(kernel.len());
    for (dim, dilation) in kernel.iter().zip(dilations) {
        totals.push(dilation.checked_mul(dim.fixed()?.checked_sub(1)?)?);
    }
    let begins = totals.iter().map(|total| total / 2);
    let ends = totals.iter().map(|total| total - total / 2);
    Some(begins.chain(ends).collect())
}

/// Returns one size for each spatial dimension; a single one stands for all.
pub(super) fn sizes(
    call: &Call<'_>,
    name: &str,
    spatial: usize,
    default: usize,
) -> Result<Vec<usize>, Fault> {
    let Some(list) = call.arguments.ints(name)? else {
        return Ok(vec![default; spatial]);
    };
    let list: Option<Vec<_>> = list
        .iter()
        .map(|&size| usize::try_from(size).ok())
        .collect();
    match list {
        Some(list) if list.is_empty() => Ok(vec![default; spatial]),
        Some(list) if list.len() == 1 => Ok(vec![list[0]; spatial]),
        Some(list) if list.len() == spatial => Ok(list),
        _ => Err(Fault::Argument {
            argument: name.to_owned(),
            seen: "a list of another length or with negative sizes".to_owned(),
            expected: "a size for each spatial dimension",
        }),
    }
}
