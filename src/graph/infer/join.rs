//! Operators that join tensors or take parts of them: Concat, Split, Slice, Gather. And what is known of a value that is
//! one of two.

use crate::types::{Dim, ShapeSpec};

use super::dims::{equal_dim, mismatch};
use super::operands::{Operands, one};
use super::{Fact, contents};
use crate::graph::{Container, Fault};

pub(super) fn concat(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, usize::MAX)?;
    let facts = operands.all()?;
    let dtype = operands.common_dtype(0..facts.len())?;
    let Some(known) = facts.iter().find_map(|fact| fact.dims()) else {
        return Ok(one(dtype, None));
    };
    let place = super::axis(axis, known.len(), "axis")?;
    let mut dims = vec![Dim::Any; known.len()];
    let mut total = Some(0_usize);
    let mut parts = Vec::new();
    for fact in &facts {
        let Some(own) = fact.dims() else {
            total = None;
            continue;
        };
        let wrong = || mismatch(known, own, "all sizes are equal, but those along the axis");
        if own.len() != known.len() {
            return Err(wrong());
        }
        for (at, (dim, own)) in dims.iter_mut().zip(own).enumerate() {
            if at == place {
                parts.push(own.clone());
                total = match (total, own.fixed()) {
                    (Some(total), Some(size)) => Some(
                        total
                            .checked_add(size)
                            .ok_or_else(|| super::dims::oversized(known))?,
                    ),
                    _ => None,
                };
            } else {
                *dim = equal_dim(dim, own).ok_or_else(wrong)?;
            }
        }
    }
    dims[place] = match parts.as_slice() {
        [single] if facts.len() == 1 => single.clone(),
        _ => total.map_or(Dim::Any, Dim::Fixed),
    };
    let contents = if dims.len() == 1 {
        contents::joined(&facts)
    } else {
        None
    };
    Ok(vec![
        Fact::new(dtype, Some(ShapeSpec(dims))).with_contents(contents),
    ])
}

/// Inputs: data, sizes?.
pub(super) fn split(axis: i64, outputs: usize, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 2)?;
    operands.require_int64(1)?;
    let data = operands.get(0)?;
    let sizes = operands.list(1)?;
    let Some(dims) = data.dims() else {
        return Ok(vec![Fact::new(data.dtype, None); outputs]);
    };
    let place = super::axis(axis, dims.len(), "axis")?;
    let part = |dim: Dim| {
        let mut dims = dims.to_vec();
        dims[place] = dim;
        Fact::new(data.dtype, Some(ShapeSpec(dims)))
    };
    if operands.optional(1).is_none() {
        let Some(size) = dims[place].fixed() else {
            return Ok(vec![part(Dim::Any); outputs]);
        };
        if outputs == 0 || !size.is_multiple_of(outputs) {
            return Err(Fault::Shape {
                input: 0,
                seen: ShapeSpec(dims.to_vec()),
                expected: format!("{outputs} equal parts along dimension {place}"),
            });
        }
        return Ok(vec![part(Dim::Fixed(size / outputs)); outputs]);
    }
    let Some(sizes) = sizes else {
        return Ok(vec![part(Dim::Any); outputs]);
    };
    let parts = sizes
        .iter()
        .map(|&size| usize::try_from(size).ok())
        .collect::<Option<Vec<_>>>();
    let total = parts
        .iter()
        .flatten()
        .try_fold(0_usize, |total, &size| total.checked_add(size));
    match parts {
        Some(parts)
            if parts.len() == outputs
                && dims[place].fixed().is_none_or(|size| Some(size) == total) =>
        {
            Ok(parts
                .into_iter()
                .map(|size| part(Dim::Fixed(size)))
                .collect())
        }
        _ => Err(Fault::Parameter {
            parameter: "split",
            seen: format!("{sizes:?}"),
            expected: format!(
                "{outputs} sizes whose sum is {}, the size of dimension {place}",
                dims[place]
            ),
        }),
    }
}

/// Inputs: data, starts, ends, axes?, steps?.
pub(super) fn slice(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 5)?;
    let data = operands.get(0)?;
    let lists = (
        operands.list(1)?,
        operands.list(2)?,
        operands.list(3)?,
        operands.list(4)?,
    );
    operands.common_dtype(1..5)?;
    operands.get(1)?;
    operands.get(2)?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let open = || Ok(one(data.dtype, Some(vec![Dim::Any; dims.len()])));
    let (starts, ends) = match (lists.0, lists.1) {
        (Some(starts), Some(ends)) => (starts, ends),
        _ => return open(),
    };
    let axes = match (operands.optional(3), lists.2) {
        (None, _) => (0..i64::try_from(starts.len()).unwrap_or(i64::MAX)).collect(),
        (Some(_), Some(axes)) => axes,
        (Some(_), None) => return open(),
    };
    let steps = match (operands.optional(4), lists.3) {
        (None, _) => vec![1; starts.len()],
        (Some(_), Some(steps)) => steps,
        (Some(_), None) => return open(),
    };
    let count = starts.len();
    if ends.len() != count || axes.len() != count || steps.len() != count || steps.contains(&0) {
        return Err(Fault::Parameter {
            parameter: "slice",
            seen: format!("starts {starts:?}, ends {ends:?}, axes {axes:?}, steps {steps:?}"),
            expected: "lists of one length and steps other than 0".to_owned(),
        });
    }
    super::dims::axes(&axes, dims.len())?;
    let mut sliced = dims.to_vec();
    let mut elements = data.contents.clone().filter(|_| dims.len() == 1);
    for place in 0..count {
        let axis = super::axis(axes[place], dims.len(), "axes")?;
        let (start, end, step) = (starts[place], ends[place], steps[place]);
        sliced[axis] = match dims[axis].fixed() {
            Some(size) => {
                let range = contents::range(size, start, end, step);
                elements = elements.and_then(|elements| contents::taken(&elements, &range));
                Dim::Fixed(range.count)
            }
            None if step == 1 && start == 0 && end == i64::MAX => dims[axis].clone(),
            None => Dim::Any,
        };
    }
    Ok(vec![
        Fact::new(data.dtype, Some(ShapeSpec(sliced))).with_contents(elements),
    ])
}

/// Inputs: data, indices.
pub(super) fn gather(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_index(1)?;
    let (data, indices) = (operands.get(0)?, operands.get(1)?);
    let (Some(dims), Some(picked)) = (data.dims(), indices.dims()) else {
        return Ok(one(data.dtype, None));
    };
    let place = super::axis(axis, dims.len(), "axis")?;
    if let (Some(size), Some(numbers)) = (dims[place].fixed(), indices.numbers()) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if let Some(outside) = numbers
            .iter()
            .find(|&&index| index < -size || index >= size)
        {
            return Err(Fault::Parameter {
                parameter: "indices",
                seen: outside.to_string(),
                expected: format!("-{size} to {} along dimension {place}", size - 1),
            });
        }
    }
    let contents = if dims.len() == 1 {
        contents::gathered(data, indices)
    } else {
        None
    };
    let dims = [&dims[..place], picked, &dims[place + 1..]].concat();
    Ok(vec![
        Fact::new(data.dtype, Some(ShapeSpec(dims))).with_contents(contents),
    ])
}

/// Returns what is known of a shape that is one of two.
pub(super) fn either(left: Option<&ShapeSpec>, right: Option<&ShapeSpec>) -> Option<ShapeSpec> {
    let (left, right) = (left?, right?);
    if left.rank() != right.rank() {
        return None;
    }
    let dims = left.0.iter().zip(&right.0);
    let dims = dims.map(|(left, right)| {
        if left == right {
            left.clone()
        } else {
            Dim::Any
        }
    });
    Some(ShapeSpec(dims.collect()))
}

/// Returns what is known of an output that is one of two values.
pub(in crate::graph) fn either_fact(
    output: usize,
    left: &Fact,
    right: &Fact,
) -> Result<Fact, Fault> {
    let dtype = match (left.dtype, right.dtype) {
        (Some(left), Some(right)) if left != right => {
            return Err(Fault::Alternatives {
                output,
                seen: left.to_string(),
                other: right.to_string(),
            });
        }
        (left, right) => left.or(right),
    };
    use Container::{Optional, OptionalSequence, Sequence, Tensor};
    let container = match (left.container, right.container) {
        (left, right) if left == right => left,
        (Tensor | Optional, Tensor | Optional) => Optional,
        (Sequence | OptionalSequence, Sequence | OptionalSequence) => OptionalSequence,
        (left, right) => {
            return Err(Fault::Alternatives {
                output,
                seen: left.to_string(),
                other: right.to_string(),
            });
        }
    };
    let shape = either(left.shape.as_ref(), right.shape.as_ref());
    Ok(Fact::new(dtype, shape).within(container))
}
