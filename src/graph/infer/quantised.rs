//! Operators on quantised numbers.

use crate::types::{DType, Dim, ShapeSpec};

use super::dims::{axis, mismatch};
use super::operands::{Operands, one};
use super::{Fact, convolution, linear};
use crate::graph::{Conv, Fault, Quantised, Scaling};

pub(super) fn infer(op: &Quantised, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    match op {
        Quantised::Quantize { scaling, to, .. } => quantize(*scaling, *to, operands),
        Quantised::Dequantize { scaling, to } => dequantize(*scaling, *to, operands),
        Quantised::DynamicQuantize => dynamic_quantize(operands),
        Quantised::MatMul => {
            operands.count(8, 8)?;
            let dims = product(operands, 0, 3)?;
            Ok(one(operands.common_dtype([7])?, dims))
        }
        Quantised::Conv(conv) => {
            operands.count(8, 9)?;
            let dims = convolution(conv, operands, 0, 3, operands.optional(8))?;
            Ok(one(operands.common_dtype([7])?, dims))
        }
        Quantised::MatMulInteger => {
            operands.count(2, 4)?;
            Ok(one(Some(DType::I32), product(operands, 0, 1)?))
        }
        Quantised::ConvInteger(conv) => {
            operands.count(2, 4)?;
            let dims = convolution(conv, operands, 0, 1, None)?;
            Ok(one(Some(DType::I32), dims))
        }
    }
}

fn quantize(scaling: Scaling, to: DType, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require(
        0,
        |dtype| dtype.is_float() || dtype == DType::I32,
        "a floating-point datatype or INT32",
    )?;
    let to = match operands.optional(2) {
        Some(zero_point) => zero_point.dtype,
        None => Some(to),
    };
    if let Some(seen) = to.filter(|&to| !is_quantised(to)) {
        return Err(Fault::Parameter {
            parameter: "the datatype of the result",
            seen: seen.to_string(),
            expected: "an integer of at most 16 bits or a narrow float".to_owned(),
        });
    }
    let data = operands.get(0)?;
    check_scaling(scaling, operands)?;
    Ok(vec![Fact::new(to, data.shape.clone())])
}

fn dequantize(
    scaling: Scaling,
    to: Option<DType>,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require(
        0,
        |dtype| is_quantised(dtype) || dtype == DType::I32,
        "an integer of at most 32 bits or a narrow float",
    )?;
    operands.common_dtype([0, 2])?;
    let data = operands.get(0)?;
    check_scaling(scaling, operands)?;
    let to = match (to, operands.get(1)?.dtype) {
        (None, Some(scale)) if scale.is_narrow_float() => Some(DType::F32),
        (to, scale) => to.or(scale),
    };
    Ok(vec![Fact::new(to, data.shape.clone())])
}

fn dynamic_quantize(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_float(0)?;
    let data = operands.get(0)?;
    let scalar = || Some(ShapeSpec(Vec::new()));
    Ok(vec![
        Fact::new(Some(DType::U8), data.shape.clone()),
        Fact::new(data.dtype, scalar()),
        Fact::new(Some(DType::U8), scalar()),
    ])
}

fn is_quantised(dtype: DType) -> bool {
    use DType::{I2, I4, I8, I16, U2, U4, U8, U16};
    dtype.is_narrow_float() || matches!(dtype, I2 | I4 | I8 | I16 | U2 | U4 | U8 | U16)
}

/// Checks that a scale (input 1) and zero point (input 2) can be laid against data (input 0).
fn check_scaling(scaling: Scaling, operands: Operands<'_>) -> Result<(), Fault> {
    let Some(scale) = operands.get(1)?.dims() else {
        return Ok(());
    };
    if let Some(zero_point) = operands.optional(2).and_then(Fact::dims) {
        let single = |dims: &[Dim]| dims.iter().all(|dim| dim.fixed() == Some(1));
        let as_scale = zero_point.len() == scale.len()
            && zero_point.iter().zip(scale).all(|(a, b)| same(a, b));
        let for_all = single(zero_point) && single(scale);
        if !(as_scale || for_all) {
            return Err(Fault::Shape {
                input: 2,
                seen: ShapeSpec(zero_point.to_vec()),
                expected: format!("{} as the scale has", ShapeSpec(scale.to_vec())),
            });
        }
    }
    let Some(data) = operands.get(0)?.dims() else {
        return Ok(());
    };
    if scale.iter().all(|dim| dim.fixed() == Some(1)) && scale.len() <= 1 {
        return Ok(());
    }
    let blocks = scaling.block > 0;
    let rule = if blocks {
        "the scale has one size for each block along the axis, and else those of the data"
    } else {
        "the scale is a scalar, or a list with an element for each along the axis of the data"
    };
    let wrong = || mismatch(data, scale, rule);
    if scale.len() == 1 && !blocks {
        let along = axis(scaling.axis, data.len(), "axis")?;
        return if same(&data[along], &scale[0]) {
            Ok(())
        } else {
            Err(wrong())
        };
    }
    if !blocks || scale.len() != data.len() {
        return Err(wrong());
    }
    let along = axis(scaling.axis, data.len(), "axis")?;
    let fits = data
        .iter()
        .zip(scale)
        .enumerate()
        .all(
            |(place, (size, blocks))| match (place == along, size.fixed()) {
                (true, Some(size)) => same(&Dim::Fixed(size.div_ceil(scaling.block)), blocks),
                (true, None) => true,
                (false, _) => same(size, blocks),
            },
        );
    if fits { Ok(()) } else { Err(wrong()) }
}

fn same(left: &Dim, right: &Dim) -> bool {
    match (left.fixed(), right.fixed()) {
        (Some(left), Some(right)) => left == right,
        _ => true,
    }
}

/// Returns the shape of the product of two inputs, whatever their dtypes.
fn product(operands: Operands<'_>, a: usize, b: usize) -> Result<Option<Vec<Dim>>, Fault> {
    let (a, b) = (untyped(operands.get(a)?), untyped(operands.get(b)?));
    dims(linear::matmul(Operands(&[Some(&a), Some(&b)])))
}

/// Returns the shape of a convolution of two inputs, whatever their dtypes.
fn convolution(
    conv: &Conv,
    operands: Operands<'_>,
    data: usize,
    weight: usize,
    bias: Option<&Fact>,
) -> Result<Option<Vec<Dim>>, Fault> {
    let (data, weight) = (untyped(operands.get(data)?), untyped(operands.get(weight)?));
    let bias = bias.map(untyped);
    let inputs = [Some(&data), Some(&weight), bias.as_ref()];
    dims(convolution::conv(conv, Operands(&inputs)))
}

fn untyped(fact: &Fact) -> Fact {
    Fact::new(None, fact.shape.clone())
}

fn dims(facts: Result<Vec<Fact>, Fault>) -> Result<Option<Vec<Dim>>, Fault> {
    Ok(facts?.first().and_then(Fact::dims).map(<[Dim]>::to_vec))
}
