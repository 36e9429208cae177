//! Operators that reduce windows to one element.

use super::super::call::{Call, Form};
use super::convolution::sizes;
use super::registry::Rule;
use crate::graph::{AutoPad, Fault, Op, Pool, PoolKind, ValueId};
use crate::types::Dim;

pub(super) const RULES: &[Rule] = &[
    ("_adaptive_avg_pool2d.default", |call| adaptive(call, 2)),
    ("_adaptive_avg_pool3d.default", |call| adaptive(call, 3)),
    ("adaptive_avg_pool1d.default", |call| adaptive(call, 1)),
    ("adaptive_avg_pool2d.default", |call| adaptive(call, 2)),
    ("adaptive_avg_pool3d.default", |call| adaptive(call, 3)),
    ("avg_pool1d.default", |call| average(call, 1)),
    ("avg_pool2d.default", |call| average(call, 2)),
    ("avg_pool3d.default", |call| average(call, 3)),
    ("max_pool1d.default", |call| maximum(call, 1)),
    ("max_pool2d.default", |call| maximum(call, 2)),
    ("max_pool2d_with_indices.default", |call| maximum(call, 2)),
    ("max_pool3d.default", |call| maximum(call, 3)),
    ("max_pool3d_with_indices.default", |call| maximum(call, 3)),
];

/// Returns the data if it has a batch and channels.
fn data(call: &mut Call<'_>, spatial: usize) -> Result<Option<ValueId>, Fault> {
    let data = call.tensor("self")?;
    Ok((call.rank(data) == Some(spatial + 2)).then_some(data))
}

fn pool(call: &Call<'_>, kind: PoolKind, spatial: usize) -> Result<Pool, Fault> {
    let kernel = sizes(call, "kernel_size", spatial, 0)?;
    let strides = sizes(call, "stride", spatial, 0)?;
    Ok(Pool {
        kind,
        // Windows lie side by side unless the file says otherwise.
        strides: if strides.contains(&0) {
            kernel.clone()
        } else {
            strides
        },
        kernel,
        auto_pad: AutoPad::Explicit,
        pads: sizes(call, "padding", spatial, 0)?.repeat(2),
        dilations: sizes(call, "dilation", spatial, 1)?,
        ceil_mode: call.arguments.flag("ceil_mode", false)?,
        count_include_pad: call.arguments.flag("count_include_pad", true)?,
        column_major: false,
    })
}

/// The indices of libtorch are those in one image, the canonical ones in the whole data.
fn maximum(call: &mut Call<'_>, spatial: usize) -> Result<Form, Fault> {
    let Some(data) = data(call, spatial)? else {
        return Ok(Form::Aten);
    };
    if call.reads_beyond_first() {
        return Ok(Form::Aten);
    }
    let mut pool = pool(call, PoolKind::Max, spatial)?;
    pool.count_include_pad = false;
    Ok(Form::Node(Op::Pool(pool), vec![Some(data)]))
}

fn average(call: &mut Call<'_>, spatial: usize) -> Result<Form, Fault> {
    let Some(data) = data(call, spatial)? else {
        return Ok(Form::Aten);
    };
    if call.arguments.int("divisor_override")?.is_some() {
        return Ok(Form::Aten);
    }
    let pool = pool(call, PoolKind::Average, spatial)?;
    Ok(Form::Node(Op::Pool(pool), vec![Some(data)]))
}

/// Windows of one size cover the data where its sizes are multiples of those wanted.
fn adaptive(call: &mut Call<'_>, spatial: usize) -> Result<Form, Fault> {
    let Some(data) = data(call, spatial)? else {
        return Ok(Form::Aten);
    };
    let wanted = sizes(call, "output_size", spatial, 0)?;
    if wanted.iter().all(|&size| size == 1) {
        return Ok(Form::Node(
            Op::GlobalPool(PoolKind::Average),
            vec![Some(data)],
        ));
    }
    let dims = call.builder.fact(data).dims().unwrap_or_default();
    let given: Option<Vec<usize>> = dims.iter().skip(2).map(Dim::fixed).collect();
    let Some(given) = given else {
        return Ok(Form::Aten);
    };
    let pairs = || given.iter().zip(&wanted);
    if pairs().any(|(&given, &wanted)| wanted == 0 || !given.is_multiple_of(wanted) || given == 0) {
        return Ok(Form::Aten);
    }
    let kernel: Vec<usize> = pairs().map(|(given, wanted)| given / wanted).collect();
    let pool = Pool {
        kind: PoolKind::Average,
        strides: kernel.clone(),
        dilations: vec![1; spatial],
        kernel,
        auto_pad: AutoPad::Explicit,
        pads: vec![0; 2 * spatial],
        ceil_mode: false,
        count_include_pad: false,
        column_major: false,
    };
    Ok(Form::Node(Op::Pool(pool), vec![Some(data)]))
}
