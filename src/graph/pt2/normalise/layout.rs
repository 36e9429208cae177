//! Operators that change shapes or dtypes and leave elements as they are.

use super::super::argument::missing;
use super::super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::infer::Fact;
use crate::graph::{Fault, Index, Op, ValueId};
use crate::types::{DType, Dim};

pub(super) const RULES: &[Rule] = &[
    ("_to_copy.default", convert),
    ("_unsafe_view.default", |call| reshape(call, "size")),
    ("alias.default", same),
    ("cat.default", concat),
    ("clone.default", same),
    ("contiguous.default", same),
    ("detach.default", same),
    ("detach_.default", same),
    ("expand.default", expand),
    ("flatten.using_ints", flatten),
    ("lift_fresh.default", same),
    ("lift_fresh_copy.default", same),
    ("permute.default", permute),
    ("pixel_shuffle.default", pixel_shuffle),
    ("repeat.default", repeat),
    ("reshape.default", |call| reshape(call, "shape")),
    ("squeeze.default", squeeze),
    ("squeeze.dim", squeeze),
    ("squeeze.dims", squeeze),
    ("stack.default", stack),
    ("sym_size.int", sym_size),
    ("t.default", |call| {
        let data = call.tensor("self")?;
        match call.rank_of(data, "self")? {
            2 => Ok(transposed(data, vec![1, 0])),
            _ => Ok(Form::Node(Op::Identity, vec![Some(data)])),
        }
    }),
    ("to.device", convert),
    ("to.dtype", convert),
    ("to.dtype_layout", convert),
    ("to.other", convert_like),
    ("transpose.int", transpose),
    ("type_as.default", convert_like),
    ("unflatten.int", unflatten),
    ("unsqueeze.default", unsqueeze),
    ("view.default", |call| reshape(call, "size")),
];

/// Copies, and what only the memory shows.
fn same(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments.ignore(&["memory_format"]);
    let data = call.tensor("self")?;
    Ok(Form::Node(Op::Identity, vec![Some(data)]))
}

/// Blocks choose devices and layouts themselves.
fn convert(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments.ignore(&[
        "layout",
        "device",
        "pin_memory",
        "non_blocking",
        "copy",
        "memory_format",
    ]);
    let data = call.tensor("self")?;
    let to = call.arguments.dtype("dtype")?;
    converted(call, data, to)
}

fn convert_like(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments
        .ignore(&["non_blocking", "copy", "memory_format"]);
    let (data, other) = (call.tensor("self")?, call.tensor("other")?);
    let to = call.dtype_of(other, "other")?;
    converted(call, data, Some(to))
}

fn converted(call: &Call<'_>, data: ValueId, to: Option<DType>) -> Result<Form, Fault> {
    let own = call.dtype_of(data, "self")?;
    let op = match to {
        Some(to) if to != own => Op::Cast { to },
        _ => Op::Identity,
    };
    Ok(Form::Node(op, vec![Some(data)]))
}

/// A size of 0 is one, unless it is put in for a size that is copied.
fn reshape(call: &mut Call<'_>, name: &str) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let shape = call.sizes(name)?;
    let known = call.builder.fact(shape).numbers();
    let allow_zero = known.is_some_and(|sizes| sizes.contains(&0));
    Ok(Form::Node(
        Op::Reshape { allow_zero },
        vec![Some(data), Some(shape)],
    ))
}

/// Returns the reshaping of `data` that copies the sizes before `first`, has `between` next, and ends with `rest`.
fn regrouped(
    call: &mut Call<'_>,
    data: ValueId,
    first: usize,
    between: &[i64],
    rest: &[Dim],
) -> Result<Form, Fault> {
    let rest: Option<Vec<i64>> = rest
        .iter()
        .map(|dim| i64::try_from(dim.fixed()?).ok().filter(|&size| size > 0))
        .collect();
    let Some(rest) = rest else {
        return Ok(Form::Aten);
    };
    let shape = [vec![0; first].as_slice(), between, &rest].concat();
    let shape = call.integers("shape", &shape)?;
    let op = Op::Reshape { allow_zero: false };
    Ok(Form::Node(op, vec![Some(data), Some(shape)]))
}

fn flatten(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let start = call.arguments.int_or("start_dim", 0)?;
    let end = call.arguments.int_or("end_dim", -1)?;
    let (start, end) = (call.axis(data, start)?, call.axis(data, end)?);
    if start == end && call.rank(data) != Some(0) {
        return Ok(Form::Node(Op::Identity, vec![Some(data)]));
    }
    let dims = call.builder.fact(data).dims().unwrap_or_default();
    if start == 1 && end + 1 == dims.len() {
        return Ok(Form::Node(Op::Flatten { axis: 1 }, vec![Some(data)]));
    }
    let rest = dims.get(end + 1..).unwrap_or_default().to_vec();
    regrouped(call, data, start, &[-1], &rest)
}

fn unflatten(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let axis = call.arguments.int_or("dim", 0)?;
    let axis = call.axis(data, axis)?;
    let sizes = call
        .arguments
        .ints("sizes")?
        .ok_or_else(|| missing("sizes"))?;
    if sizes.contains(&0) {
        return Ok(Form::Aten);
    }
    let dims = call.builder.fact(data).dims().unwrap_or_default();
    let rest = dims.get(axis + 1..).unwrap_or_default().to_vec();
    regrouped(call, data, axis, &sizes, &rest)
}

fn transposed(data: ValueId, permutation: Vec<usize>) -> Form {
    let permutation = Some(permutation);
    Form::Node(Op::Transpose { permutation }, vec![Some(data)])
}

fn permute(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let axes = call
        .arguments
        .ints("dims")?
        .ok_or_else(|| missing("dims"))?;
    let axes = axes.into_iter().map(|axis| call.axis(data, axis));
    let axes = axes.collect::<Result<_, _>>()?;
    Ok(transposed(data, axes))
}

fn transpose(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let rank = call.rank_of(data, "self")?;
    let first = call.arguments.int_or("dim0", 0)?;
    let second = call.arguments.int_or("dim1", 0)?;
    let (first, second) = (call.axis(data, first)?, call.axis(data, second)?);
    let mut permutation: Vec<usize> = (0..rank).collect();
    if rank > 0 {
        permutation.swap(first, second);
    }
    Ok(transposed(data, permutation))
}

fn unsqueeze(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let axis = call.arguments.int("dim")?.ok_or_else(|| missing("dim"))?;
    let axes = call.integers("axes", &[axis])?;
    Ok(Form::Node(Op::Unsqueeze, vec![Some(data), Some(axes)]))
}

/// Drops dimensions of size 1 only. A size that is a symbol is another one: the exporter would have told.
fn squeeze(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let rank = call.rank_of(data, "self")?;
    let wanted = match call.arguments.ints("dim")? {
        Some(axes) => axes,
        None => (0..rank)
            .filter_map(|axis| i64::try_from(axis).ok())
            .collect(),
    };
    let mut axes = Vec::with_capacity(wanted.len());
    for axis in wanted {
        let axis = call.axis(data, axis)?;
        let dims = call.builder.fact(data).dims().unwrap_or_default();
        if dims.get(axis).and_then(Dim::fixed) == Some(1) {
            axes.extend(i64::try_from(axis));
        }
    }
    if axes.is_empty() {
        return Ok(Form::Node(Op::Identity, vec![Some(data)]));
    }
    let axes = call.integers("axes", &axes)?;
    Ok(Form::Node(Op::Squeeze, vec![Some(data), Some(axes)]))
}

/// A size of −1 is kept, which is what stretching to 1 does here.
fn expand(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments.ignore(&["implicit"]);
    let data = call.tensor("self")?;
    let shape = call.sizes_with("size", |size| if size == -1 { 1 } else { size })?;
    Ok(Form::Node(Op::Expand, vec![Some(data), Some(shape)]))
}

fn repeat(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let rank = call.rank_of(data, "self")?;
    let repeats = call.sizes("repeats")?;
    let wanted = call
        .builder
        .fact(repeats)
        .dims()
        .and_then(|dims| dims.first()?.fixed());
    let Some(added) = wanted.and_then(|wanted| wanted.checked_sub(rank)) else {
        return Ok(Form::Aten);
    };
    let mut data = data;
    if added > 0 {
        let axes: Vec<i64> = (0..added)
            .filter_map(|axis| i64::try_from(axis).ok())
            .collect();
        let axes = call.integers("axes", &axes)?;
        data = call.step("wide", Op::Unsqueeze, vec![Some(data), Some(axes)])?;
    }
    Ok(Form::Node(
        Op::Index(Index::Tile),
        vec![Some(data), Some(repeats)],
    ))
}

fn concat(call: &mut Call<'_>) -> Result<Form, Fault> {
    let tensors = call.tensors("tensors")?;
    let axis = call.arguments.int_or("dim", 0)?;
    let facts = tensors.iter().map(|&tensor| call.builder.fact(tensor));
    let mut dtypes: Vec<_> = facts.clone().map(|fact| fact.dtype).collect();
    dtypes.dedup();
    // An empty list once had one dimension, whatever it is joined with.
    let mut ranks: Vec<_> = facts.map(Fact::rank).collect();
    ranks.dedup();
    if tensors.is_empty() || dtypes.len() > 1 || ranks.len() > 1 {
        return Ok(Form::Aten);
    }
    let tensors = tensors.into_iter().map(Some).collect();
    Ok(Form::Node(Op::Concat { axis }, tensors))
}

fn stack(call: &mut Call<'_>) -> Result<Form, Fault> {
    let tensors = call.tensors("tensors")?;
    let axis = call.arguments.int_or("dim", 0)?;
    let mut slices = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let axes = call.integers("axes", &[axis])?;
        let inputs = vec![Some(tensor), Some(axes)];
        slices.push(Some(call.step("slice", Op::Unsqueeze, inputs)?));
    }
    Ok(Form::Node(Op::Concat { axis }, slices))
}

/// Sizes are lists of one element here, of which shapes are made by joining.
fn sym_size(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let axis = call.arguments.int_or("dim", 0)?;
    let axis = i64::try_from(call.axis(data, axis)?).unwrap_or(i64::MAX);
    let op = Op::Shape {
        start: axis,
        end: Some(axis.saturating_add(1)),
    };
    Ok(Form::Node(op, vec![Some(data)]))
}

fn pixel_shuffle(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let factor = call.arguments.int_or("upscale_factor", 0)?;
    match (usize::try_from(factor), call.rank(data)) {
        (Ok(block), Some(4)) if block > 0 => {
            let op = Op::DepthToSpace {
                block,
                channels_first: true,
            };
            Ok(Form::Node(op, vec![Some(data)]))
        }
        _ => Ok(Form::Aten),
    }
}
