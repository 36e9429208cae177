//! What is known before a model runs becomes part of it: views of weights, shapes that exporters compute by nodes.

use std::sync::Arc;

use crate::types::{DType, Dim, Tensor};

use super::literal::{integers, of_integers};
use crate::graph::infer::{Fact, Size};
use crate::graph::{Initializer, Op};

/// Returns what a node computes, if that is known: another view of a weight, or a small list of integers.
pub(in crate::graph) fn known(
    op: &Op,
    source: Option<&Arc<Initializer>>,
    output: &Fact,
) -> Option<Arc<Initializer>> {
    let shape = output.shape.as_ref()?.concrete()?;
    let view = matches!(
        op,
        Op::Identity | Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze
    );
    if let (true, Some(source)) = (view, source) {
        if source.tensor.shape() == shape {
            return Some(source.clone());
        }
        let tensor =
            Tensor::new(source.tensor.dtype(), shape, source.tensor.memory().clone()).ok()?;
        return Some(Arc::new(Initializer { tensor }));
    }
    let elements = output.numbers()?;
    let count = shape
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size));
    let dtype = output
        .dtype
        .filter(|dtype| matches!(dtype, DType::I64 | DType::I32 | DType::Bool))?;
    if count == Some(elements.len()) {
        of_integers(dtype, shape, &elements)
    } else {
        None
    }
}

/// Returns a constant that reshapes `data` just as the computed list `target` does: 0 where a size is copied, −1 for
/// the one that is neither known nor copied.
pub(in crate::graph) fn reshape_target(
    data: &Fact,
    target: &Fact,
    allow_zero: bool,
) -> Option<Arc<Initializer>> {
    let sizes = target.contents.as_ref()?;
    let copied = |place: usize, symbol: &Arc<str>| {
        !allow_zero
            && data.dims().and_then(|dims| dims.get(place)) == Some(&Dim::Symbol(symbol.clone()))
    };
    let mut values = Vec::with_capacity(sizes.len());
    for (place, size) in sizes.iter().enumerate() {
        values.push(match size {
            Size::Known(value) => *value,
            Size::Symbol(symbol) if copied(place, symbol) => 0,
            Size::Symbol(_) | Size::Unknown => -1,
        });
    }
    let inferred = values.iter().filter(|&&value| value == -1).count();
    let ambiguous = allow_zero && inferred > 0 && values.contains(&0);
    if inferred <= 1 && !ambiguous {
        integers(&values)
    } else {
        None
    }
}
