//! Attention and rotary position embedding.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::dims::{Product, broadcast_dim, equal_dim, mismatch};
use super::operands::Operands;
use crate::graph::{Attention, Fault, RotaryEmbedding};

/// Sizes of a tensor of heads.
#[derive(Clone)]
struct Heads {
    batch: Dim,
    count: Dim,
    length: Dim,
    size: Dim,
}

impl Heads {
    /// Reads `[batch, heads, length, size]`, or `[batch, length, heads · size]` where there are `count` heads.
    fn of(operands: Operands<'_>, input: usize, count: Option<usize>) -> Result<Self, Fault> {
        let Some(dims) = operands.get(input)?.dims() else {
            return Ok(Self {
                batch: Dim::Any,
                count: count.map_or(Dim::Any, Dim::Fixed),
                length: Dim::Any,
                size: Dim::Any,
            });
        };
        match (dims, count) {
            ([batch, count, length, size], None) => Ok(Self {
                batch: batch.clone(),
                count: count.clone(),
                length: length.clone(),
                size: size.clone(),
            }),
            ([batch, length, hidden], Some(count)) => {
                let size = divided(hidden, count).ok_or_else(|| Fault::Shape {
                    input,
                    seen: ShapeSpec(dims.to_vec()),
                    expected: format!(
                        "a last dimension that is a multiple of {count}, the number of heads"
                    ),
                })?;
                Ok(Self {
                    batch: batch.clone(),
                    count: Dim::Fixed(count),
                    length: length.clone(),
                    size,
                })
            }
            _ => Err(Fault::Shape {
                input,
                seen: ShapeSpec(dims.to_vec()),
                expected: match count {
                    Some(_) => "3 dimensions: batch, sequence, heads · size".to_owned(),
                    None => "4 dimensions: batch, heads, sequence, size".to_owned(),
                },
            }),
        }
    }

    fn dims(self) -> Vec<Dim> {
        vec![self.batch, self.count, self.length, self.size]
    }
}

/// Returns a size divided by a number; `None` if that leaves a rest.
pub(super) fn divided(dim: &Dim, by: usize) -> Option<Dim> {
    match dim.fixed() {
        Some(size) => size.is_multiple_of(by).then(|| Dim::Fixed(size / by)),
        None if by == 1 => Some(dim.clone()),
        None => Some(Dim::Any),
    }
}

/// Returns what `count` heads of a size take when they lie side by side.
pub(super) fn packed(count: &Dim, size: &Dim) -> Result<Dim, Fault> {
    Ok(Product::of(&[count.clone(), size.clone()])?.dim())
}

/// Inputs: Q, K, V, mask?, past key?, past value?, lengths?.
pub(super) fn attention(op: &Attention, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 7)?;
    for input in [0, 1, 2, 4, 5] {
        operands.require_float(input)?;
    }
    operands.require_int64(6)?;
    let dtype = operands.common_dtype([0, 1, 4])?;
    let value_dtype = operands.common_dtype([2, 5])?;
    if let Some(seen) = operands.optional(3).and_then(|mask| mask.dtype)
        && seen != DType::Bool
        && dtype.is_some_and(|dtype| dtype != seen)
    {
        let expected = format!("BOOL, or {} as input 0 is", dtype.unwrap_or(seen));
        return Err(Fault::DType {
            input: 3,
            seen,
            expected,
        });
    }
    let pasts = [4, 5].map(|input| operands.optional(input).is_some());
    if pasts[0] != pasts[1] {
        return Err(Fault::NoInput {
            input: if pasts[0] { 5 } else { 4 },
        });
    }
    let counts = op.heads.map(|heads| (heads.query, heads.key_value));
    let query = Heads::of(operands, 0, counts.map(|counts| counts.0))?;
    let key = Heads::of(operands, 1, counts.map(|counts| counts.1))?;
    let value = Heads::of(operands, 2, counts.map(|counts| counts.1))?;
    check(operands, &query, &key, &value)?;
    let present = |new: &Heads, input: usize| -> Result<Heads, Fault> {
        if !pasts[0] {
            return Ok(new.clone());
        }
        let past = Heads::of(operands, input, None)?;
        let length = match (past.length.fixed(), new.length.fixed()) {
            (Some(past), Some(new)) => past.checked_add(new).map_or(Dim::Any, Dim::Fixed),
            (Some(0), None) => new.length.clone(),
            (None, Some(0)) => past.length.clone(),
            _ => Dim::Any,
        };
        let same = |left: &Dim, right: &Dim| {
            equal_dim(left, right).ok_or_else(|| {
                mismatch(
                    &past.clone().dims(),
                    &new.clone().dims(),
                    "past and new have the same batch, heads and size",
                )
            })
        };
        Ok(Heads {
            batch: same(&new.batch, &past.batch)?,
            count: same(&new.count, &past.count)?,
            length,
            size: same(&new.size, &past.size)?,
        })
    };
    let (key, value) = (present(&key, 4)?, present(&value, 5)?);
    let scores = vec![
        query.batch.clone(),
        query.count.clone(),
        query.length.clone(),
        key.length.clone(),
    ];
    check_mask(operands, &scores)?;
    let result = match op.heads {
        Some(_) => {
            let hidden = packed(&query.count, &value.size)?;
            vec![query.batch, query.length, hidden]
        }
        None => vec![query.batch, query.count, query.length, value.size.clone()],
    };
    let fact = |dtype, dims| Fact::new(dtype, Some(ShapeSpec(dims)));
    let known = op.heads.is_some() || operands.get(0)?.rank().is_some();
    Ok(vec![
        if known {
            fact(dtype, result)
        } else {
            Fact::new(dtype, None)
        },
        fact(dtype, key.dims()),
        fact(value_dtype, value.dims()),
        fact(dtype, scores),
    ])
}

/// Checks that queries, keys and values go together.
fn check(operands: Operands<'_>, query: &Heads, key: &Heads, value: &Heads) -> Result<(), Fault> {
    let equal = |left: &Dim, right: &Dim| equal_dim(left, right).is_some();
    let grouped = match (query.count.fixed(), key.count.fixed()) {
        (Some(query), Some(key)) => key > 0 && query.is_multiple_of(key),
        _ => true,
    };
    let dims = |input: usize| {
        operands
            .optional(input)
            .and_then(Fact::dims)
            .unwrap_or_default()
    };
    if !(equal(&query.batch, &key.batch) && equal(&query.size, &key.size) && grouped) {
        let rule = "queries and keys are of one batch and size, and each head of keys serves as many of queries";
        return Err(mismatch(dims(0), dims(1), rule));
    }
    if !(equal(&key.batch, &value.batch)
        && equal(&key.count, &value.count)
        && equal(&key.length, &value.length))
    {
        let rule = "there is one value for each key";
        return Err(mismatch(dims(1), dims(2), rule));
    }
    Ok(())
}

/// Checks that the mask broadcasts to the scores; its last dimension may be shorter.
fn check_mask(operands: Operands<'_>, scores: &[Dim]) -> Result<(), Fault> {
    let Some(mask) = operands.optional(3).and_then(Fact::dims) else {
        return Ok(());
    };
    let fits = |place: usize, (mask, score): (&Dim, &Dim)| match (mask.fixed(), score.fixed()) {
        (Some(mask), Some(score)) if place == 0 => mask <= score,
        (Some(mask), Some(score)) => mask == 1 || mask == score,
        _ => broadcast_dim(mask.clone(), score.clone()).is_some(),
    };
    let pairs = mask.iter().rev().zip(scores.iter().rev()).enumerate();
    if (1..=4).contains(&mask.len()) && pairs.into_iter().all(|(place, pair)| fits(place, pair)) {
        return Ok(());
    }
    Err(mismatch(
        mask,
        scores,
        "the mask broadcasts to the scores, of which it may lack the last columns",
    ))
}

/// Inputs: X, cosines, sines, positions?.
pub(super) fn rotary_embedding(
    op: &RotaryEmbedding,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 4)?;
    for input in 0..3 {
        operands.require_float(input)?;
    }
    operands.require_int64(3)?;
    let dtype = operands.common_dtype(0..3)?;
    let data = Heads::of(operands, 0, op.heads)?;
    let positions = operands.optional(3).is_some();
    operands.require_rank(3, 2, ": batch, sequence")?;
    if let Some(size) = data.size.fixed() {
        let rotated = op.size.unwrap_or(size);
        if rotated > size || !rotated.is_multiple_of(2) {
            return Err(Fault::Parameter {
                parameter: "rotary_embedding_dim",
                seen: rotated.to_string(),
                expected: format!("an even number of at most {size}, the size of a head"),
            });
        }
        for input in 1..3 {
            let Some(cache) = operands
                .optional(input)
                .and_then(|fact| fact.shape.as_ref())
            else {
                continue;
            };
            let rank = if positions { 2 } else { 3 };
            let columns = cache.0.last().and_then(Dim::fixed);
            if cache.rank() != rank || columns.is_some_and(|columns| columns != rotated / 2) {
                return Err(Fault::Shape {
                    input,
                    seen: cache.clone(),
                    expected: format!("{rank} dimensions, the last of size {}", rotated / 2),
                });
            }
        }
    }
    Ok(vec![Fact::new(dtype, operands.get(0)?.shape.clone())])
}
