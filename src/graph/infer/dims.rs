//! Calculation with dimensions of which some are only names.

use std::sync::Arc;

use crate::types::{Dim, ShapeSpec};

use crate::graph::Fault;

/// Returns the position that a possibly negative axis means among `rank` dimensions.
pub(in crate::graph) fn axis(
    value: i64,
    rank: usize,
    parameter: &'static str,
) -> Result<usize, Fault> {
    position(value, rank)
        .filter(|&place| place < rank)
        .ok_or_else(|| out_of_rank(value, rank, parameter))
}

/// Returns the position of a boundary between dimensions, which may also lie after the last one.
pub(super) fn boundary(value: i64, rank: usize, parameter: &'static str) -> Result<usize, Fault> {
    position(value, rank).ok_or_else(|| out_of_rank(value, rank, parameter))
}

fn position(value: i64, rank: usize) -> Option<usize> {
    let place = if value < 0 {
        value.checked_add(i64::try_from(rank).ok()?)?
    } else {
        value
    };
    usize::try_from(place).ok().filter(|&place| place <= rank)
}

fn out_of_rank(value: i64, rank: usize, parameter: &'static str) -> Fault {
    let expected = match rank {
        0 => "none, as the tensor has no dimensions".to_owned(),
        _ => format!("-{rank} to {}", rank - 1),
    };
    Fault::Parameter {
        parameter,
        seen: value.to_string(),
        expected,
    }
}

/// Returns the positions of distinct axes, in ascending order.
pub(super) fn axes(values: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    let mut places = values
        .iter()
        .map(|&value| axis(value, rank, "axes"))
        .collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::Parameter {
            parameter: "axes",
            seen: format!("{values:?}"),
            expected: "every axis once".to_owned(),
        });
    }
    Ok(places)
}

/// Returns the shape that two shapes broadcast to, as in NumPy.
pub(super) fn broadcast(left: &[Dim], right: &[Dim]) -> Result<Vec<Dim>, Fault> {
    let rank = left.len().max(right.len());
    let at = |dims: &[Dim], place: usize| match (place + dims.len()).checked_sub(rank) {
        Some(own) => dims[own].clone(),
        None => Dim::Fixed(1),
    };
    (0..rank)
        .map(|place| broadcast_dim(at(left, place), at(right, place)))
        .collect::<Option<_>>()
        .ok_or_else(|| {
            mismatch(
                left,
                right,
                "sizes are equal, counted from the last, or one of them is 1",
            )
        })
}

/// Returns what two sizes broadcast to; `None` if they cannot be.
pub(super) fn broadcast_dim(left: Dim, right: Dim) -> Option<Dim> {
    match (left, right) {
        (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => Some(other),
        (Dim::Fixed(left), Dim::Fixed(right)) => (left == right).then_some(Dim::Fixed(left)),
        (Dim::Fixed(size), _) | (_, Dim::Fixed(size)) => Some(Dim::Fixed(size)),
        (left, right) => Some(if left == right { left } else { Dim::Any }),
    }
}

/// Returns what two sizes that have to be equal are; `None` if they differ.
pub(super) fn equal_dim(left: &Dim, right: &Dim) -> Option<Dim> {
    match (left, right) {
        (Dim::Fixed(left), Dim::Fixed(right)) => (left == right).then_some(Dim::Fixed(*left)),
        (Dim::Fixed(size), _) | (_, Dim::Fixed(size)) => Some(Dim::Fixed(*size)),
        (Dim::Symbol(_), _) => Some(left.clone()),
        (Dim::Any, other) => Some(other.clone()),
    }
}

pub(super) fn mismatch(left: &[Dim], right: &[Dim], rule: &str) -> Fault {
    let seen = Box::new((ShapeSpec(left.to_vec()), ShapeSpec(right.to_vec())));
    Fault::Mismatch {
        seen,
        rule: rule.to_owned(),
    }
}

/// A number of elements: a known factor, symbols, and perhaps something unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) factor: usize,
    pub(super) symbols: Vec<Arc<str>>,
    pub(super) unknown: bool,
}

impl Product {
    pub(super) fn of(dims: &[Dim]) -> Result<Self, Fault> {
        let mut product = Self {
            factor: 1,
            symbols: Vec::new(),
            unknown: false,
        };
        let zero = dims.contains(&Dim::Fixed(0));
        for dim in dims {
            match dim {
                Dim::Fixed(_) if zero => product.factor = 0,
                Dim::Fixed(size) => {
                    product.factor = product
                        .factor
                        .checked_mul(*size)
                        .ok_or_else(|| oversized(dims))?;
                }
                Dim::Symbol(symbol) => product.symbols.push(symbol.clone()),
                Dim::Any => product.unknown = true,
            }
        }
        Ok(product)
    }

    /// Returns the number if it is one size: fixed, or a single symbol.
    pub(super) fn dim(self) -> Dim {
        match (self.factor, self.symbols.as_slice(), self.unknown) {
            (0, ..) => Dim::Fixed(0),
            (factor, [], false) => Dim::Fixed(factor),
            (1, [symbol], false) => Dim::Symbol(symbol.clone()),
            _ => Dim::Any,
        }
    }

    /// Returns the size that times `rest` gives this number: `Ok(None)` if it is not known, `Err(())` if there is none.
    pub(super) fn divided_by(mut self, mut rest: Self) -> Result<Option<Dim>, ()> {
        self.symbols.retain(
            |symbol| match rest.symbols.iter().position(|other| other == symbol) {
                Some(place) => {
                    rest.symbols.swap_remove(place);
                    false
                }
                None => true,
            },
        );
        if self.unknown || rest.unknown || !rest.symbols.is_empty() || rest.factor == 0 {
            return Ok(None);
        }
        if self.factor.is_multiple_of(rest.factor) {
            self.factor /= rest.factor;
            return Ok(Some(self.dim()));
        }
        if self.symbols.is_empty() {
            Err(())
        } else {
            Ok(None)
        }
    }
}

pub(super) fn oversized(dims: &[Dim]) -> Fault {
    Fault::Oversized {
        shape: ShapeSpec(dims.to_vec()).to_string(),
    }
}
