//! Losses of classifiers.

use crate::types::{Dim, ShapeSpec};

use super::Fact;
use super::dims::{equal_dim, mismatch};
use super::operands::{Operands, one};
use crate::graph::{Fault, LossReduction};

/// Inputs: scores, target classes, weights of classes?.
pub(super) fn negative_log_likelihood(
    reduction: LossReduction,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require_float(0)?;
    operands.require_index(1)?;
    let dtype = operands.common_dtype([0, 2])?;
    operands.require_rank(2, 1, ", one weight per class")?;
    let (scores, targets) = (operands.get(0)?.dims(), operands.get(1)?.dims());
    let mut losses = targets.map(<[Dim]>::to_vec);
    if let Some(scores) = scores {
        let [batch, classes, rest @ ..] = scores else {
            return Err(Fault::Shape {
                input: 0,
                seen: ShapeSpec(scores.to_vec()),
                expected: "at least two dimensions, of which the second is that of the classes"
                    .to_owned(),
            });
        };
        let weights = operands.optional(2).and_then(Fact::dims);
        if let Some([weights]) = weights
            && equal_dim(weights, classes).is_none()
        {
            let rule = "there is one weight per class";
            return Err(mismatch(scores, std::slice::from_ref(weights), rule));
        }
        let expected: Vec<Dim> = [batch].into_iter().chain(rest).cloned().collect();
        let Some(targets) = targets else {
            return Ok(one(dtype, reduced(reduction, Some(expected))));
        };
        let rule = "targets have the dimensions of the scores but the second";
        if targets.len() != expected.len() {
            return Err(mismatch(scores, targets, rule));
        }
        let pairs = expected.iter().zip(targets);
        let dims: Option<Vec<Dim>> = pairs.map(|(left, right)| equal_dim(left, right)).collect();
        losses = Some(dims.ok_or_else(|| mismatch(scores, targets, rule))?);
    }
    Ok(one(dtype, reduced(reduction, losses)))
}

fn reduced(reduction: LossReduction, losses: Option<Vec<Dim>>) -> Option<Vec<Dim>> {
    match reduction {
        LossReduction::None => losses,
        LossReduction::Sum | LossReduction::Mean => Some(Vec::new()),
    }
}
