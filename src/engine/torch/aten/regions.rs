//! Regions of images brought to one size.

use std::ops::Range;

use tch::Tensor;

use crate::graph::{MaxRoiPool, RoiAlign};

use super::super::cause::Cause;
use super::args::{Kernel, integers, signed};
use super::bounds::checked;
use super::elements::Floats;

/// Samples of one region at most, in each channel.
const SAMPLES_MAX: usize = 1 << 24;

/// A place between two neighbours along one dimension: their indices and weights.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Between {
    places: [usize; 2],
    weights: [f32; 2],
}

/// Data `[batch, channels, height, width]`, none of which is empty.
struct Images {
    elements: Floats,
    batch: usize,
    channels: usize,
    height: usize,
    width: usize,
}

impl Images {
    fn of(x: &Tensor) -> Result<Self, Cause> {
        let shape = x.size();
        let sizes: Vec<usize> = shape
            .iter()
            .filter_map(|&size| usize::try_from(size).ok())
            .collect();
        match sizes[..] {
            [batch, channels, height, width] if height > 0 && width > 0 => Ok(Self {
                elements: Floats::of(x)?,
                batch,
                channels,
                height,
                width,
            }),
            _ => Err(Cause::new(format!("data {shape:?} are no images"))),
        }
    }

    fn plane(&self, image: usize, channel: usize) -> &[f32] {
        let size = self.height * self.width;
        let start = (image * self.channels + channel) * size;
        &self.elements.as_slice()[start..start + size]
    }

    /// Checks the index of an image.
    fn image(&self, index: i64) -> Result<usize, Cause> {
        usize::try_from(index)
            .ok()
            .filter(|&image| image < self.batch)
            .ok_or_else(|| {
                Cause::new(format!(
                    "batch index {index} lies outside of {} images",
                    self.batch
                ))
            })
    }

    fn result_shape(&self, regions: usize, size: [usize; 2]) -> Result<Vec<i64>, Cause> {
        checked(
            [regions, self.channels, size[0], size[1]]
                .map(signed)
                .to_vec(),
        )
    }
}

/// `test_roialign_aligned_false`, `test_roialign_aligned_true`, `test_roialign_mode_max`
///
/// Not in libtorch itself. The maximum is that of weighted neighbours, as in the ONNX reference.
pub(super) fn roi_align(op: &RoiAlign) -> Kernel {
    let op = op.clone();
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let (images, regions) = (Images::of(x)?, args.tensor(1)?);
        let indices = integers(args.tensor(2)?)?;
        if regions.size() != [signed(indices.len()), 4] {
            return Err(Cause::new(format!(
                "regions {:?} for {} batch indices",
                regions.size(),
                indices.len()
            )));
        }
        let shape = images.result_shape(indices.len(), op.size)?;
        let regions = Floats::of(regions)?;
        let (corners, _) = regions.as_slice().as_chunks::<4>();
        let mut result = Vec::with_capacity(shape.iter().product::<i64>().unsigned_abs() as usize);
        for (&index, corners) in indices.iter().zip(corners) {
            let image = images.image(index)?;
            align(&op, &images, image, *corners, &mut result)?;
        }
        let result = Tensor::f_from_slice(&result)?.f_reshape(shape)?;
        Ok(result.f_totype(x.f_kind()?)?.into())
    })
}

fn align(
    op: &RoiAlign,
    images: &Images,
    image: usize,
    corners: [f32; 4],
    result: &mut Vec<f32>,
) -> Result<(), Cause> {
    let shift = if op.half_pixel { 0.5 } else { 0.0 };
    let [left, top, right, bottom] = corners.map(|corner| corner * op.scale - shift);
    let extent = |from: f32, to: f32| {
        let extent = to - from;
        if op.half_pixel {
            extent
        } else {
            extent.max(1.0)
        }
    };
    let (height, width) = (extent(top, bottom), extent(left, right));
    let [rows, columns] = op.size;
    let (down, across) = (samples(op, height, rows), samples(op, width, columns));
    let all = [rows, columns, down, across]
        .into_iter()
        .try_fold(1_usize, usize::checked_mul);
    if all.is_none_or(|all| all > SAMPLES_MAX) {
        return Err(Cause::new(format!(
            "region {corners:?} would take {rows} × {columns} × {down} × {across} samples, more than {SAMPLES_MAX}"
        )));
    }
    let vertical = along(top, height, rows, down, images.height);
    let horizontal = along(left, width, columns, across, images.width);
    #[expect(
        clippy::cast_precision_loss,
        reason = "at most `SAMPLES_MAX`, which FP32 has"
    )]
    let count = (down * across).max(1) as f32;
    for channel in 0..images.channels {
        let plane = images.plane(image, channel);
        for row in 0..rows {
            for column in 0..columns {
                let values = vertical[row * down..(row + 1) * down]
                    .iter()
                    .flatten()
                    .flat_map(|y| {
                        let xs = horizontal[column * across..(column + 1) * across].iter();
                        xs.flatten()
                            .map(move |x| neighbours(plane, images.width, y, x))
                    });
                result.push(if op.maximum {
                    maximum(values, down * across)
                } else {
                    values.flatten().fold(0.0, |sum, value| sum + value) / count
                });
            }
        }
    }
    Ok(())
}

/// A sample outside of the image counts as zero.
fn maximum(values: impl Iterator<Item = [f32; 4]>, samples: usize) -> f32 {
    let mut inside = 0;
    let greatest = values
        .inspect(|_| inside += 1)
        .flatten()
        .fold(f32::NEG_INFINITY, f32::max);
    if inside < samples || samples == 0 {
        greatest.max(0.0)
    } else {
        greatest
    }
}

/// Number of samples of one output element along one dimension.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and the caller bounds the number"
)]
fn samples(op: &RoiAlign, extent: f32, elements: usize) -> usize {
    match op.samples {
        0 => (extent / elements as f32).ceil() as usize,
        samples => samples,
    }
}

/// Returns where the samples of all output elements along one dimension lie; `None` outside of the image.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of images are far below 2^24; places are checked"
)]
fn along(
    start: f32,
    extent: f32,
    elements: usize,
    samples: usize,
    size: usize,
) -> Vec<Option<Between>> {
    let step = extent / elements as f32;
    (0..elements * samples)
        .map(|index| {
            let (element, sample) = (index / samples, index % samples);
            let inside = (sample as f32 + 0.5) * step / samples as f32;
            let place = start + element as f32 * step + inside;
            if !(-1.0..=size as f32).contains(&place) {
                return None;
            }
            let place = place.clamp(0.0, (size - 1) as f32);
            let low = place as usize;
            let part = place - low as f32;
            Some(Between {
                places: [low, (low + 1).min(size - 1)],
                weights: [1.0 - part, part],
            })
        })
        .collect()
}

fn neighbours(plane: &[f32], width: usize, y: &Between, x: &Between) -> [f32; 4] {
    let at = |row: usize, column: usize| {
        plane[y.places[row] * width + x.places[column]] * y.weights[row] * x.weights[column]
    };
    [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
}

/// The maximum over parts of regions, which has no backend tests.
pub(super) fn max_roi_pool(op: &MaxRoiPool) -> Kernel {
    let op = op.clone();
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let (images, regions) = (Images::of(x)?, args.tensor(1)?);
        let [count, 5] = regions.size()[..] else {
            return Err(Cause::new(format!(
                "regions {:?} are not five numbers each",
                regions.size()
            )));
        };
        let shape = images.result_shape(usize::try_from(count).unwrap_or(0), op.size)?;
        let regions = Floats::of(regions)?;
        let mut result = Vec::with_capacity(shape.iter().product::<i64>().unsigned_abs() as usize);
        for [index, corners @ ..] in regions.as_slice().as_chunks::<5>().0 {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an index, which is checked"
            )]
            let image = images.image(*index as i64)?;
            let [left, top, right, bottom] = corners.map(|corner| (corner * op.scale).round());
            for channel in 0..images.channels {
                let plane = images.plane(image, channel);
                for row in 0..op.size[0] {
                    let rows = part(top, bottom, row, op.size[0], images.height);
                    for column in 0..op.size[1] {
                        let columns = part(left, right, column, op.size[1], images.width);
                        let values = rows
                            .clone()
                            .flat_map(|row| &plane[row * images.width..][columns.clone()]);
                        let greatest = values.copied().reduce(f32::max);
                        result.push(greatest.unwrap_or(0.0));
                    }
                }
            }
        }
        let result = Tensor::f_from_slice(&result)?.f_reshape(shape)?;
        Ok(result.f_totype(x.f_kind()?)?.into())
    })
}

/// Returns the elements that one of `parts` of a region has along one dimension; `first` and `last` are inclusive.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and the result is cut to the image"
)]
fn part(first: f32, last: f32, index: usize, parts: usize, size: usize) -> Range<usize> {
    let step = (last - first + 1.0).max(1.0) / parts as f32;
    let start = (index as f32 * step).floor() + first;
    let end = ((index + 1) as f32 * step).ceil() + first;
    let start = (start as usize).min(size);
    start..(end as usize).clamp(start, size)
}
