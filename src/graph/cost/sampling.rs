//! Operations of reading between elements: a product and a sum for every element that is read.

use crate::graph::{GridMode, GridSample, Interpolation, Resize, RoiAlign};

use super::shapes::{Shapes, elements, times};

/// Elements read along a dimension.
const LINEAR: u64 = 2;
const CUBIC: u64 = 4;

/// Over the dimensions whose size changes; an image that shrinks is read from a window as many times as wide if it is
/// smoothed.
pub(super) fn resize(op: &Resize, shapes: &Shapes<'_>) -> Option<u64> {
    let along = match op.interpolation {
        Interpolation::Nearest(_) => return shapes.out(0),
        Interpolation::Linear => LINEAR,
        Interpolation::Cubic { .. } => CUBIC,
    };
    let sizes = shapes.input(0)?.iter().zip(shapes.output(0)?);
    let reads = sizes.filter(|(old, new)| old != new).map(|(&old, &new)| {
        let shrinks = old.div_ceil(new.max(1)) as u64;
        if op.antialias {
            times(along, shrinks.max(1))
        } else {
            along
        }
    });
    shapes.out(times(2, reads.fold(1, times)))
}

pub(super) fn grid_sample(op: GridSample, shapes: &Shapes<'_>) -> Option<u64> {
    let along = match op.mode {
        GridMode::Nearest => return shapes.out(0),
        GridMode::Linear => LINEAR,
        GridMode::Cubic => CUBIC,
    };
    let dims = shapes.input(0)?.len().saturating_sub(2);
    shapes.out(times(2, (0..dims).fold(1, |reads, _| times(reads, along))))
}

/// How many samples there are depends on the regions where the model does not say it.
pub(super) fn roi_align(op: &RoiAlign, shapes: &Shapes<'_>) -> Option<u64> {
    let samples = Some(op.samples as u64).filter(|&samples| samples > 0)?;
    let each = 2 * LINEAR * LINEAR + 1;
    shapes.out(times(times(samples, samples), each))
}

/// A convolution, every element of whose windows is read between others first.
pub(super) fn deform_conv(shapes: &Shapes<'_>) -> Option<u64> {
    let weight = shapes.input(1)?;
    let dims = weight.len().saturating_sub(2);
    let reads = (0..dims).fold(1, |reads, _| times(reads, LINEAR));
    let output = shapes.output(0)?;
    let places = times(elements(output.get(..1)?), elements(output.get(2..)?));
    let window = times(*shapes.input(0)?.get(1)? as u64, elements(weight.get(2..)?));
    let mask = u64::from(shapes.has(4));
    let sampling = times(times(places, window), times(2, reads).saturating_add(mask));
    Some(shapes.convolution(1, 3)?.saturating_add(sampling))
}
