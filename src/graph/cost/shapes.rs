//! Operations as they follow from shapes.

use std::collections::BTreeMap;

use crate::graph::{Equation, Subscript};
use crate::types::Shape;

/// Shapes of the inputs and outputs of a node; `None` for one that is absent or not known.
#[derive(Debug)]
pub(super) struct Shapes<'a> {
    pub(super) inputs: &'a [Option<Shape>],
    pub(super) outputs: &'a [Option<Shape>],
}

impl Shapes<'_> {
    pub(super) fn input(&self, place: usize) -> Option<&[usize]> {
        self.inputs.get(place)?.as_deref()
    }

    pub(super) fn output(&self, place: usize) -> Option<&[usize]> {
        self.outputs.get(place)?.as_deref()
    }

    pub(super) fn has(&self, input: usize) -> bool {
        self.input(input).is_some()
    }

    /// `each` operations for every element of the first output.
    pub(super) fn out(&self, each: u64) -> Option<u64> {
        Some(times(elements(self.output(0)?), each))
    }

    /// One operation for every element of an input.
    pub(super) fn of_input(&self, place: usize) -> Option<u64> {
        Some(elements(self.input(place)?))
    }

    /// Every element of the output is a product over the window and the channels of its group, plus the bias.
    pub(super) fn convolution(&self, weight: usize, bias: usize) -> Option<u64> {
        let window = elements(self.input(weight)?.get(1..)?);
        let bias = u64::from(self.has(bias));
        self.out(times(2, window).saturating_add(bias))
    }

    /// Every element of the input is laid, times the filter, over a window of each channel of its group.
    pub(super) fn transposed_convolution(&self) -> Option<u64> {
        let window = elements(self.input(1)?.get(1..)?);
        let products = times(times(2, self.of_input(0)?), window);
        let bias = self.out(u64::from(self.has(2)))?;
        Some(products.saturating_add(bias))
    }

    /// A product of matrices, of which the left one's last dimension is summed over, and `after` operations an element.
    pub(super) fn product(&self, left: usize, after: u64) -> Option<u64> {
        let inner = *self.input(left)?.last()? as u64;
        self.out(times(2, inner).saturating_add(after))
    }

    pub(super) fn gemm(&self, transpose_a: bool) -> Option<u64> {
        let inner = *self.input(0)?.get(usize::from(!transpose_a))? as u64;
        let addend = u64::from(self.has(2));
        self.out(times(2, inner).saturating_add(addend))
    }

    /// One product of all operands, and one addition, for every value of all letters together.
    pub(super) fn einsum(&self, equation: &Equation) -> Option<u64> {
        let mut sizes: BTreeMap<Subscript, u64> = BTreeMap::new();
        let mut broadcast = 1;
        for (place, term) in equation.inputs.iter().enumerate() {
            let shape = self.input(place)?;
            let letters = term
                .iter()
                .filter(|one| **one != Subscript::Ellipsis)
                .count();
            let others = shape.len().checked_sub(letters)?;
            let mut dims = shape.iter();
            for subscript in term {
                if *subscript == Subscript::Ellipsis {
                    let dims = dims.by_ref().take(others);
                    broadcast = dims
                        .fold(1, |all, &size| times(all, size as u64))
                        .max(broadcast);
                } else {
                    let size = *dims.next()? as u64;
                    let known = sizes.entry(*subscript).or_insert(size);
                    *known = size.max(*known);
                }
            }
        }
        let points = sizes
            .values()
            .fold(broadcast, |all, &size| times(all, size));
        let sums = u64::from(points > elements(self.output(0)?));
        let products = (equation.inputs.len() as u64).saturating_sub(1);
        Some(times(points, products + sums))
    }

    /// By elimination: n³ · 2 / 3 for a matrix of n rows.
    pub(super) fn determinants(&self) -> Option<u64> {
        let rows = *self.input(0)?.last()? as u64;
        Some(times(self.of_input(0)?, times(2, rows)) / 3)
    }

    /// Comparisons of a sort: n · log₂ n.
    pub(super) fn sorted(&self) -> Option<u64> {
        let count = self.of_input(0)?;
        Some(times(count, logarithm(count)))
    }
}

/// Rounded up.
pub(super) fn logarithm(count: u64) -> u64 {
    u64::from(count.max(1).next_power_of_two().trailing_zeros())
}

pub(super) fn elements(shape: &[usize]) -> u64 {
    shape
        .iter()
        .fold(1, |count, &size| times(count, size as u64))
}

pub(super) fn times(left: u64, right: u64) -> u64 {
    left.saturating_mul(right)
}
