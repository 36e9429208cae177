//! Steps of optimisers, by their formulas.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Binary, Fault, Op, Unary, ValueId};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("ai.onnx.preview.training.Adagrad", adagrad),
    ("ai.onnx.preview.training.Adam", adam),
    ("ai.onnx.preview.training.Momentum", momentum),
];

/// A node for an output, before it is added.
type Final = (Op, Vec<Option<ValueId>>);

/// Writes a formula down as nodes.
struct Formula<'call, 'model> {
    call: &'call mut Call<'model>,
    dtype: DType,
}

impl Formula<'_, '_> {
    fn number(&mut self, value: f32) -> Result<ValueId, Fault> {
        let expected = "a floating-point datatype".to_owned();
        let scalar = literal::float(self.dtype, value).ok_or(Fault::DType {
            input: 2,
            seen: self.dtype,
            expected,
        })?;
        self.call.literal("number", Some(scalar))
    }

    fn binary(&mut self, op: Binary, left: ValueId, right: ValueId) -> Result<ValueId, Fault> {
        let inputs = vec![Some(left), Some(right)];
        self.call.step("step", Op::Binary(op), inputs)
    }

    fn add(&mut self, left: ValueId, right: ValueId) -> Result<ValueId, Fault> {
        self.binary(Binary::Add, left, right)
    }

    fn multiply(&mut self, left: ValueId, right: ValueId) -> Result<ValueId, Fault> {
        self.binary(Binary::Mul, left, right)
    }

    fn scale(&mut self, value: ValueId, factor: f32) -> Result<ValueId, Fault> {
        let factor = self.number(factor)?;
        self.multiply(value, factor)
    }

    fn sqrt(&mut self, value: ValueId) -> Result<ValueId, Fault> {
        let inputs = vec![Some(value)];
        self.call.step("step", Op::Unary(Unary::Sqrt), inputs)
    }

    /// The gradient with that of the penalty on large weights: `g + c · x`.
    fn regularised(&mut self, x: ValueId, g: ValueId, factor: f32) -> Result<ValueId, Fault> {
        let penalty = self.scale(x, factor)?;
        self.add(penalty, g)
    }

    fn choose(&mut self, mask: ValueId, yes: ValueId, no: ValueId) -> Result<ValueId, Fault> {
        let inputs = vec![Some(mask), Some(yes), Some(no)];
        self.call.step("step", Op::Where, inputs)
    }

    /// Tells whether steps have been made before this one.
    fn is_later(&mut self, count: ValueId) -> Result<ValueId, Fault> {
        let zero = self.number(0.0)?;
        self.binary(Binary::Greater, count, zero)
    }
}

fn difference(left: ValueId, right: ValueId) -> Final {
    (Op::Binary(Binary::Sub), vec![Some(left), Some(right)])
}

fn as_it_is(value: ValueId) -> Final {
    (Op::Identity, vec![Some(value)])
}

/// Reads inputs `rate, count, x…, g…, state…` and applies `update` to each tensor; its outputs are grouped as inputs
/// are.
fn each<const STATES: usize, const OUTPUTS: usize>(
    call: &mut Call<'_>,
    mut update: impl FnMut(
        &mut Formula<'_, '_>,
        [ValueId; 2],
        [ValueId; 2],
        [ValueId; STATES],
    ) -> Result<[Final; OUTPUTS], Fault>,
) -> Result<Form, Fault> {
    let groups = 2 + STATES;
    let seen = call.inputs.len();
    if seen < 2 + groups || !(seen - 2).is_multiple_of(groups) {
        let expected = format!("2 and {groups} for each tensor");
        return Err(Fault::InputCount { seen, expected });
    }
    let tensors = (seen - 2) / groups;
    if call.outputs.len() > tensors * OUTPUTS {
        return Err(Fault::OutputCount {
            seen: call.outputs.len(),
            expected: format!("at most {}", tensors * OUTPUTS),
        });
    }
    let dtype = call.dtype(2, "the coefficients")?;
    let rate = call.step("rate", Op::Cast { to: dtype }, vec![Some(call.input(0)?)])?;
    let count = call.step("count", Op::Cast { to: dtype }, vec![Some(call.input(1)?)])?;
    let mut formula = Formula { call, dtype };
    let mut results = Vec::new();
    for tensor in 0..tensors {
        let input = |group: usize| formula.call.input(2 + group * tensors + tensor);
        let data = [input(0)?, input(1)?];
        let mut states = [data[0]; STATES];
        for (place, state) in states.iter_mut().enumerate() {
            *state = input(2 + place)?;
        }
        results.push(update(&mut formula, [rate, count], data, states)?);
    }
    let groups =
        (0..OUTPUTS).flat_map(|group| results.iter().map(move |result| result[group].clone()));
    Ok(Form::Nodes(groups.collect()))
}

/// `h' = h + g²`, `x' = x − r / (1 + t · decay) · g / (√h' + ε)`.
fn adagrad(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let decay = attributes.float_or("decay_factor", 0.0)?;
    let epsilon = attributes.float_or("epsilon", 1e-6)?;
    let norm = attributes.float_or("norm_coefficient", 0.0)?;
    each(call, |formula, [rate, count], [x, g], [h]| {
        let (one, epsilon) = (formula.number(1.0)?, formula.number(epsilon)?);
        let slower = formula.scale(count, decay)?;
        let slower = formula.add(one, slower)?;
        let rate = formula.binary(Binary::Div, rate, slower)?;
        let g = formula.regularised(x, g, norm)?;
        let square = formula.multiply(g, g)?;
        let h = formula.add(h, square)?;
        let root = formula.sqrt(h)?;
        let root = formula.add(root, epsilon)?;
        let step = formula.multiply(rate, g)?;
        let step = formula.binary(Binary::Div, step, root)?;
        Ok([difference(x, step), as_it_is(h)])
    })
}

/// `v' = αv + (1 − α)g`, `h' = βh + (1 − β)g²`, `x' = (1 − post) · (x − r' · v' / (√h' + ε))`, where `r'` is
/// `r · √(1 − βᵗ) / (1 − αᵗ)` after the first step.
fn adam(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let alpha = attributes.float_or("alpha", 0.9)?;
    let beta = attributes.float_or("beta", 0.999)?;
    let epsilon = attributes.float_or("epsilon", 1e-6)?;
    let norm = attributes.float_or("norm_coefficient", 0.0)?;
    let post = attributes.float_or("norm_coefficient_post", 0.0)?;
    each(call, |formula, [rate, count], [x, g], [v, h]| {
        let g = formula.regularised(x, g, norm)?;
        let (old, new) = (formula.scale(v, alpha)?, formula.scale(g, 1.0 - alpha)?);
        let v = formula.add(old, new)?;
        let square = formula.multiply(g, g)?;
        let (old, new) = (formula.scale(h, beta)?, formula.scale(square, 1.0 - beta)?);
        let h = formula.add(old, new)?;
        let epsilon = formula.number(epsilon)?;
        let root = formula.sqrt(h)?;
        let root = formula.add(root, epsilon)?;
        let one = formula.number(1.0)?;
        let rest = |formula: &mut Formula<'_, '_>, base: f32| {
            let base = formula.number(base)?;
            let power = formula.binary(Binary::Pow, base, count)?;
            formula.binary(Binary::Sub, one, power)
        };
        let (first, second) = (rest(formula, alpha)?, rest(formula, beta)?);
        let second = formula.sqrt(second)?;
        let corrected = formula.multiply(rate, second)?;
        let corrected = formula.binary(Binary::Div, corrected, first)?;
        let later = formula.is_later(count)?;
        let rate = formula.choose(later, corrected, rate)?;
        let step = formula.binary(Binary::Div, v, root)?;
        let step = formula.multiply(rate, step)?;
        let x = formula.binary(Binary::Sub, x, step)?;
        let kept = formula.number(1.0 - post)?;
        let x = (Op::Binary(Binary::Mul), vec![Some(x), Some(kept)]);
        Ok([x, as_it_is(v), as_it_is(h)])
    })
}

/// `v' = αv + β'g`, where `β'` is 1 in the first step, and `x' = x − r · v'`, or `x − r · (g + αv')` after Nesterov.
fn momentum(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let expected = "a number";
    let required = |name: &str| {
        attributes.float(name)?.ok_or(Fault::NoAttribute {
            attribute: name.to_owned(),
            expected,
        })
    };
    let (alpha, beta) = (required("alpha")?, required("beta")?);
    let norm = required("norm_coefficient")?;
    let nesterov = match attributes.text("mode")?.as_deref() {
        Some("standard") => false,
        Some("nesterov") => true,
        seen => {
            let expected = "\"standard\" or \"nesterov\"";
            return Err(wrong("mode", format!("{seen:?}"), expected));
        }
    };
    each(call, |formula, [rate, count], [x, g], [v]| {
        let g = formula.regularised(x, g, norm)?;
        let (one, beta) = (formula.number(1.0)?, formula.number(beta)?);
        let later = formula.is_later(count)?;
        let beta = formula.choose(later, beta, one)?;
        let (old, new) = (formula.scale(v, alpha)?, formula.multiply(beta, g)?);
        let v = formula.add(old, new)?;
        let direction = if nesterov {
            let ahead = formula.scale(v, alpha)?;
            formula.add(g, ahead)?
        } else {
            v
        };
        let step = formula.multiply(rate, direction)?;
        Ok([difference(x, step), as_it_is(v)])
    })
}
