//! Layer normalisation: `(x − mean) / √(variance + ε)`, then a scale and a shift.
//!
//! Found in three steps, so that it does not matter how many there are: the quotient becomes an operator with a scale
//! of ones, a product with a constant replaces these, a sum with a constant becomes the shift.

use super::draft::Draft;
use super::formulas::Formula;
use super::gates::is_power;
use super::layout::first_input;
use super::numbers;
use super::pattern::{operands, shifted};
use crate::graph::{Binary, Node, NodeId, Normalization, Op, Reduce, Unary, ValueId};
use crate::types::{DType, Dim, Tensor};

/// A match of the quotient.
struct Quotient {
    x: ValueId,
    axes: Vec<i64>,
    epsilon: f64,
}

pub(super) fn found(draft: &mut Draft, id: NodeId) -> Option<Formula> {
    if let Some(quotient) = quotient(draft, draft.node(id)) {
        return normalisation(draft, &quotient);
    }
    let node = draft.node(id);
    let scale = operands(node, Binary::Mul);
    let shift = operands(node, Binary::Add);
    let [a, b] = scale.or(shift)?;
    let (x, constant) = if draft.constant(b).is_some() {
        (a, b)
    } else {
        (b, a)
    };
    let before = draft.sole_maker(x)?;
    let Op::Normalization(Normalization::Layer { axis, .. }) = before.op else {
        return None;
    };
    let (op, mut inputs): (Op, Vec<ValueId>) = (
        before.op.clone(),
        before.inputs.iter().copied().collect::<Option<_>>()?,
    );
    let tensor = draft.constant(constant)?;
    let normalised = normalised(draft, x, axis)?;
    let fitted = fitted(tensor, &normalised)?;
    let untouched = inputs.len() == 2;
    let place = if scale.is_some() { 1 } else { 2 };
    if !untouched || place == 1 && !is_ones(draft.constant(inputs[1])?) {
        return None;
    }
    let parameter = draft.add_constant(constant, "fitted", fitted);
    inputs.truncate(place);
    inputs.push(parameter);
    Some(Formula { op, inputs })
}

/// Matches `d / √(mean(d²) + ε)` with `d = x − mean(x)`, also with a product by the reciprocal root.
fn quotient(draft: &Draft, node: &Node) -> Option<Quotient> {
    let (d, root) = match operands(node, Binary::Div) {
        Some([d, root]) => (d, root),
        None => {
            let [a, b] = operands(node, Binary::Mul)?;
            let is_reciprocal = |id: ValueId| {
                let node = draft.sole_maker(id)?;
                matches!(node.op, Op::Unary(Unary::Reciprocal)).then(|| first_input(node))?
            };
            match (is_reciprocal(a), is_reciprocal(b)) {
                (_, Some(root)) => (a, root),
                (Some(root), None) => (b, root),
                (None, None) => return None,
            }
        }
    };
    let root = draft.sole_maker(root)?;
    if !matches!(root.op, Op::Unary(Unary::Sqrt)) {
        return None;
    }
    let (variance, epsilon) = shifted(draft, draft.sole_maker(first_input(root)?)?)?;
    let (square, axes) = mean(draft, draft.sole_maker(variance)?)?;
    let product = draft
        .sole_maker(square)
        .and_then(|node| operands(node, Binary::Mul));
    if product != Some([d, d]) && !is_power(draft, d, square, 2.0) {
        return None;
    }
    let [x, centre] = operands(draft.maker(d)?, Binary::Sub)?;
    let (source, own_axes) = mean(draft, draft.maker(centre)?)?;
    (source == x && own_axes == axes && epsilon >= 0.0).then_some(Quotient { x, axes, epsilon })
}

/// Returns what a node takes the mean of, and over which axes, rising and counted from the first.
fn mean(draft: &Draft, node: &Node) -> Option<(ValueId, Vec<i64>)> {
    let Op::Reduce {
        kind: Reduce::Mean,
        keep_dims: true,
        noop_with_empty_axes: false,
    } = node.op
    else {
        return None;
    };
    let (x, axes) = (first_input(node)?, node.inputs.get(1).copied().flatten()?);
    let rank = i64::try_from(draft.rank(x)?).ok()?;
    let axes = draft.constant(axes)?;
    let (places, _) = axes.bytes().as_chunks();
    let places = places.iter().map(|&place| i64::from_le_bytes(place));
    let mut places: Vec<_> = places
        .map(|place| if place < 0 { place + rank } else { place })
        .collect();
    places.sort_unstable();
    (axes.dtype() == DType::I64 && !places.is_empty()).then_some((x, places))
}

fn normalisation(draft: &mut Draft, quotient: &Quotient) -> Option<Formula> {
    let Quotient { x, axes, epsilon } = quotient;
    let rank = i64::try_from(draft.rank(*x)?).ok()?;
    let axis = *axes.first()?;
    // The last dimensions, without a gap.
    if !axes.iter().copied().eq(axis..rank) {
        return None;
    }
    let shape = normalised(draft, *x, axis)?;
    let ones = vec![1.0; shape.iter().product()];
    let ones = numbers::write(draft.value(*x).dtype?, &shape, &ones)?;
    let scale = draft.add_constant(*x, "ones", ones);
    #[expect(clippy::cast_possible_truncation, reason = "as ONNX stores it")]
    let epsilon = *epsilon as f32;
    Some(Formula {
        op: Op::Normalization(Normalization::Layer {
            axis,
            epsilon,
            brief_statistics: false,
        }),
        inputs: vec![*x, scale],
    })
}

/// Returns the sizes from `axis` on, if they are known and small enough to be those of a parameter.
fn normalised(draft: &Draft, x: ValueId, axis: i64) -> Option<Vec<usize>> {
    const ELEMENTS_MAX: usize = 1 << 20;
    let dims = draft.shape(x)?;
    let rank = i64::try_from(dims.len()).ok()?;
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
    let sizes: Vec<usize> = dims
        .get(axis..)?
        .iter()
        .map(Dim::fixed)
        .collect::<Option<_>>()?;
    let count = sizes
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size))?;
    (count <= ELEMENTS_MAX).then_some(sizes)
}

/// Returns a parameter without dimensions before the normalised ones, if it has no other elements for them.
fn fitted(tensor: &Tensor, normalised: &[usize]) -> Option<Tensor> {
    let shape = tensor.shape();
    let extra = shape.len().saturating_sub(normalised.len());
    let (before, own) = shape.split_at(extra);
    let aligned = own.iter().rev().zip(normalised.iter().rev());
    let fits = before.iter().all(|&size| size == 1)
        && aligned
            .into_iter()
            .all(|(&own, &size)| own == size || own == 1);
    if !fits {
        return None;
    }
    Tensor::copy_of(tensor.dtype(), own.to_vec(), tensor.bytes()).ok()
}

#[expect(clippy::float_cmp, reason = "exactly ones")]
fn is_ones(tensor: &Tensor) -> bool {
    numbers::read(tensor).is_some_and(|numbers| numbers.iter().all(|&number| number == 1.0))
}
