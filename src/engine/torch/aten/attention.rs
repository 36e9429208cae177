//! Scaled dot-product attention.

use tch::{Kind, Tensor};

use crate::graph::{Attention, Heads, Scores};

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar;
use super::args::{Args, Kernel, Outputs, signed};
use super::context::NodeContext;

/// All `test_attention_…`, and `test_flexattention_…` without functions of the model's.
///
/// One call of libtorch's fused kernel, which keeps no scores. They are computed step by step where the model reads
/// them, bounds them or wants its softmax in another precision than FP32 or its own.
pub(super) fn attention(context: &NodeContext<'_>, op: &Attention) -> Kernel {
    let op = op.clone();
    let shows_scores = context.node().outputs.get(3).is_some_and(Option::is_some);
    Box::new(move |args| run(&op, shows_scores, args))
}

fn run(op: &Attention, shows_scores: bool, args: &Args<'_>) -> Result<Outputs, Cause> {
    let counts = op.heads.map(|heads: Heads| (heads.query, heads.key_value));
    let query = heads(args.tensor(0)?, counts.map(|counts| counts.0))?;
    let mut key = heads(args.tensor(1)?, counts.map(|counts| counts.1))?;
    let mut value = heads(args.tensor(2)?, counts.map(|counts| counts.1))?;
    let mut past = 0;
    if let (Some(past_key), Some(past_value)) = (args.optional(4)?, args.optional(5)?) {
        past = *past_key.size().get(2).unwrap_or(&0);
        key = Tensor::f_cat(&[past_key, &key], 2)?;
        value = Tensor::f_cat(&[past_value, &value], 2)?;
    }
    check(&query, &key, &value)?;
    let kind = query.f_kind()?;
    let precision = op.softmax_dtype.map(kind_of).transpose()?;
    let fused = !shows_scores
        && op.softcap.is_none()
        && value.f_kind()? == kind
        && precision.is_none_or(|precision| {
            precision == kind || precision == Kind::Float && kind != Kind::Double
        });
    // Where nothing but the order limits the keys, libtorch needs no mask for it.
    let ordered = fused
        && op.causal
        && past == 0
        && args.optional(3)?.is_none()
        && args.optional(6)?.is_none();
    let mask = if ordered {
        None
    } else {
        mask(op, args, &query, &key, past)?
    };
    let (result, scores) = if fused {
        (
            fused_attention(op, &query, &key, &value, mask, ordered)?,
            None,
        )
    } else {
        let (result, scores) =
            stepwise(op, precision.unwrap_or(kind), [&query, &key, &value], mask)?;
        (result, Some(scores))
    };
    let result = if op.heads.is_some() {
        result.f_transpose(1, 2)?.f_flatten(2, 3)?
    } else {
        result
    };
    let mut outputs = vec![result, key, value];
    outputs.extend(scores);
    Ok(outputs.into())
}

/// Returns `[batch, heads, sequence, size]`.
fn heads(tensor: &Tensor, count: Option<usize>) -> Result<Tensor, Cause> {
    match (tensor.dim(), count) {
        (3, Some(count)) => Ok(tensor
            .f_unflatten(2, [signed(count), -1])?
            .f_transpose(1, 2)?),
        (4, None) => Ok(tensor.shallow_clone()),
        _ => Err(Cause::new(format!(
            "heads cannot be told apart in shape {:?}",
            tensor.size()
        ))),
    }
}

fn check(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<(), Cause> {
    let [q, k, v] = [query, key, value].map(Tensor::size);
    let grouped = k[1] > 0 && q[1] % k[1] == 0;
    if q[0] == k[0] && q[3] == k[3] && grouped && k[..3] == v[..3] {
        return Ok(());
    }
    Err(Cause::new(format!(
        "queries {q:?}, keys {k:?} and values {v:?} do not go together"
    )))
}

/// Returns what the operator masks, by all its ways to say so.
fn mask(
    op: &Attention,
    args: &Args<'_>,
    query: &Tensor,
    key: &Tensor,
    past: i64,
) -> Result<Option<Tensor>, Cause> {
    let mut mask = match args.optional(3)? {
        Some(mask) => Some(fitted(mask, key)?),
        None => None,
    };
    if op.causal {
        mask = limited(mask, &earlier(query, key, past)?)?;
    }
    if let Some(lengths) = args.optional(6)? {
        mask = limited(mask, &padding(lengths, key)?)?;
    }
    Ok(mask)
}

/// Returns a mask of 4 dimensions that has a column for every key. Those it lacks are masked.
fn fitted(mask: &Tensor, key: &Tensor) -> Result<Tensor, Cause> {
    let shape = mask.size();
    let missing = key.size()[2] - shape.last().copied().unwrap_or(0);
    if shape.is_empty() || shape.len() > 4 || missing < 0 {
        return Err(Cause::new(format!(
            "a mask of shape {shape:?} does not fit keys {:?}",
            key.size()
        )));
    }
    let mut full = vec![1; 4 - shape.len()];
    full.extend(&shape);
    let mask = mask.f_reshape(&full)?;
    if missing == 0 {
        return Ok(mask);
    }
    let rest = [full[0], full[1], full[2], missing];
    let filler = match mask.f_kind()? {
        Kind::Bool => Tensor::f_zeros(rest, (Kind::Bool, mask.device()))?,
        kind => beside(&scalar::full(&rest, f64::NEG_INFINITY, kind)?, &mask)?,
    };
    Ok(Tensor::f_cat(&[mask, filler], 3)?)
}

/// Returns where a query may look, the keys being `past` ahead of it: `[1, 1, queries, keys]`.
fn earlier(query: &Tensor, key: &Tensor, past: i64) -> Result<Tensor, Cause> {
    let shape = [1, 1, query.size()[2], key.size()[2]];
    Ok(Tensor::f_ones(shape, (Kind::Bool, query.device()))?.f_tril(past)?)
}

/// Returns which keys are no padding: `[batch, 1, 1, keys]`.
fn padding(lengths: &Tensor, key: &Tensor) -> Result<Tensor, Cause> {
    let (batch, keys) = (key.size()[0], key.size()[2]);
    if lengths.size() != [batch] {
        return Err(Cause::new(format!(
            "{batch} lengths are needed, got {:?}",
            lengths.size()
        )));
    }
    // The count of ones up to each key, which is its position and one.
    let positions =
        Tensor::f_ones([keys], (Kind::Int64, key.device()))?.f_cumsum(0, Kind::Int64)?;
    Ok(lengths
        .f_reshape([batch, 1, 1, 1])?
        .f_ge_tensor(&positions)?)
}

/// Takes from a mask what `allowed` does not allow.
fn limited(mask: Option<Tensor>, allowed: &Tensor) -> Result<Option<Tensor>, Cause> {
    Ok(Some(match mask {
        None => allowed.shallow_clone(),
        Some(mask) if mask.f_kind()? == Kind::Bool => mask.f_logical_and(allowed)?,
        Some(mask) => {
            let never = scalar::full(&[], f64::NEG_INFINITY, mask.f_kind()?)?;
            mask.f_where_self(allowed, &never)?
        }
    }))
}

fn fused_attention(
    op: &Attention,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<Tensor>,
    causal: bool,
) -> Result<Tensor, Cause> {
    let (shape, groups) = (query.size(), key.size()[1]);
    let scale = op.scale.map(f64::from);
    let attend = |query: &Tensor, key: &Tensor, value: &Tensor, mask: Option<Tensor>| {
        Tensor::f_scaled_dot_product_attention(query, key, value, mask, 0.0, causal, scale, false)
    };
    let shared = shape[1] / groups;
    if shared == 1 {
        return Ok(attend(query, key, value, mask)?);
    }
    // One query of each head: those that share a key are the rows of one attention, and nothing is repeated.
    let rows = [shape[0], groups, shared, shape[3]];
    if shape[2] == 1 && !causal && mask.as_ref().is_none_or(|mask| mask.size()[1] == 1) {
        let result = attend(&query.f_reshape(rows)?, key, value, mask)?;
        return Ok(result.f_reshape([shape[0], shape[1], 1, -1])?);
    }
    attend(
        query,
        &repeated(key, shared)?,
        &repeated(value, shared)?,
        mask,
    )
    .map_err(Cause::from)
}

/// Repeats each head for the queries that share it.
fn repeated(heads: &Tensor, times: i64) -> Result<Tensor, Cause> {
    if times == 1 {
        return Ok(heads.shallow_clone());
    }
    let copies = heads
        .f_unsqueeze(2)?
        .f_expand([-1, -1, times, -1, -1], false)?;
    Ok(copies.f_flatten(1, 2)?)
}

/// Returns the result and the scores that the operator shows.
fn stepwise(
    op: &Attention,
    precision: Kind,
    [query, key, value]: [&Tensor; 3],
    mask: Option<Tensor>,
) -> Result<(Tensor, Tensor), Cause> {
    let kind = query.f_kind()?;
    let shared = query.size()[1] / key.size()[1];
    #[expect(clippy::cast_precision_loss, reason = "sizes of heads are small")]
    let scale = op
        .scale
        .map_or_else(|| 1.0 / (query.size()[3] as f64).sqrt(), f64::from);
    // Each factor gets its half, as the specification has it, so that products of FP16 do not overflow.
    let root = scale.abs().sqrt();
    let query = scalar::multiply(query, root.copysign(scale))?;
    let key = scalar::multiply(&repeated(key, shared)?, root)?;
    let scaled = query.f_matmul(&key.f_transpose(2, 3)?)?;
    let capped = match op.softcap {
        Some(cap) => {
            let cap = f64::from(cap);
            scalar::multiply(&scalar::divide(&scaled, cap)?.f_tanh_()?, cap)?
        }
        None => scaled.shallow_clone(),
    };
    let masked = match mask {
        None => capped.shallow_clone(),
        Some(mask) if mask.f_kind()? == Kind::Bool => {
            let never = scalar::full(&[], f64::NEG_INFINITY, kind)?;
            capped.f_where_self(&mask, &never)?
        }
        Some(mask) => capped.f_add(&mask)?,
    };
    let probabilities = masked.f_totype(precision)?.f_softmax(-1, precision)?;
    let value = repeated(value, shared)?;
    let result = probabilities.f_totype(value.f_kind()?)?.f_matmul(&value)?;
    let shown = match op.scores {
        Scores::Scaled => scaled,
        Scores::Capped => capped,
        Scores::Masked => masked,
        Scores::Softmax => probabilities.f_totype(kind)?,
    };
    Ok((result.f_totype(kind)?, shown))
}
