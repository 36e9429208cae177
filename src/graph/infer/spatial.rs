//! Convolution, pooling and padding: how windows change spatial sizes.

use crate::types::{Dim, ShapeSpec};

use super::Fact;
use super::operands::{Operands, one};
use crate::graph::{AutoPad, Conv, Fault, Pool};

/// What a window does along one spatial dimension.
struct Window {
    auto_pad: AutoPad,
    kernel: usize,
    begin: usize,
    end: usize,
    stride: usize,
    dilation: usize,
    ceil: bool,
}

impl Window {
    /// Returns the size that a dimension has after the window went over it; `None` if the window does not fit.
    fn size(&self, input: &Dim) -> Option<Dim> {
        let padding = match self.auto_pad {
            AutoPad::Explicit => self.begin as i128 + self.end as i128,
            AutoPad::Valid => 0,
            AutoPad::SameUpper | AutoPad::SameLower if self.stride == 1 => {
                return Some(input.clone());
            }
            AutoPad::SameUpper | AutoPad::SameLower => {
                return Some(
                    input
                        .fixed()
                        .map_or(Dim::Any, |size| Dim::Fixed(size.div_ceil(self.stride))),
                );
            }
        };
        let reach = (self.kernel as i128 - 1) * self.dilation as i128 + 1;
        let Some(size) = input.fixed() else {
            let same = self.stride == 1 && padding == reach - 1;
            return Some(if same { input.clone() } else { Dim::Any });
        };
        let room = size as i128 + padding - reach;
        if room < 0 {
            return None;
        }
        let stride = self.stride as i128;
        let mut steps = room / stride;
        if self.ceil && self.auto_pad == AutoPad::Explicit && room % stride != 0 {
            // A window that would begin in the padding at the end does not count.
            let begins_inside = (steps + 1) * stride < size as i128 + self.begin as i128;
            steps += i128::from(begins_inside);
        }
        usize::try_from(steps + 1).ok().map(Dim::Fixed)
    }
}

/// Parameters that convolutions and poolings share, checked to be as many as there are spatial dimensions.
struct Windows<'a> {
    kernel: &'a [usize],
    auto_pad: AutoPad,
    pads: &'a [usize],
    strides: &'a [usize],
    dilations: &'a [usize],
    ceil: bool,
}

impl Windows<'_> {
    fn check(&self, rank: usize) -> Result<(), Fault> {
        let lists = [
            ("kernel_shape", self.kernel, rank, true),
            ("pads", self.pads, 2 * rank, false),
            ("strides", self.strides, rank, true),
            ("dilations", self.dilations, rank, true),
        ];
        for (parameter, values, count, positive) in lists {
            let counted = values.is_empty() || values.len() == count;
            if !counted || positive && values.contains(&0) {
                let size = if positive { "positive sizes" } else { "sizes" };
                let seen = format!("{values:?}");
                return Err(Fault::Parameter {
                    parameter,
                    seen,
                    expected: format!("{count} {size}"),
                });
            }
        }
        Ok(())
    }

    fn sizes(&self, input: &[Dim], kernel: &[Dim]) -> Result<Vec<Dim>, Fault> {
        let rank = input.len();
        let at = |values: &[usize], place: usize, default: usize| {
            values.get(place).copied().unwrap_or(default)
        };
        let sizes = input
            .iter()
            .zip(kernel)
            .enumerate()
            .map(|(place, (size, kernel))| {
                let Some(kernel) = kernel.fixed() else {
                    return Some(Dim::Any);
                };
                let window = Window {
                    auto_pad: self.auto_pad,
                    kernel,
                    begin: at(self.pads, place, 0),
                    end: at(self.pads, rank + place, 0),
                    stride: at(self.strides, place, 1),
                    dilation: at(self.dilations, place, 1),
                    ceil: self.ceil,
                };
                window.size(size)
            });
        sizes.collect::<Option<_>>().ok_or_else(|| Fault::Shape {
            input: 0,
            seen: ShapeSpec(input.to_vec()),
            expected: format!(
                "spatial sizes, with padding {:?}, of at least the window {} with dilation {:?}",
                self.pads,
                ShapeSpec(kernel.to_vec()),
                self.dilations
            ),
        })
    }
}

/// Splits the dimensions of spatial data, of which there are 1 to 3, from batch and channels.
fn spatial(input: usize, dims: &[Dim]) -> Result<(&[Dim; 2], &[Dim]), Fault> {
    match dims.split_first_chunk::<2>() {
        Some((head, spatial)) if (1..=3).contains(&spatial.len()) => Ok((head, spatial)),
        _ => Err(Fault::Shape {
            input,
            seen: ShapeSpec(dims.to_vec()),
            expected: "3 to 5 dimensions: two, then 1 to 3 spatial ones".to_owned(),
        }),
    }
}

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
    if let Some([Dim::Fixed(size)]) = operands.optional(2).and_then(Fact::dims)
        && channels_out.fixed().is_some_and(|count| count != *size)
    {
        let seen = ShapeSpec::fixed(&[*size]);
        return Err(Fault::Shape {
            input: 2,
            seen,
            expected: format!("[{channels_out}]"),
        });
    }
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

pub(super) fn pool(pool: &Pool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_number(0)?;
    let data = operands.get(0)?;
    let windows = Windows {
        kernel: &pool.kernel,
        auto_pad: pool.auto_pad,
        pads: &pool.pads,
        strides: &pool.strides,
        dilations: &pool.dilations,
        ceil: pool.ceil_mode,
    };
    windows.check(pool.kernel.len())?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, Some(vec![Dim::Any; pool.kernel.len() + 2])));
    };
    let (head, sizes) = spatial(0, dims)?;
    if sizes.len() != pool.kernel.len() {
        return Err(Fault::Parameter {
            parameter: "kernel_shape",
            seen: format!("{:?}", pool.kernel),
            expected: format!(
                "{} sizes for data of shape {}",
                sizes.len(),
                ShapeSpec(dims.to_vec())
            ),
        });
    }
    let kernel: Vec<_> = pool.kernel.iter().copied().map(Dim::Fixed).collect();
    let sizes = windows.sizes(sizes, &kernel)?;
    Ok(one(data.dtype, Some([head.to_vec(), sizes].concat())))
}

pub(super) fn global_pool(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_float(0)?;
    let data = operands.get(0)?;
    let dims = data.dims().map(|dims| {
        spatial(0, dims)
            .map(|(head, rest)| [head.to_vec(), vec![Dim::Fixed(1); rest.len()]].concat())
    });
    Ok(one(data.dtype, dims.transpose()?))
}

/// Inputs: data, pads, value?, axes?.
pub(super) fn pad(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 4)?;
    operands.require_int64(1)?;
    let dtype = operands.common_dtype([0, 2])?;
    let pads = operands.list(1)?;
    let axes = operands.list(3)?;
    let Some(dims) = operands.get(0)?.dims() else {
        return Ok(one(dtype, None));
    };
    let axes = match (operands.optional(3), axes) {
        (None, _) => Some((0..dims.len()).collect()),
        (Some(_), Some(axes)) => {
            // In the order given: it pairs them with the pads.
            super::dims::axes(&axes, dims.len())?;
            Some(
                axes.iter()
                    .map(|&axis| super::axis(axis, dims.len(), "axes"))
                    .collect::<Result<Vec<_>, _>>()?,
            )
        }
        (Some(_), None) => None,
    };
    let (Some(pads), Some(axes)) = (pads, axes) else {
        return Ok(one(dtype, Some(vec![Dim::Any; dims.len()])));
    };
    let wrong = |expected: String| Fault::Parameter {
        parameter: "pads",
        seen: format!("{pads:?}"),
        expected,
    };
    if pads.len() != 2 * axes.len() {
        return Err(wrong(format!(
            "{} numbers, two for each dimension",
            2 * axes.len()
        )));
    }
    let mut padded = dims.to_vec();
    for (place, &axis) in axes.iter().enumerate() {
        let change = i128::from(pads[place]) + i128::from(pads[axes.len() + place]);
        padded[axis] = match &dims[axis] {
            dim if change == 0 => dim.clone(),
            Dim::Fixed(size) => usize::try_from(*size as i128 + change)
                .map(Dim::Fixed)
                .map_err(|_| {
                    wrong(format!(
                        "no more cropping than dimension {axis} of size {size} has"
                    ))
                })?,
            Dim::Symbol(_) | Dim::Any => Dim::Any,
        };
    }
    Ok(one(dtype, Some(padded)))
}
