//! The shape of a sum of products.

use std::collections::HashMap;

use crate::types::{Dim, ShapeSpec};

use super::Fact;
use super::dims::{broadcast, broadcast_dim};
use super::operands::{Operands, one};
use crate::graph::{Equation, Fault, Subscript};

pub(super) fn einsum(equation: &Equation, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    let count = equation.inputs.len();
    operands.count(count, count)?;
    let facts = operands.all()?;
    let dtype = operands.common_dtype(0..count)?;
    operands.require_number(0)?;
    let mut letters: HashMap<char, Dim> = HashMap::new();
    let mut rest = Some(Vec::new());
    for (input, (term, fact)) in equation.inputs.iter().zip(&facts).enumerate() {
        let ellipsis = term.contains(&Subscript::Ellipsis);
        let Some(dims) = fact.dims() else {
            if ellipsis {
                rest = None;
            }
            continue;
        };
        let named = term.len() - usize::from(ellipsis);
        let wrong = || Fault::Shape {
            input,
            seen: ShapeSpec(dims.to_vec()),
            expected: format!("the dimensions that {equation} names"),
        };
        let spare = dims.len().checked_sub(named).ok_or_else(wrong)?;
        if spare > 0 && !ellipsis {
            return Err(wrong());
        }
        let mut left = dims;
        for subscript in term {
            let Subscript::Letter(letter) = subscript else {
                let (own, after) = left.split_at(spare);
                rest = rest.map(|rest| broadcast(&rest, own)).transpose()?;
                left = after;
                continue;
            };
            let (dim, after) = left.split_first().ok_or_else(wrong)?;
            left = after;
            let known = letters.remove(letter).unwrap_or(Dim::Fixed(1));
            let dim = broadcast_dim(known, dim.clone()).ok_or_else(wrong)?;
            letters.insert(*letter, dim);
        }
    }
    let mut dims = Vec::new();
    for subscript in &equation.output {
        match (subscript, &rest) {
            (Subscript::Letter(letter), _) => {
                dims.push(letters.get(letter).cloned().unwrap_or(Dim::Any));
            }
            (Subscript::Ellipsis, Some(rest)) => dims.extend_from_slice(rest),
            (Subscript::Ellipsis, None) => return Ok(one(dtype, None)),
        }
    }
    Ok(one(dtype, Some(dims)))
}
