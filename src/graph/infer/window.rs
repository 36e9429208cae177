//! How windows change spatial sizes.

use crate::types::{Dim, ShapeSpec};

use crate::graph::{AutoPad, Fault};

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
pub(super) struct Windows<'a> {
    pub(super) kernel: &'a [usize],
    pub(super) auto_pad: AutoPad,
    pub(super) pads: &'a [usize],
    pub(super) strides: &'a [usize],
    pub(super) dilations: &'a [usize],
    pub(super) ceil: bool,
}

impl Windows<'_> {
    pub(super) fn check(&self, rank: usize) -> Result<(), Fault> {
        let lists = [
            ("kernel_shape", self.kernel, rank, true),
            ("pads", self.pads, 2 * rank, false),
            ("strides", self.strides, rank, true),
            ("dilations", self.dilations, rank, true),
        ];
        for (parameter, values, count, positive) in lists {
            counted(parameter, values, count, positive)?;
        }
        Ok(())
    }

    pub(super) fn sizes(&self, input: &[Dim], kernel: &[Dim]) -> Result<Vec<Dim>, Fault> {
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

/// Checks that a list is empty or has `count` sizes.
pub(super) fn counted(
    parameter: &'static str,
    values: &[usize],
    count: usize,
    positive: bool,
) -> Result<(), Fault> {
    if (values.is_empty() || values.len() == count) && !(positive && values.contains(&0)) {
        return Ok(());
    }
    let size = if positive { "positive sizes" } else { "sizes" };
    Err(Fault::Parameter {
        parameter,
        seen: format!("{values:?}"),
        expected: format!("{count} {size}"),
    })
}

/// Splits the dimensions of spatial data, of which there are 1 to 3, from batch and channels.
pub(super) fn spatial(input: usize, dims: &[Dim]) -> Result<(&[Dim; 2], &[Dim]), Fault> {
    match dims.split_first_chunk::<2>() {
        Some((head, spatial)) if (1..=3).contains(&spatial.len()) => Ok((head, spatial)),
        _ => Err(Fault::Shape {
            input,
            seen: ShapeSpec(dims.to_vec()),
            expected: "3 to 5 dimensions: two, then 1 to 3 spatial ones".to_owned(),
        }),
    }
}
