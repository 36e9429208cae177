//! Operations of Fourier transforms: 5 n log₂ n for one of n complex numbers, half of that where they are real or only
//! half of them is wanted (Frigo and Johnson, 2005, *The Design and Implementation of FFTW3*, 5).

use crate::graph::Signal;

use super::shapes::{Shapes, elements, logarithm, times};

const TRANSFORM: u64 = 5;

/// Of a window, `a₀ − a₁ cos x + a₂ cos 2x`: two angles, two cosines, two products, two sums.
const WINDOW: u64 = 8;

/// Of the weight of a mel bin: a difference, a quotient and a comparison on each side.
const MEL: u64 = 6;

pub(super) fn signal(op: &Signal, shapes: &Shapes<'_>) -> Option<u64> {
    match op {
        Signal::Fourier { one_sided, .. } => {
            let (input, output) = (shapes.input(0)?, shapes.output(0)?);
            // All points but those of the transforms that are side by side: the longest of the dimensions that differ, or
            // else the last but one, as no shape tells the axis.
            let points = elements(input).max(elements(output)) / 2;
            let dims = input.iter().zip(output).rev().skip(1);
            let differing = dims.clone().find(|(input, output)| input != output);
            let (&before, &after) = differing.or_else(|| dims.clone().next())?;
            Some(transforms(points, before.max(after) as u64, *one_sided))
        }
        Signal::ShortTimeFourier { one_sided } => {
            let [batch, frames, frequencies, _] = shapes.output(0)? else {
                return None;
            };
            let length = if *one_sided {
                times(2, (*frequencies as u64).saturating_sub(1))
            } else {
                *frequencies as u64
            };
            let points = times(elements(&[*batch, *frames]), length);
            let windowed = if shapes.has(2) { points } else { 0 };
            Some(transforms(points, length, *one_sided).saturating_add(windowed))
        }
        Signal::Window { .. } => shapes.out(WINDOW),
        Signal::MelWeights { .. } => shapes.out(MEL),
    }
}

fn transforms(points: u64, length: u64, half: bool) -> u64 {
    let whole = times(times(TRANSFORM, points), logarithm(length));
    if half { whole / 2 } else { whole }
}
