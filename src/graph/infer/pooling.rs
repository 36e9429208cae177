//! Pooling: windows, regions and whole images.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::operands::{Operands, one};
use super::window::{Windows, counted, spatial};
use crate::graph::{Fault, MaxRoiPool, MaxUnpool, Pool, PoolKind};

pub(super) fn pool(pool: &Pool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_number(0)?;
    let data = operands.get(0)?;
    let windows = Windows {
        kernel: &pool.kernel,
        auto_pad: pool.auto_pad,
        pads: &pool.pads,
        strides: &pool.strides,
        dilations: &pool.dilations,
        ceil: pool.ceil_mode,
    };
    windows.check(pool.kernel.len())?;
    let Some(dims) = data.dims() else {
        let shape = Some(ShapeSpec(vec![Dim::Any; pool.kernel.len() + 2]));
        return Ok(pooled(pool.kind, data.dtype, shape));
    };
    let (head, sizes) = spatial(0, dims)?;
    if sizes.len() != pool.kernel.len() {
        return Err(Fault::Parameter {
            parameter: "kernel_shape",
            seen: format!("{:?}", pool.kernel),
            expected: format!(
                "{} sizes for data of shape {}",
                sizes.len(),
                ShapeSpec(dims.to_vec())
            ),
        });
    }
    let kernel: Vec<_> = pool.kernel.iter().copied().map(Dim::Fixed).collect();
    let sizes = windows.sizes(sizes, &kernel)?;
    let shape = Some(ShapeSpec([head.to_vec(), sizes].concat()));
    Ok(pooled(pool.kind, data.dtype, shape))
}

/// The maximum comes with the index of each.
fn pooled(kind: PoolKind, dtype: Option<DType>, shape: Option<ShapeSpec>) -> Vec<Fact> {
    let mut facts = vec![Fact::new(dtype, shape.clone())];
    if kind == PoolKind::Max {
        facts.push(Fact::new(Some(DType::I64), shape));
    }
    facts
}

pub(super) fn global_pool(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_float(0)?;
    let data = operands.get(0)?;
    let dims = data.dims().map(|dims| {
        spatial(0, dims)
            .map(|(head, rest)| [head.to_vec(), vec![Dim::Fixed(1); rest.len()]].concat())
    });
    Ok(one(data.dtype, dims.transpose()?))
}

/// Inputs: data, indices, shape?.
pub(super) fn max_unpool(op: &MaxUnpool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require_float(0)?;
    operands.require_int64(1)?;
    operands.require_int64(2)?;
    let rank = op.kernel.len();
    counted("kernel_shape", &op.kernel, rank, true)?;
    counted("pads", &op.pads, 2 * rank, false)?;
    counted("strides", &op.strides, rank, true)?;
    let (data, indices) = (operands.get(0)?, operands.get(1)?);
    if let (Some(left), Some(right)) = (data.dims(), indices.dims())
        && (left.len() != right.len()
            || left
                .iter()
                .zip(right)
                .any(|(left, right)| super::dims::equal_dim(left, right).is_none()))
    {
        return Err(super::dims::mismatch(
            left,
            right,
            "data and indices are of one shape",
        ));
    }
    if operands.optional(2).is_some() {
        let sizes = operands.list(2)?;
        let dims = match sizes {
            Some(sizes) => sizes
                .iter()
                .map(|&size| usize::try_from(size).ok().map(Dim::Fixed))
                .collect::<Option<Vec<_>>>()
                .ok_or(Fault::Parameter {
                    parameter: "output_shape",
                    seen: format!("{sizes:?}"),
                    expected: "sizes of at least 0".to_owned(),
                })?,
            None => vec![Dim::Any; rank + 2],
        };
        return Ok(one(data.dtype, Some(dims)));
    }
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, Some(vec![Dim::Any; rank + 2])));
    };
    let (head, sizes) = spatial(0, dims)?;
    if sizes.len() != rank {
        return Err(Fault::Parameter {
            parameter: "kernel_shape",
            seen: format!("{:?}", op.kernel),
            expected: format!(
                "{} sizes for data of shape {}",
                sizes.len(),
                ShapeSpec(dims.to_vec())
            ),
        });
    }
    let at = |values: &[usize], place: usize, default: usize| {
        values.get(place).copied().unwrap_or(default) as i128
    };
    let sizes = sizes.iter().enumerate().map(|(place, size)| {
        let Some(size) = size.fixed() else {
            return Some(Dim::Any);
        };
        let grown = (size as i128 - 1) * at(&op.strides, place, 1) + op.kernel[place] as i128
            - at(&op.pads, place, 0)
            - at(&op.pads, rank + place, 0);
        usize::try_from(grown).ok().map(Dim::Fixed)
    });
    let sizes = sizes.collect::<Option<Vec<_>>>().ok_or(Fault::Parameter {
        parameter: "pads",
        seen: format!("{:?}", op.pads),
        expected: "less padding than the output would have elements".to_owned(),
    })?;
    Ok(one(data.dtype, Some([head.to_vec(), sizes].concat())))
}

/// Inputs: data, regions.
pub(super) fn max_roi_pool(op: &MaxRoiPool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_float(0)?;
    let dtype = operands.common_dtype(0..2)?;
    operands.require_rank(0, 4, ": batch, channels, height, width")?;
    operands.require_rank(1, 2, ": regions, five numbers each")?;
    let at = |input: usize, place: usize| -> Result<Dim, Fault> {
        let dims = operands.get(input)?.dims();
        Ok(dims.map_or(Dim::Any, |dims| dims[place].clone()))
    };
    let [height, width] = op.size.map(Dim::Fixed);
    Ok(one(dtype, Some(vec![at(1, 0)?, at(0, 1)?, height, width])))
}
