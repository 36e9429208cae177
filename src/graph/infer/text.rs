//! Operators on strings, encoders of labels, decision trees.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::dims::broadcast;
use super::operands::{Operands, is_number, one};
use crate::graph::{Fault, NgramCount, Text, TreeEnsemble};

pub(super) fn text(op: &Text, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    match op {
        Text::Concat => {
            operands.count(2, 2)?;
            require_strings(operands, 0)?;
            require_strings(operands, 1)?;
            let dims = match (operands.get(0)?.dims(), operands.get(1)?.dims()) {
                (Some(left), Some(right)) => Some(broadcast(left, right)?),
                _ => None,
            };
            Ok(one(Some(DType::Bytes), dims))
        }
        Text::Split { .. } => {
            operands.count(1, 1)?;
            require_strings(operands, 0)?;
            let shape = operands.get(0)?.shape.clone();
            let parts = shape.clone().map(|mut shape| {
                shape.0.push(Dim::Any);
                shape
            });
            Ok(vec![
                Fact::new(Some(DType::Bytes), parts),
                Fact::new(Some(DType::I64), shape),
            ])
        }
        Text::Normalise { .. } => normalise(operands),
        Text::FullMatch { .. } => {
            operands.count(1, 1)?;
            require_strings(operands, 0)?;
            let shape = operands.get(0)?.shape.clone();
            Ok(vec![Fact::new(Some(DType::Bool), shape)])
        }
        Text::NgramCount(op) => ngram_count(op, operands),
    }
}

fn require_strings(operands: Operands<'_>, input: usize) -> Result<(), Fault> {
    operands.require(input, |dtype| dtype == DType::Bytes, "BYTES")
}

/// How many elements are stop words is not known before.
fn normalise(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    require_strings(operands, 0)?;
    let dims = match operands.get(0)?.dims() {
        None => None,
        Some([_]) => Some(vec![Dim::Any]),
        Some([Dim::Fixed(1) | Dim::Symbol(_) | Dim::Any, _]) => Some(vec![Dim::Fixed(1), Dim::Any]),
        Some(dims) => {
            return Err(Fault::Shape {
                input: 0,
                seen: ShapeSpec(dims.to_vec()),
                expected: "one dimension, or two of which the first is 1".to_owned(),
            });
        }
    };
    Ok(one(Some(DType::Bytes), dims))
}

/// Inputs: data, pool, weights?.
fn ngram_count(op: &NgramCount, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    let accept = |dtype| matches!(dtype, DType::Bytes | DType::I32 | DType::I64);
    operands.require(0, accept, "BYTES, INT32 or INT64")?;
    let columns = op.columns.iter().max().map(|&last| last.saturating_add(1));
    let columns = Dim::Fixed(columns.unwrap_or(0));
    let dims = match operands.get(0)?.dims() {
        None => None,
        Some([] | [_]) => Some(vec![columns]),
        Some([rows, _]) => Some(vec![rows.clone(), columns]),
        Some(dims) => {
            return Err(Fault::Shape {
                input: 0,
                seen: ShapeSpec(dims.to_vec()),
                expected: "at most two dimensions".to_owned(),
            });
        }
    };
    Ok(one(Some(DType::F32), dims))
}

/// Inputs: data, keys, values, default.
pub(super) fn label_encoder(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(4, 4)?;
    operands.common_dtype([0, 1])?;
    let dtype = operands.common_dtype([2, 3])?;
    operands.require_rank(1, 1, "")?;
    operands.require_rank(2, 1, "")?;
    let (keys, values) = (operands.list_length(1), operands.list_length(2));
    if let (Some(keys), Some(values)) = (keys, values)
        && keys != values
    {
        return Err(Fault::Parameter {
            parameter: "the mapping",
            seen: format!("{keys} keys and {values} values"),
            expected: "one value for each key".to_owned(),
        });
    }
    Ok(vec![Fact::new(dtype, operands.get(0)?.shape.clone())])
}

pub(super) fn tree_ensemble(
    trees: &TreeEnsemble,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require(0, is_number, "a numeric datatype")?;
    operands.require_rank(0, 2, ": row, feature")?;
    let data = operands.get(0)?;
    let rows = match data.dims() {
        Some([_, Dim::Fixed(features)]) if *features < trees.features() => {
            return Err(Fault::Shape {
                input: 0,
                seen: data.shape.clone().unwrap_or_default(),
                expected: format!("at least {} features", trees.features()),
            });
        }
        Some([rows, _]) => rows.clone(),
        _ => Dim::Any,
    };
    // Integers have features that a float of 32 bits would round.
    let dtype = data.dtype.map(|dtype| match dtype {
        dtype if dtype.is_float() => dtype,
        _ => DType::F32,
    });
    Ok(one(dtype, Some(vec![rows, Dim::Fixed(trees.targets)])))
}
