//! Scales and shifts per channel move into the weights of the convolution or Gemm before them.
//!
//! Computed in double precision and rounded once to the dtype of the weights; where one of them would not be finite, the
//! model stays as it is.

use super::draft::Draft;
use super::linear::fitted;
use super::numbers;
use super::pattern::operands;
use crate::graph::{Binary, Graph, Node, NodeId, Normalization, Op, ValueId};
use crate::types::Tensor;

pub(super) fn fold(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    for id in draft.originals() {
        if draft.is_needed(id)
            && let Some(Folded { name, op, inputs }) = folded(&mut draft, id)
        {
            draft.replace(id, name, op, inputs);
        }
    }
    draft.finish()
}

struct Folded {
    name: String,
    op: Op,
    inputs: Vec<Option<ValueId>>,
}

/// What happens to each channel: `factor · x + shift`.
struct Affine {
    factors: Vec<f64>,
    shifts: Vec<f64>,
}

/// A product with constant weights.
struct Weighted {
    node: Node,
    data: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
    /// Dimension of the weight that counts output channels.
    axis: usize,
}

fn folded(draft: &mut Draft, id: NodeId) -> Option<Folded> {
    let node = draft.node(id);
    let (x, other) = match (&node.op, node.inputs.as_slice()) {
        (Op::Normalization(Normalization::Batch { .. }), &[Some(x), ..]) => (x, None),
        (Op::Binary(_), &[Some(a), Some(b)]) if draft.constant(b).is_some() => (a, Some(b)),
        (Op::Binary(_), &[Some(a), Some(b)]) => (b, Some(a)),
        _ => return None,
    };
    let product = weighted(draft, x)?;
    let weight = draft.constant(product.weight)?;
    let channels = *weight.shape().get(product.axis)?;
    let affine = match other {
        None => normalisation(draft, node, channels)?,
        Some(constant) => arithmetic(draft, node, x, constant, channels)?,
    };
    let rest: usize = weight.shape()[product.axis + 1..].iter().product();
    let mut numbers = numbers::read(weight)?;
    for (place, number) in numbers.iter_mut().enumerate() {
        *number *= affine.factors[place / rest % channels];
    }
    let scaled = numbers::write(weight.dtype(), weight.shape(), &numbers)?;
    let before = match product.bias {
        Some(bias) => numbers::read(&one_per_channel(draft.constant(bias)?, channels)?)?,
        None => vec![0.0; channels],
    };
    let parts = before.iter().zip(&affine.factors).zip(&affine.shifts);
    let shifted: Vec<f64> = parts
        .map(|((bias, factor), shift)| bias * factor + shift)
        .collect();
    let shifted = numbers::write(weight.dtype(), &[channels], &shifted)?;
    let weight = draft.add_constant(product.weight, "scaled", scaled);
    let bias = draft.add_constant(product.bias.unwrap_or(weight), "shifted", shifted);
    Some(Folded {
        name: product.node.name,
        op: product.node.op,
        inputs: vec![Some(product.data), Some(weight), Some(bias)],
    })
}

/// Returns the product that computes a value, if nothing else sees it.
fn weighted(draft: &Draft, x: ValueId) -> Option<Weighted> {
    let node = draft.sole_maker(x)?;
    let [Some(data), Some(weight), ..] = *node.inputs.as_slice() else {
        return None;
    };
    let axis = match node.op {
        Op::Conv(_) => 0,
        Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_b,
            ..
        } => usize::from(!transpose_b),
        _ => return None,
    };
    let bias = node.inputs.get(2).copied().flatten();
    Some(Weighted {
        data,
        weight,
        bias,
        axis,
        node: node.clone(),
    })
}

fn one_per_channel(bias: &Tensor, channels: usize) -> Option<Tensor> {
    Some(fitted(bias, channels)?.unwrap_or_else(|| bias.clone()))
}

fn normalisation(draft: &Draft, node: &Node, channels: usize) -> Option<Affine> {
    let Op::Normalization(Normalization::Batch { epsilon }) = node.op else {
        return None;
    };
    let parameter = |input: usize| {
        let tensor = draft.constant((*node.inputs.get(input)?)?)?;
        numbers::read(tensor).filter(|numbers| numbers.len() == channels)
    };
    let [scale, bias, mean, variance] =
        [parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?];
    let roots = variance
        .iter()
        .map(|variance| (variance + f64::from(epsilon)).sqrt());
    let factors: Vec<f64> = scale
        .iter()
        .zip(roots)
        .map(|(scale, root)| scale / root)
        .collect();
    let parts = bias.iter().zip(&mean).zip(&factors);
    let shifts = parts
        .map(|((bias, mean), factor)| bias - mean * factor)
        .collect();
    Some(Affine { factors, shifts })
}

/// Returns what arithmetic with a constant does, if that has one element per channel or one at all.
fn arithmetic(
    draft: &Draft,
    node: &Node,
    x: ValueId,
    constant: ValueId,
    channels: usize,
) -> Option<Affine> {
    let numbers = per_channel(draft.constant(constant)?, draft.rank(x)?, channels)?;
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    let is = |function: Binary| operands(node, function);
    let (factors, shifts) = if is(Binary::Mul).is_some() {
        (numbers, zeros)
    } else if is(Binary::Add).is_some() {
        (ones, numbers)
    } else if is(Binary::Sub) == Some([x, constant]) {
        (ones, numbers.iter().map(|number| -number).collect())
    } else if is(Binary::Sub) == Some([constant, x]) {
        (vec![-1.0; channels], numbers)
    } else if is(Binary::Div) == Some([x, constant]) {
        (numbers.iter().map(|number| number.recip()).collect(), zeros)
    } else {
        return None;
    };
    Some(Affine { factors, shifts })
}

/// Returns the elements of a constant that broadcasts along all dimensions but the second of `rank`.
fn per_channel(tensor: &Tensor, rank: usize, channels: usize) -> Option<Vec<f64>> {
    let shape = tensor.shape();
    let skipped = rank.checked_sub(shape.len())?;
    let sizes = shape.iter().enumerate();
    let fits = sizes
        .into_iter()
        .all(|(place, &size)| size == 1 || place + skipped == 1 && size == channels);
    let numbers = numbers::read(tensor).filter(|_| fits && rank >= 2)?;
    match *numbers.as_slice() {
        [number] => Some(vec![number; channels]),
        _ => Some(numbers),
    }
}
