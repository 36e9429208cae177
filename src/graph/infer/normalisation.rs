//! Normalisations and Dropout: the data's shape stays.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::dims::broadcast;
use super::operands::Operands;
use crate::graph::{Fault, Normalization};

pub(super) fn normalization(
    kind: Normalization,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    match kind {
        Normalization::Batch { .. } => batch(false, operands),
        Normalization::BatchTraining { .. } => batch(true, operands),
        Normalization::Layer {
            axis,
            brief_statistics,
            ..
        } => layer(axis, brief_statistics, operands),
        Normalization::RootMeanSquare { axis, .. } => {
            over_last(axis, 2, operands)?;
            // The result is scaled last, and of the type that this makes it.
            let data = operands.get(0)?;
            let dtype = operands.get(1)?.dtype.or(data.dtype);
            Ok(vec![Fact::new(dtype, data.shape.clone())])
        }
        Normalization::Group { groups, .. } => group(Some(groups), operands),
        Normalization::Instance { .. } => group(None, operands),
        Normalization::LocalResponse { .. } => {
            operands.count(1, 1)?;
            operands.require_float(0)?;
            channels(operands)?;
            same(operands)
        }
    }
}

fn same(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    let data = operands.get(0)?;
    Ok(vec![Fact::new(data.dtype, data.shape.clone())])
}

/// Returns the number of channels, which the data has to have.
fn channels(operands: Operands<'_>) -> Result<Option<usize>, Fault> {
    let Some(dims) = operands.get(0)?.dims() else {
        return Ok(None);
    };
    match dims.get(1) {
        Some(channels) => Ok(channels.fixed()),
        None => Err(Fault::Shape {
            input: 0,
            seen: ShapeSpec(dims.to_vec()),
            expected: "at least 2 dimensions: batch, channels".to_owned(),
        }),
    }
}

fn batch(training: bool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(5, 5)?;
    let facts = operands.all()?;
    for (input, fact) in facts.iter().enumerate() {
        operands.require_float(input)?;
        let (Some(data), Some(parameter)) = (facts[0].dims(), fact.dims()) else {
            continue;
        };
        if input == 0 {
            continue;
        }
        let channels = data
            .get(1)
            .and_then(Dim::fixed)
            .or((data.len() == 1).then_some(1));
        let fits = match (parameter, channels) {
            ([size], Some(channels)) => size.fixed().is_none_or(|size| size == channels),
            ([_], None) => true,
            _ => false,
        };
        if !fits {
            let seen = ShapeSpec(parameter.to_vec());
            let expected = match channels {
                Some(channels) => format!("[{channels}], one element per channel of input 0"),
                None => "one dimension".to_owned(),
            };
            return Err(Fault::Shape {
                input,
                seen,
                expected,
            });
        }
    }
    let mut outputs = vec![Fact::new(facts[0].dtype, facts[0].shape.clone())];
    if training {
        let statistics = |input: usize| Fact::new(facts[input].dtype, facts[input].shape.clone());
        outputs.extend([3, 4, 3, 4].map(statistics));
    }
    Ok(outputs)
}

fn layer(axis: i64, brief: bool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    let first = over_last(axis, 3, operands)?;
    let data = operands.get(0)?;
    let dims = data.dims().zip(first).map(|(dims, first)| {
        let kept = dims.iter().take(first).cloned();
        let gone = dims.iter().skip(first).map(|_| Dim::Fixed(1));
        ShapeSpec(kept.chain(gone).collect())
    });
    let dtype = if brief { DType::BF16 } else { DType::F32 };
    let statistics = Fact::new(Some(dtype), dims);
    let result = Fact::new(data.dtype, data.shape.clone());
    Ok(vec![result, statistics.clone(), statistics])
}

/// Inputs: data, scale, bias?.
fn over_last(axis: i64, most: usize, operands: Operands<'_>) -> Result<Option<usize>, Fault> {
    operands.count(2, most)?;
    let data = operands.get(0)?;
    for input in 0..3 {
        operands.require_float(input)?;
    }
    let Some(dims) = data.dims() else {
        return Ok(None);
    };
    let first = super::axis(axis, dims.len(), "axis")?;
    for input in 1..3 {
        let Some(parameter) = operands.optional(input).and_then(Fact::dims) else {
            continue;
        };
        if broadcast(&dims[first..], parameter)?.len() > dims.len() - first {
            return Err(super::dims::mismatch(
                &dims[first..],
                parameter,
                "parameters fit the normalised dimensions",
            ));
        }
    }
    Ok(Some(first))
}

/// Inputs: data, scale, bias: one element per channel or, as opset 18 had it, per group.
fn group(groups: Option<usize>, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    for input in 0..3 {
        operands.require_float(input)?;
    }
    let channels = channels(operands)?;
    if let (Some(groups), Some(channels)) = (groups, channels)
        && (groups == 0 || !channels.is_multiple_of(groups))
    {
        return Err(Fault::Parameter {
            parameter: "num_groups",
            seen: groups.to_string(),
            expected: format!("a divisor of the {channels} channels"),
        });
    }
    for input in 1..3 {
        operands.require_rank(input, 1, ", one element per channel")?;
        let size = operands.get(input)?.dims().and_then(|dims| dims[0].fixed());
        if let (Some(size), Some(channels)) = (size, channels)
            && size != channels
            && Some(size) != groups
        {
            return Err(Fault::Shape {
                input,
                seen: ShapeSpec::fixed(&[size]),
                expected: format!("[{channels}], one element per channel of input 0"),
            });
        }
    }
    same(operands)
}

/// Inputs: data, ratio?, training mode?.
pub(super) fn dropout(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 3)?;
    operands.require_float(0)?;
    operands.require_float(1)?;
    operands.require_bool(2)?;
    let data = operands.get(0)?;
    Ok(vec![
        Fact::new(data.dtype, data.shape.clone()),
        Fact::new(Some(DType::Bool), data.shape.clone()),
    ])
}
