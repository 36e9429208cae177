//! A value times a function of itself: GELU in both its forms, SiLU, HardSwish.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::draft::Draft;
use super::formulas::Formula;
use super::layout::first_input;
use super::numbers::is_about;
use super::pattern::{number, operands, product, scaled, shifted};
use crate::graph::{Binary, Node, Op, Unary, ValueId};

/// Factor of the cube in the form of GELU with a hyperbolic tangent.
const CUBE: f64 = 0.044_715;

pub(super) fn found(draft: &Draft, node: &Node) -> Option<Formula> {
    let found = product(draft, node)?;
    let [one, other] = *found.values.as_slice() else {
        return None;
    };
    let function = function(draft, one, other, found.number);
    let (x, function) = match function {
        Some(function) => (one, function),
        None => (other, self::function(draft, other, one, found.number)?),
    };
    let output = (*node.outputs.first()?)?;
    (draft.rank(output)? == draft.rank(x)?).then(|| Formula {
        op: Op::Unary(function),
        inputs: vec![x],
    })
}

/// Returns the function that `factor · x · gate` is of `x`.
fn function(draft: &Draft, x: ValueId, gate: ValueId, factor: f64) -> Option<Unary> {
    let node = draft.sole_maker(gate)?;
    match node.op {
        Op::Unary(Unary::Sigmoid) if first_input(node) == Some(x) => {
            is_about(factor, 1.0).then_some(Unary::Swish { alpha: 1.0 })
        }
        Op::Unary(Unary::HardSigmoid { alpha, beta }) if first_input(node) == Some(x) => {
            let slope = is_about(f64::from(alpha), 1.0 / 6.0) && is_about(f64::from(beta), 0.5);
            (slope && is_about(factor, 1.0)).then_some(Unary::HardSwish)
        }
        Op::Clip if is_about(factor, 1.0 / 6.0) => hard_swish(draft, x, node),
        _ if is_about(factor, 0.5) => gelu(draft, x, node),
        _ => None,
    }
}

/// `clip(x + 3, 0, 6)`.
fn hard_swish(draft: &Draft, x: ValueId, clip: &Node) -> Option<Unary> {
    let [Some(sum), Some(low), Some(high)] = *clip.inputs.as_slice() else {
        return None;
    };
    let (source, shift) = shifted(draft, draft.sole_maker(sum)?)?;
    let bounds = (number(draft, low, sum)?, number(draft, high, sum)?);
    (source == x && is_about(shift, 3.0) && bounds.0 == 0.0 && is_about(bounds.1, 6.0))
        .then_some(Unary::HardSwish)
}

/// `1 + erf(x / √2)`, or `1 + tanh(√(2/π) · (x + 0.044715 · x³))`.
fn gelu(draft: &Draft, x: ValueId, sum: &Node) -> Option<Unary> {
    let (bell, shift) = shifted(draft, sum)?;
    if !is_about(shift, 1.0) {
        return None;
    }
    let bell = draft.sole_maker(bell)?;
    let (inner, factor) = scaled(draft, draft.sole_maker(first_input(bell)?)?)?;
    match bell.op {
        Op::Unary(Unary::Erf) => {
            (inner == x && is_about(factor, FRAC_1_SQRT_2)).then_some(Unary::Gelu { tanh: false })
        }
        Op::Unary(Unary::Tanh) => {
            let [a, b] = operands(draft.sole_maker(inner)?, Binary::Add)?;
            let cube = if a == x { b } else { a };
            let fits = (a == x || b == x)
                && is_about(factor, FRAC_2_SQRT_PI * FRAC_1_SQRT_2)
                && is_cube(draft, x, draft.sole_maker(cube)?);
            fits.then_some(Unary::Gelu { tanh: true })
        }
        _ => None,
    }
}

fn is_cube(draft: &Draft, x: ValueId, node: &Node) -> bool {
    let Some(found) = product(draft, node).filter(|found| is_about(found.number, CUBE)) else {
        return false;
    };
    match *found.values.as_slice() {
        [a, b, c] => [a, b, c] == [x; 3],
        [a, b] => (a == x && is_power(draft, x, b, 2.0)) || (b == x && is_power(draft, x, a, 2.0)),
        [power] => is_power(draft, x, power, 3.0),
        _ => false,
    }
}

/// Tells whether a value is `x` to that power.
pub(super) fn is_power(draft: &Draft, x: ValueId, value: ValueId, power: f64) -> bool {
    let Some([base, exponent]) = draft
        .sole_maker(value)
        .and_then(|node| operands(node, Binary::Pow))
    else {
        return false;
    };
    base == x && exponent_of(draft, exponent, base) == Some(power)
}

/// Returns an exponent, which exporters also write as an integer.
fn exponent_of(draft: &Draft, exponent: ValueId, base: ValueId) -> Option<f64> {
    if let Some(number) = number(draft, exponent, base) {
        return Some(number);
    }
    let tensor = draft.constant(exponent)?;
    let bytes = tensor.bytes().first_chunk::<8>()?;
    let scalar = tensor.dtype() == crate::types::DType::I64 && tensor.bytes().len() == bytes.len();
    #[expect(
        clippy::cast_precision_loss,
        reason = "exponents of interest are 2 and 3"
    )]
    scalar.then(|| i64::from_le_bytes(*bytes) as f64)
}
