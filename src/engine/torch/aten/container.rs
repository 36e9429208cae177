//! Sequences and optional values. An optional that holds something is that something.

use tch::Tensor;

use crate::graph::ContainerOp;

use super::super::cause::Cause;
use super::args::{Args, Integers, Kernel, axis_of, integers, signed};
use super::context::NodeContext;
use super::datum::Datum;
use super::strings;

/// - `test_sequence_model1` to `test_sequence_model8`, `test_sequence_insert_at_back`, `test_sequence_insert_at_front`
/// - `test_split_to_sequence_1`, `test_split_to_sequence_2`, `test_split_to_sequence_nokeepdims`
/// - `test_optional_get_element_tensor`, `test_optional_has_element_empty_no_input_tensor_input` and their like
pub(super) fn container(context: &NodeContext<'_>, op: ContainerOp) -> Result<Kernel, Cause> {
    Ok(match op {
        ContainerOp::SequenceConstruct => Box::new(|args| {
            let items = (0..args.inputs.len()).map(|input| args.passed_on(input));
            Ok(Datum::Sequence(items.collect::<Result<_, _>>()?).into())
        }),
        ContainerOp::SequenceEmpty { .. } => Box::new(|_| Ok(Datum::Sequence(Vec::new()).into())),
        ContainerOp::SequenceAt => Box::new(|args| {
            let items = args.datum(0)?.sequence()?;
            let place = place_of(args, 1, items.len())?;
            let item = place.and_then(|place| items.get(place)).map(Datum::handle);
            item.ok_or_else(|| Cause::new("the sequence is empty"))
                .map(Into::into)
        }),
        ContainerOp::SequenceInsert => Box::new(|args| {
            let length = args.datum(0)?.sequence()?.len();
            // The end is a place as well.
            let place = match position(args, 2)? {
                Some(place) if usize::try_from(place) == Ok(length) => length,
                Some(_) => place_of(args, 2, length)?.unwrap_or(length),
                None => length,
            };
            let item = args.passed_on(1)?;
            let mut items = owned(args)?;
            items.insert(place, item);
            Ok(Datum::Sequence(items).into())
        }),
        ContainerOp::SequenceErase => Box::new(|args| {
            let length = args.datum(0)?.sequence()?.len();
            let place = match place_of(args, 1, length)? {
                Some(place) => place,
                None => length
                    .checked_sub(1)
                    .ok_or_else(|| Cause::new("the sequence is empty"))?,
            };
            let mut items = owned(args)?;
            items.remove(place);
            Ok(Datum::Sequence(items).into())
        }),
        ContainerOp::SequenceLength => Box::new(|args| {
            let length = signed(args.datum(0)?.sequence()?.len());
            Ok(scalar(&[length])?.into())
        }),
        ContainerOp::SplitToSequence { axis, keep_dims } => split(context, axis, keep_dims)?,
        ContainerOp::ConcatFromSequence { axis, new_axis } => {
            Box::new(move |args| concat(args.datum(0)?.sequence()?, axis, new_axis).map(Into::into))
        }
        ContainerOp::Optional { .. } => {
            if context.has_input(0) {
                Box::new(|args| Ok(args.passed_on(0)?.into()))
            } else {
                Box::new(|_| Ok(Datum::Nothing.into()))
            }
        }
        ContainerOp::OptionalHasElement => Box::new(|args| {
            let there = !matches!(args.given(0), None | Some(Datum::Nothing));
            Ok(scalar(&[there])?.into())
        }),
        ContainerOp::OptionalGetElement => Box::new(|args| match args.passed_on(0)? {
            Datum::Nothing => Err(Cause::new("the optional is empty")),
            datum => Ok(datum.into()),
        }),
    })
}

fn scalar<T: tch::kind::Element>(value: &[T; 1]) -> Result<Tensor, Cause> {
    Ok(Tensor::f_from_slice(value)?.f_reshape([0_i64; 0])?)
}

/// Takes the sequence, or a copy of the list where somebody else needs it.
fn owned(args: &mut Args<'_>) -> Result<Vec<Datum>, Cause> {
    match args.passed_on(0)? {
        Datum::Sequence(items) => Ok(items),
        _ => Err(Cause::new("expected a sequence")),
    }
}

fn position(args: &Args<'_>, input: usize) -> Result<Option<i64>, Cause> {
    let Some(tensor) = args.optional(input)? else {
        return Ok(None);
    };
    match integers(tensor)?.as_slice() {
        [place] => Ok(Some(*place)),
        _ => Err(Cause::new(format!(
            "a position has shape {:?}, not one number",
            tensor.size()
        ))),
    }
}

/// Returns the place of an item that is there; `None` where no position is given.
fn place_of(args: &Args<'_>, input: usize, length: usize) -> Result<Option<usize>, Cause> {
    let Some(given) = position(args, input)? else {
        return Ok(None);
    };
    let count = signed(length);
    let place = if given < 0 {
        given.saturating_add(count)
    } else {
        given
    };
    match usize::try_from(place) {
        Ok(place) if place < length => Ok(Some(place)),
        _ => Err(Cause::new(format!(
            "position {given} lies outside of a sequence of {length}"
        ))),
    }
}

fn split(context: &NodeContext<'_>, axis: i64, keep_dims: bool) -> Result<Kernel, Cause> {
    let sizes = context.integers(1)?;
    // One number for all parts is a scalar; a list has the size of each.
    let constant_scalar = context.constant(1).map(|sizes| sizes.shape().is_empty());
    Ok(Box::new(move |args| {
        let shape = args.datum(0)?.shape()?;
        let axis = axis_of(axis, shape.len())?;
        let size = shape[axis];
        let given = sizes.read(args)?;
        let is_scalar = match (constant_scalar, &sizes) {
            (Some(scalar), _) => scalar,
            (None, Integers::Input(input)) => args.tensor(*input)?.dim() == 0,
            (None, _) => false,
        };
        let parts = match given.as_deref() {
            None => equal_parts(size, 1)?,
            Some([part]) if is_scalar => equal_parts(size, *part)?,
            Some(list) => list.to_vec(),
        };
        let total = parts.iter().try_fold(0_i64, |sum, &part| {
            sum.checked_add(part).filter(|_| part >= 0)
        });
        if total != Some(size) {
            return Err(Cause::new(format!(
                "parts {parts:?} of a dimension of {size}"
            )));
        }
        let squeezed = given.is_none() && !keep_dims;
        let mut first = 0;
        let mut items = Vec::with_capacity(parts.len());
        for part in parts {
            let item = if squeezed {
                args.datum(0)?.select(axis, first)?
            } else {
                args.datum(0)?.narrow(axis, first, part)?
            };
            items.push(item);
            first += part;
        }
        Ok(Datum::Sequence(items).into())
    }))
}

fn equal_parts(size: i64, part: i64) -> Result<Vec<i64>, Cause> {
    if part < 1 {
        return Err(Cause::new(format!("parts of {part}")));
    }
    let mut parts = Vec::new();
    let mut left = size;
    while left > 0 {
        parts.push(part.min(left));
        left -= part.min(left);
    }
    Ok(parts)
}

fn concat(items: &[Datum], axis: i64, new_axis: bool) -> Result<Datum, Cause> {
    let first = items
        .first()
        .ok_or_else(|| Cause::new("the sequence is empty"))?;
    let axis = axis_of(axis, first.rank()? + usize::from(new_axis))?;
    if matches!(first, Datum::Strings(_)) {
        return if new_axis {
            strings::stack(items, axis)
        } else {
            strings::concat(items, axis)
        };
    }
    let tensors = items.iter().map(Datum::tensor);
    let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    let joined = if new_axis {
        Tensor::f_stack(&tensors, signed(axis))?
    } else {
        Tensor::f_cat(&tensors, signed(axis))?
    };
    Ok(joined.into())
}
