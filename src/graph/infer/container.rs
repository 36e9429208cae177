//! Sequences and optional values. The dtype and shape of a container are what is known of every tensor in it.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::join::either;
use super::operands::{Operands, one};
use crate::graph::{Container, ContainerOp, Fault};

pub(super) fn container(op: ContainerOp, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    let fact = match op {
        ContainerOp::SequenceConstruct => construct(operands)?,
        ContainerOp::SequenceEmpty { dtype } => {
            operands.count(0, 0)?;
            Fact::new(Some(dtype), None).within(Container::Sequence)
        }
        ContainerOp::SequenceAt => {
            operands.count(2, 2)?;
            position(operands, 1)?;
            operands.get(1)?;
            let sequence = sequence(operands)?;
            Fact::new(sequence.dtype, sequence.shape.clone())
        }
        ContainerOp::SequenceInsert => insert(operands)?,
        ContainerOp::SequenceErase => {
            operands.count(1, 2)?;
            position(operands, 1)?;
            sequence(operands)?.clone()
        }
        ContainerOp::SequenceLength => {
            operands.count(1, 1)?;
            sequence(operands)?;
            return Ok(one(Some(DType::I64), Some(Vec::new())));
        }
        ContainerOp::SplitToSequence { axis, keep_dims } => split(axis, keep_dims, operands)?,
        ContainerOp::ConcatFromSequence { axis, new_axis } => concat(axis, new_axis, operands)?,
        ContainerOp::Optional { empty } => optional(empty, operands)?,
        ContainerOp::OptionalHasElement => {
            operands.count(0, 1)?;
            return Ok(one(Some(DType::Bool), Some(Vec::new())));
        }
        ContainerOp::OptionalGetElement => {
            operands.count(1, 1)?;
            let value = operands.get(0)?;
            let inner = match value.container {
                Container::Optional => Container::Tensor,
                Container::OptionalSequence => Container::Sequence,
                other => other,
            };
            value.clone().within(inner)
        }
    };
    Ok(vec![fact])
}

fn sequence<'a>(operands: Operands<'a>) -> Result<&'a Fact, Fault> {
    let fact = operands.get(0)?;
    match fact.container {
        Container::Sequence => Ok(fact),
        seen => Err(Fault::Container {
            input: 0,
            seen,
            expected: Container::Sequence,
        }),
    }
}

fn tensor(operands: Operands<'_>, input: usize) -> Result<&Fact, Fault> {
    let fact = operands.get(input)?;
    match fact.container {
        Container::Tensor => Ok(fact),
        seen => Err(Fault::Container {
            input,
            seen,
            expected: Container::Tensor,
        }),
    }
}

/// Checks a position, which is a scalar or, as some write it, a list of one.
fn position(operands: Operands<'_>, input: usize) -> Result<(), Fault> {
    operands.require_index(input)?;
    match operands
        .optional(input)
        .and_then(|fact| fact.shape.as_ref())
    {
        Some(shape) if shape.rank() > 1 => Err(Fault::Shape {
            input,
            seen: shape.clone(),
            expected: "one number".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn construct(operands: Operands<'_>) -> Result<Fact, Fault> {
    operands.count(1, usize::MAX)?;
    let dtype = operands.common_dtype(0..operands.0.len())?;
    let mut shape = tensor(operands, 0)?.shape.clone();
    for input in 1..operands.0.len() {
        shape = either(shape.as_ref(), tensor(operands, input)?.shape.as_ref());
    }
    Ok(Fact::new(dtype, shape).within(Container::Sequence))
}

fn insert(operands: Operands<'_>) -> Result<Fact, Fault> {
    operands.count(2, 3)?;
    position(operands, 2)?;
    let (sequence, item) = (sequence(operands)?, tensor(operands, 1)?);
    let dtype = operands.common_dtype(0..2)?;
    let shape = either(sequence.shape.as_ref(), item.shape.as_ref());
    Ok(Fact::new(dtype, shape).within(Container::Sequence))
}

fn split(axis: i64, keep_dims: bool, operands: Operands<'_>) -> Result<Fact, Fault> {
    operands.count(1, 2)?;
    let data = tensor(operands, 0)?;
    let sizes = operands.list(1)?;
    let part = match (operands.optional(1), sizes.as_deref()) {
        (None, _) => Some(1),
        (Some(_), Some([first, rest @ ..])) if rest.iter().all(|size| size == first) => {
            usize::try_from(*first).ok()
        }
        _ => None,
    };
    let shape = match data.dims() {
        None => None,
        Some(dims) => {
            let place = super::axis(axis, dims.len(), "axis")?;
            let mut dims = dims.to_vec();
            if operands.optional(1).is_none() && !keep_dims {
                dims.remove(place);
            } else {
                let even = |part: &usize| {
                    *part == 1
                        || dims[place]
                            .fixed()
                            .is_some_and(|size| *part > 0 && size.is_multiple_of(*part))
                };
                dims[place] = part.filter(even).map_or(Dim::Any, Dim::Fixed);
            }
            Some(ShapeSpec(dims))
        }
    };
    Ok(Fact::new(data.dtype, shape).within(Container::Sequence))
}

fn concat(axis: i64, new_axis: bool, operands: Operands<'_>) -> Result<Fact, Fault> {
    operands.count(1, 1)?;
    let items = sequence(operands)?;
    let shape = match items.dims() {
        None => None,
        Some(dims) => {
            let mut dims = dims.to_vec();
            let place = super::axis(axis, dims.len() + usize::from(new_axis), "axis")?;
            if new_axis {
                dims.insert(place, Dim::Any);
            } else {
                dims[place] = Dim::Any;
            }
            Some(ShapeSpec(dims))
        }
    };
    Ok(Fact::new(items.dtype, shape))
}

fn optional(empty: Option<(DType, Container)>, operands: Operands<'_>) -> Result<Fact, Fault> {
    operands.count(0, 1)?;
    let Some(value) = operands.optional(0) else {
        let (dtype, container) = empty.ok_or(Fault::NoInput { input: 0 })?;
        return Ok(Fact::new(Some(dtype), None).within(container));
    };
    let outer = match value.container {
        Container::Tensor => Container::Optional,
        Container::Sequence => Container::OptionalSequence,
        seen => {
            return Err(Fault::Container {
                input: 0,
                seen,
                expected: Container::Tensor,
            });
        }
    };
    Ok(Fact::new(value.dtype, value.shape.clone()).within(outer))
}
