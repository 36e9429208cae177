//! Picking elements: slice and gather.

use tch::{Kind, Tensor};

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::args::{Integers, Kernel, axis_of, integers, is_integer, signed};
use super::context::NodeContext;

/// `test_slice`, `test_slice_default_axes`, `test_slice_default_steps`, `test_slice_end_out_of_bounds`,
/// `test_slice_neg`, `test_slice_neg_steps`, `test_slice_negative_axes`, `test_slice_start_out_of_bounds`
pub(super) fn slice(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let [starts, ends] = [context.integers(1)?, context.integers(2)?];
    let [axes, steps]: [Integers; 2] = [context.integers(3)?, context.integers(4)?];
    Ok(Box::new(move |args| {
        let starts = starts.required(args, "starts")?;
        let ends = ends.required(args, "ends")?;
        let axes = axes.read(args)?;
        let steps = steps.read(args)?;
        let lengths = [
            Some(ends.len()),
            axes.as_deref().map(<[_]>::len),
            steps.as_deref().map(<[_]>::len),
        ];
        if lengths
            .into_iter()
            .flatten()
            .any(|length| length != starts.len())
        {
            return Err(Cause::new("starts, ends, axes and steps differ in length"));
        }
        let mut x = args.tensor(0)?.shallow_clone();
        for (index, (&start, &end)) in starts.iter().zip(ends.iter()).enumerate() {
            let axis = axes.as_deref().map_or(signed(index), |axes| axes[index]);
            let step = steps.as_deref().map_or(1, |steps| steps[index]);
            x = slice_along(&x, axis_of(axis, x.dim())?, start, end, step)?;
        }
        Ok(x.into())
    }))
}

/// libtorch has no negative steps: the range is cut out, reversed, and stepped through forwards.
fn slice_along(x: &Tensor, axis: usize, start: i64, end: i64, step: i64) -> Result<Tensor, Cause> {
    let size = x.size()[axis];
    let axis = signed(axis);
    let from_end = |bound: i64| {
        if bound < 0 {
            bound.saturating_add(size)
        } else {
            bound
        }
    };
    if step > 0 {
        let start = from_end(start).clamp(0, size);
        let end = from_end(end).clamp(start, size);
        return Ok(x.f_slice(axis, start, end, step.min(size.max(1)))?);
    }
    if step == 0 {
        return Err(Cause::new("a step is 0"));
    }
    // ONNX lets a start before the first element be the first one.
    let last = from_end(start).clamp(0.min(size - 1), size - 1);
    let first = (from_end(end).clamp(-1, size - 1) + 1).min(last + 1);
    let reversed = x.f_narrow(axis, first, last + 1 - first)?.f_flip([axis])?;
    Ok(reversed.f_slice(axis, 0, size, step.saturating_neg().min(size.max(1)))?)
}

/// `test_gather_0`, `test_gather_1`, `test_gather_2d_indices`, `test_gather_negative_indices`
pub(super) fn gather(context: &NodeContext<'_>, axis: i64) -> Result<Kernel, Cause> {
    let scalar = context
        .constant(1)
        .is_some_and(|indices| indices.shape().is_empty());
    let constant = if scalar {
        context.integers(1)?
    } else {
        Integers::Absent
    };
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        let axis = axis_of(axis, shape.len())?;
        if let Some(index) = constant.read(args)?.and_then(|list| list.first().copied()) {
            return Ok(x.f_select(signed(axis), index)?.into());
        }
        let indices = args.tensor(1)?;
        let flat = beside(&wrapped(indices, shape[axis])?, x)?;
        let mut result = shape.clone();
        result.splice(axis..=axis, indices.size());
        Ok(x.f_index_select(signed(axis), &flat)?
            .f_reshape(result)?
            .into())
    }))
}

/// Returns the indices as a list in which none counts from the end; refuses those outside of `0..size`.
fn wrapped(indices: &Tensor, size: i64) -> Result<Tensor, Cause> {
    if !is_integer(indices)? {
        return Err(Cause::new(format!(
            "indices are {:?}, not integers",
            indices.f_kind()?
        )));
    }
    let flat = indices.f_totype(Kind::Int64)?.f_reshape([-1])?;
    // Few indices, so they are read rather than computed with: an operator call each would cost more.
    let mut list = integers(&flat)?;
    for index in &mut list {
        if !(-size..size).contains(index) {
            return Err(Cause::new(format!(
                "index {index} lies outside of a dimension of {size}"
            )));
        }
        if *index < 0 {
            *index += size;
        }
    }
    Ok(Tensor::f_from_slice(&list)?)
}
