//! Convolutions, also transposed and deformable, and their blocks put together again.

use crate::types::{Dim, ShapeSpec};

use super::Fact;
use super::operands::{Operands, one};
use super::window::{Windows, counted, spatial};
use crate::graph::{AutoPad, Col2Im, Conv, ConvTranspose, DeformConv, Fault};

pub(super) fn conv(conv: &Conv, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require_float(0)?;
    let dtype = operands.common_dtype(0..3)?;
    operands.require_rank(2, 1, ", one element per output channel")?;
    let (data, weight) = (operands.get(0)?, operands.get(1)?);
    let Some(filters) = weight.dims() else {
        let dims = data.dims().map(|dims| spatial(0, dims)).transpose()?;
        let dims = dims
            .map(|(head, rest)| [vec![head[0].clone()], vec![Dim::Any; rest.len() + 1]].concat());
        return Ok(one(dtype, dims));
    };
    let ([channels_out, channels_group], kernel) = spatial(1, filters)?;
    if conv.groups == 0
        || channels_out
            .fixed()
            .is_some_and(|count| !count.is_multiple_of(conv.groups))
    {
        return Err(Fault::Parameter {
            parameter: "group",
            seen: conv.groups.to_string(),
            expected: format!("a divisor of the {channels_out} output channels"),
        });
    }
    bias_fits(operands, 2, channels_out)?;
    let windows = Windows {
        kernel: &[],
        auto_pad: conv.auto_pad,
        pads: &conv.pads,
        strides: &conv.strides,
        dilations: &conv.dilations,
        ceil: false,
    };
    windows.check(kernel.len())?;
    if kernel.contains(&Dim::Fixed(0)) {
        let expected = "positive spatial sizes".to_owned();
        return Err(Fault::Shape {
            input: 1,
            seen: ShapeSpec(filters.to_vec()),
            expected,
        });
    }
    let Some(dims) = data.dims() else {
        let mut dims = vec![Dim::Any; filters.len()];
        dims[1] = channels_out.clone();
        return Ok(one(dtype, Some(dims)));
    };
    let ([batch, channels_in], sizes) = spatial(0, dims)?;
    let channels_fit = match (channels_in.fixed(), channels_group.fixed()) {
        (Some(seen), Some(group)) => group.checked_mul(conv.groups) == Some(seen),
        _ => true,
    };
    if !channels_fit || sizes.len() != kernel.len() {
        let rule = format!(
            "data [batch, channels, …] goes with a weight [filters, channels / {}, …] of as many dimensions",
            conv.groups
        );
        return Err(super::dims::mismatch(dims, filters, &rule));
    }
    let sizes = windows.sizes(sizes, kernel)?;
    Ok(one(
        dtype,
        Some([vec![batch.clone(), channels_out.clone()], sizes].concat()),
    ))
}

fn bias_fits(operands: Operands<'_>, input: usize, channels: &Dim) -> Result<(), Fault> {
    operands.require_rank(input, 1, ", one element per output channel")?;
    if let Some([Dim::Fixed(size)]) = operands.optional(input).and_then(Fact::dims)
        && channels.fixed().is_some_and(|count| count != *size)
    {
        return Err(Fault::Shape {
            input,
            seen: ShapeSpec::fixed(&[*size]),
            expected: format!("[{channels}]"),
        });
    }
    Ok(())
}

pub(super) fn conv_transpose(
    op: &ConvTranspose,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require_float(0)?;
    let dtype = operands.common_dtype(0..3)?;
    let conv = &op.conv;
    let (data, weight) = (operands.get(0)?, operands.get(1)?);
    let Some(filters) = weight.dims() else {
        let dims = data.dims().map(|dims| spatial(0, dims)).transpose()?;
        let dims = dims
            .map(|(head, rest)| [vec![head[0].clone()], vec![Dim::Any; rest.len() + 1]].concat());
        return Ok(one(dtype, dims));
    };
    let ([channels_in, filters_group], kernel) = spatial(1, filters)?;
    let fits = |count: &Dim| {
        count
            .fixed()
            .is_none_or(|count| count.is_multiple_of(conv.groups))
    };
    if conv.groups == 0 || !fits(channels_in) {
        return Err(Fault::Parameter {
            parameter: "group",
            seen: conv.groups.to_string(),
            expected: format!("a divisor of the {channels_in} input channels"),
        });
    }
    let channels_out = match filters_group.fixed() {
        Some(count) => count
            .checked_mul(conv.groups)
            .map(Dim::Fixed)
            .ok_or_else(|| super::dims::oversized(filters))?,
        None if conv.groups == 1 => filters_group.clone(),
        None => Dim::Any,
    };
    bias_fits(operands, 2, &channels_out)?;
    let rank = kernel.len();
    let windows = Windows {
        kernel: &[],
        auto_pad: conv.auto_pad,
        pads: &conv.pads,
        strides: &conv.strides,
        dilations: &conv.dilations,
        ceil: false,
    };
    windows.check(rank)?;
    counted("output_padding", &op.output_padding, rank, false)?;
    counted("output_shape", &op.output_shape, rank, true)?;
    if kernel.contains(&Dim::Fixed(0)) {
        return Err(Fault::Shape {
            input: 1,
            seen: ShapeSpec(filters.to_vec()),
            expected: "positive spatial sizes".to_owned(),
        });
    }
    let Some(dims) = data.dims() else {
        let mut dims = vec![Dim::Any; filters.len()];
        dims[1] = channels_out;
        return Ok(one(dtype, Some(dims)));
    };
    let ([batch, channels], sizes) = spatial(0, dims)?;
    if super::dims::equal_dim(channels, channels_in).is_none() || sizes.len() != rank {
        let rule = "data [batch, channels, …] goes with a weight [channels, filters, …] of as many dimensions";
        return Err(super::dims::mismatch(dims, filters, rule));
    }
    let sizes = (0..rank)
        .map(|place| transposed(op, place, rank, &sizes[place], &kernel[place]))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Fault::Parameter {
            parameter: "pads",
            seen: format!("{:?}", conv.pads),
            expected: "less padding than the output would have elements".to_owned(),
        })?;
    Ok(one(
        dtype,
        Some([vec![batch.clone(), channels_out], sizes].concat()),
    ))
}

/// Returns the size of one spatial dimension of a transposed convolution; `None` if nothing would be left.
fn transposed(
    op: &ConvTranspose,
    place: usize,
    rank: usize,
    input: &Dim,
    kernel: &Dim,
) -> Option<Dim> {
    if let Some(&size) = op.output_shape.get(place) {
        return Some(Dim::Fixed(size));
    }
    let at = |values: &[usize], place: usize, default: usize| {
        values.get(place).copied().unwrap_or(default) as i128
    };
    let conv = &op.conv;
    let stride = at(&conv.strides, place, 1);
    let (Some(input_size), Some(kernel)) = (input.fixed(), kernel.fixed()) else {
        let same = stride == 1 && matches!(conv.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        return Some(if same { input.clone() } else { Dim::Any });
    };
    let input = input_size as i128;
    let size = match conv.auto_pad {
        AutoPad::SameUpper | AutoPad::SameLower => input * stride,
        AutoPad::Explicit | AutoPad::Valid => {
            (input - 1) * stride
                + (kernel as i128 - 1) * at(&conv.dilations, place, 1)
                + 1
                + at(&op.output_padding, place, 0)
                - at(&conv.pads, place, 0)
                - at(&conv.pads, rank + place, 0)
        }
    };
    usize::try_from(size).ok().map(Dim::Fixed)
}

/// Inputs: data, weight, offsets, bias?, mask?.
pub(super) fn deform_conv(op: &DeformConv, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 5)?;
    operands.common_dtype(0..5)?;
    let plain = [0, 1, 3].map(|input| operands.optional(input));
    let facts = conv(&op.conv, Operands(&plain))?;
    let dims = operands.get(0)?.dims();
    if let Some(dims) = dims
        && !matches!(dims.len(), 4 | 5)
    {
        return Err(Fault::Shape {
            input: 0,
            seen: ShapeSpec(dims.to_vec()),
            expected: "4 or 5 dimensions: two, then 2 or 3 spatial ones".to_owned(),
        });
    }
    let channels = dims.and_then(|dims| dims[1].fixed());
    if op.offset_groups == 0
        || channels.is_some_and(|count| !count.is_multiple_of(op.offset_groups))
    {
        return Err(Fault::Parameter {
            parameter: "offset_group",
            seen: op.offset_groups.to_string(),
            expected: "a divisor of the number of channels".to_owned(),
        });
    }
    Ok(facts)
}

/// Inputs: blocks, shape of the image, shape of a block.
pub(super) fn col2im(op: &Col2Im, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    operands.require_number(0)?;
    operands.require_int64(1)?;
    operands.require_int64(2)?;
    operands.require_rank(0, 3, ": batch, elements of blocks, blocks")?;
    let (image, block) = (operands.list(1)?, operands.list(2)?);
    let data = operands.get(0)?;
    let lengths = [operands.list_length(1), operands.list_length(2)];
    let Some(rank) = lengths.into_iter().flatten().next() else {
        return Ok(one(data.dtype, None));
    };
    if lengths.iter().flatten().any(|&length| length != rank) || rank == 0 {
        return Err(Fault::Parameter {
            parameter: "block_shape",
            seen: format!("a list of {}", lengths[1].unwrap_or_default()),
            expected: format!("{rank} sizes as image_shape has, at least one"),
        });
    }
    counted("pads", &op.pads, 2 * rank, false)?;
    counted("strides", &op.strides, rank, true)?;
    counted("dilations", &op.dilations, rank, true)?;
    let sizes = |parameter: &'static str, values: &[i64]| {
        let sizes = values.iter().map(|&value| {
            usize::try_from(value)
                .ok()
                .filter(|&size| size > 0)
                .map(Dim::Fixed)
        });
        sizes.collect::<Option<Vec<_>>>().ok_or(Fault::Parameter {
            parameter,
            seen: format!("{values:?}"),
            expected: "positive sizes".to_owned(),
        })
    };
    let image = match image {
        Some(image) => sizes("image_shape", &image)?,
        None => vec![Dim::Any; rank],
    };
    let block = block
        .map(|block| sizes("block_shape", &block))
        .transpose()?;
    let (mut batch, mut channels) = (Dim::Any, Dim::Any);
    if let Some([items, elements, _]) = data.dims() {
        batch = items.clone();
        if let (Some(block), Some(elements)) = (block, elements.fixed()) {
            let block = super::dims::Product::of(&block)?.factor;
            if !elements.is_multiple_of(block) {
                return Err(Fault::Shape {
                    input: 0,
                    seen: ShapeSpec(data.dims().unwrap_or_default().to_vec()),
                    expected: format!(
                        "a multiple of the {block} elements of a block in dimension 1"
                    ),
                });
            }
            channels = Dim::Fixed(elements / block);
        }
    }
    Ok(one(
        data.dtype,
        Some([vec![batch, channels], image].concat()),
    ))
}
