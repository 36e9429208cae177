//! Where the elements of a resized dimension come from.

use crate::graph::{Coordinates, Interpolation, Resize, Rounding};

use super::args::signed;

/// How one dimension changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Along {
    pub(super) axis: usize,
    pub(super) input: i64,
    pub(super) output: i64,
    /// Factor, of which the output's size is a rounding.
    pub(super) scale: f64,
    /// Size of the output as aligned corners count it: where a factor is given, not rounded.
    pub(super) length: f64,
    /// Part of the dimension that is read, from 0 to 1.
    pub(super) region: (f64, f64),
}

/// The elements that are summed for each element of the output: as many for each.
pub(super) struct Taps {
    /// First the first one of every element of the output, then the second, …
    pub(super) places: Vec<Vec<i64>>,
    pub(super) weights: Vec<Vec<f64>>,
}

/// How numbers are rounded between the steps of a calculation.
type Precision = fn(f64) -> f64;

/// FP32, in which other runtimes find the nearest element: there, 1.5 divided by a scale of 0.6 is 2.5.
#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
fn single(number: f64) -> f64 {
    f64::from(number as f32)
}

fn double(number: f64) -> f64 {
    number
}

impl Along {
    /// Tells whether nothing changes.
    pub(super) fn is_identity(&self, coordinates: Coordinates) -> bool {
        let whole = coordinates != Coordinates::CropAndResize || self.region == (0.0, 1.0);
        whole && self.input == self.output && (self.scale - 1.0).abs() <= 1e-9
    }

    /// Tells whether the size of the output was rounded.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    pub(super) fn is_rounded(&self) -> bool {
        let exact = self.scale * self.input as f64;
        (exact - self.output as f64).abs() > 1e-6 * exact
    }

    /// Returns the place in the data of an element of the output.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    fn coordinate(&self, index: i64, coordinates: Coordinates, round: Precision) -> f64 {
        let (input, output, index) = (self.input as f64, self.output as f64, index as f64);
        let last = input - 1.0;
        let centre = || round((index + 0.5) / self.scale);
        match coordinates {
            Coordinates::HalfPixel => round(centre() - 0.5),
            Coordinates::HalfPixelSymmetric => {
                let adjustment = round(output / round(self.scale * input));
                let offset = round(input / 2.0 * round(1.0 - adjustment));
                round(round(offset + centre()) - 0.5)
            }
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if self.output == 1 => 0.0,
            Coordinates::PytorchHalfPixel => round(centre() - 0.5),
            Coordinates::TensorflowHalfPixel => centre(),
            Coordinates::AlignCorners => round(round(index * last) / round(self.length - 1.0)),
            Coordinates::Asymmetric => round(index / self.scale),
            Coordinates::CropAndResize => {
                let (start, end) = self.region;
                if self.output == 1 {
                    return round(round(0.5 * round(start + end)) * last);
                }
                let inside = round(round(index * round(end - start)) * last);
                round(round(start * last) + round(inside / (output - 1.0)))
            }
        }
    }

    /// Tells of each element of the output whether it lies outside of the data.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    pub(super) fn outside(&self) -> Vec<bool> {
        let last = self.input as f64 - 1.0;
        let outside = |index| {
            let place = self.coordinate(index, Coordinates::CropAndResize, single);
            !(0.0..=last).contains(&place)
        };
        (0..self.output).map(outside).collect()
    }

    /// Returns the element that each element of the output is.
    pub(super) fn nearest(&self, coordinates: Coordinates, rounding: Rounding) -> Vec<i64> {
        let pick = |index| {
            let place = self.coordinate(index, coordinates, single);
            let whole = match rounding {
                Rounding::HalfDown => (place - 0.5).ceil(),
                Rounding::HalfUp => (place + 0.5).floor(),
                Rounding::Floor => place.floor(),
                Rounding::Ceil => place.ceil(),
                Rounding::ByScale if self.scale < 1.0 => place.ceil(),
                Rounding::ByScale => place.floor(),
            };
            self.clamped(whole)
        };
        (0..self.output).map(pick).collect()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast saturates, and the result is clamped"
    )]
    fn clamped(&self, place: f64) -> i64 {
        (place as i64).clamp(0, self.input - 1)
    }

    /// Returns what each element of the output is the sum of, for linear and cubic interpolation.
    pub(super) fn taps(&self, op: &Resize) -> Taps {
        let reach = match op.interpolation {
            Interpolation::Cubic { .. } => 2.0,
            Interpolation::Linear | Interpolation::Nearest(_) => 1.0,
        };
        let squeeze = if op.antialias {
            self.scale.min(1.0)
        } else {
            1.0
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "of the order of the number of elements that one is made of"
        )]
        let first = (-reach / squeeze).floor() as i64 + 1;
        let count = usize::try_from(2 - 2 * first).unwrap_or(0);
        let mut taps = Taps {
            places: vec![Vec::new(); count],
            weights: vec![Vec::new(); count],
        };
        let mut weights = vec![0.0; count];
        for index in 0..self.output {
            let place = self.coordinate(index, op.coordinates, double);
            let (whole, part) = (place.floor(), place - place.floor());
            for (tap, weight) in weights.iter_mut().enumerate() {
                let step = offset(first, tap);
                let excluded = op.exclude_outside && !self.contains(whole + step);
                *weight = if excluded {
                    0.0
                } else {
                    kernel(op.interpolation, ((step - part) * squeeze).abs())
                };
            }
            let sum: f64 = weights.iter().sum();
            let divisor = if (op.antialias || op.exclude_outside) && sum != 0.0 {
                sum
            } else {
                1.0
            };
            for (tap, weight) in weights.iter().enumerate() {
                taps.places[tap].push(self.clamped(whole + offset(first, tap)));
                taps.weights[tap].push(weight / divisor);
            }
        }
        taps
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    fn contains(&self, place: f64) -> bool {
        (0.0..self.input as f64).contains(&place)
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of taps are small")]
fn offset(first: i64, tap: usize) -> f64 {
    (first + signed(tap)) as f64
}

/// Weight of an element at some distance.
fn kernel(interpolation: Interpolation, distance: f64) -> f64 {
    let Interpolation::Cubic { coefficient } = interpolation else {
        return (1.0 - distance).max(0.0);
    };
    let (a, x) = (f64::from(coefficient), distance);
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}
