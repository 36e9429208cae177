//! What patterns are made of: scaled values, products of several factors.

use super::draft::Draft;
use super::numbers;
use crate::graph::{Binary, Node, Op, ValueId};

/// Products of more factors than this match nothing.
const FACTORS_MAX: usize = 6;

/// A product: a number times values, of which one may occur several times.
pub(super) struct Product {
    pub(super) number: f64,
    pub(super) values: Vec<ValueId>,
}

/// Returns the operands of a node that is this function.
pub(super) fn operands(node: &Node, function: Binary) -> Option<[ValueId; 2]> {
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(own), &[Some(a), Some(b)]) if *own == function => Some([a, b]),
        _ => None,
    }
}

/// Returns the number that a constant of one element holds. It must not have more dimensions than `beside`, which it
/// would give to the result.
pub(super) fn number(draft: &Draft, id: ValueId, beside: ValueId) -> Option<f64> {
    let tensor = draft.constant(id)?;
    let rank = tensor.shape().len();
    let fits = rank == 0 || draft.rank(beside).is_some_and(|own| rank <= own);
    numbers::scalar(tensor).filter(|_| fits)
}

/// Returns the value and the number that a node multiplies.
pub(super) fn scaled(draft: &Draft, node: &Node) -> Option<(ValueId, f64)> {
    if let Some([a, b]) = operands(node, Binary::Div) {
        return number(draft, b, a).map(|number| (a, 1.0 / number));
    }
    pair(draft, operands(node, Binary::Mul)?)
}

/// Returns the value and the number that a node adds.
pub(super) fn shifted(draft: &Draft, node: &Node) -> Option<(ValueId, f64)> {
    if let Some([a, b]) = operands(node, Binary::Sub) {
        return number(draft, b, a).map(|number| (a, -number));
    }
    pair(draft, operands(node, Binary::Add)?)
}

fn pair(draft: &Draft, [a, b]: [ValueId; 2]) -> Option<(ValueId, f64)> {
    let right = number(draft, b, a).map(|number| (a, number));
    right.or_else(|| number(draft, a, b).map(|number| (b, number)))
}

/// Takes a node apart into the factors that it and the nodes before it multiply, which nothing else may see.
pub(super) fn product(draft: &Draft, node: &Node) -> Option<Product> {
    let mut found = Product {
        number: 1.0,
        values: Vec::new(),
    };
    gather(draft, node, &mut found)?;
    Some(found)
}

fn gather(draft: &Draft, node: &Node, found: &mut Product) -> Option<()> {
    let factors = match scaled(draft, node) {
        Some((value, number)) => {
            found.number *= number;
            vec![value]
        }
        None => operands(node, Binary::Mul)?.to_vec(),
    };
    for factor in factors {
        let maker = draft.sole_maker(factor);
        let is_product =
            |node: &&Node| scaled(draft, node).is_some() || operands(node, Binary::Mul).is_some();
        match maker.filter(is_product) {
            Some(maker) => gather(draft, maker, found)?,
            None if found.values.len() < FACTORS_MAX => found.values.push(factor),
            None => return None,
        }
    }
    Some(())
}
