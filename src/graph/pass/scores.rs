//! What a softmax of attention is taken of: scaled products of queries and keys, perhaps masked.

use super::attention::is_mask;
use super::draft::Draft;
use super::layout::{first_input, permutation};
use super::numbers;
use super::pattern::scaled;
use crate::graph::{Binary, Node, Op, ValueId};
use crate::types::{DType, Dim};

pub(super) struct Scores {
    pub(super) query: ValueId,
    pub(super) key: ValueId,
    /// To be applied to the key, so that its last dimensions are its rows and its width.
    pub(super) permutation: Option<Vec<usize>>,
    pub(super) scale: f64,
    /// A mask, and whether it is true where scores are hidden, not where they are seen.
    pub(super) mask: Option<(ValueId, bool)>,
}

/// Matches the input of a softmax.
pub(super) fn scores(draft: &Draft, input: ValueId) -> Option<Scores> {
    let node = draft.sole_maker(input)?;
    if let Some(found) = product(draft, input) {
        return Some(found);
    }
    match (&node.op, node.inputs.as_slice()) {
        (Op::Binary(Binary::Add), &[Some(a), Some(b)]) => {
            let masked = |scores: ValueId, mask: ValueId| {
                let found = product(draft, scores)?;
                let dtype = draft.value(mask).dtype?;
                let fits = dtype != DType::Bool && fits(draft, mask, scores, found.query);
                fits.then_some(Scores {
                    mask: Some((mask, false)),
                    ..found
                })
            };
            masked(a, b).or_else(|| masked(b, a))
        }
        (Op::Where, &[Some(condition), Some(a), Some(b)]) => {
            let hidden = |id: ValueId| {
                draft.constant(id).and_then(numbers::scalar) == Some(f64::NEG_INFINITY)
            };
            let (scores, hides) = if hidden(b) { (a, false) } else { (b, true) };
            let found = product(draft, scores)?;
            let fits = (hidden(a) || hidden(b)) && fits(draft, condition, scores, found.query);
            fits.then_some(Scores {
                mask: Some((condition, hides)),
                ..found
            })
        }
        _ => None,
    }
}

/// Tells whether a mask broadcasts to the scores and not the other way round, as far as is known.
fn fits(draft: &Draft, mask: ValueId, scores: ValueId, query: ValueId) -> bool {
    let (Some(own), Some(dims)) = (draft.shape(mask), draft.shape(scores)) else {
        return false;
    };
    let aligned = own.iter().rev().zip(dims.iter().rev());
    let stretches = |(own, dim): (&Dim, &Dim)| *dim == Dim::Fixed(1) && *own != Dim::Fixed(1);
    own.len() <= dims.len()
        && !aligned.into_iter().any(stretches)
        && draft
            .value(query)
            .dtype
            .is_some_and(|dtype| is_mask(draft, mask, dtype))
}

/// Matches a product of queries and transposed keys, scaled before, after or both.
fn product(draft: &Draft, value: ValueId) -> Option<Scores> {
    let mut node = draft.sole_maker(value)?;
    let mut scale = 1.0;
    while let Some((source, factor)) = scaled(draft, node) {
        scale *= factor;
        node = draft.sole_maker(source)?;
    }
    let (Op::MatMul, &[Some(query), Some(key)]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let (query, query_scale) = unscaled(draft, query);
    let (key, key_scale) = unscaled(draft, key);
    let (key, permutation, inner_scale) = untransposed(draft, key)?;
    let scale = scale * query_scale * key_scale * inner_scale;
    scale.is_finite().then_some(Scores {
        query,
        key,
        permutation,
        scale,
        mask: None,
    })
}

/// Returns a value before it is multiplied by numbers, and their product.
fn unscaled(draft: &Draft, mut value: ValueId) -> (ValueId, f64) {
    let mut scale = 1.0;
    while let Some((source, factor)) = draft.maker(value).and_then(|node| scaled(draft, node)) {
        scale *= factor;
        value = source;
    }
    (value, scale)
}

/// Returns the keys of which this is the transpose, what is still to be done to them, and a factor.
fn untransposed(draft: &Draft, value: ValueId) -> Option<(ValueId, Option<Vec<usize>>, f64)> {
    let rank = draft.rank(value)?;
    let last = rank.checked_sub(2)?;
    if let Some((key, scale)) = flattened(draft, value) {
        return Some((key, None, scale));
    }
    let maker = draft.maker(value);
    let own = maker.and_then(|node| Some((permutation(draft, node)?, first_input(node)?)));
    let (mut axes, source) = own.unwrap_or_else(|| ((0..rank).collect(), value));
    if axes.len() != rank {
        return None;
    }
    axes.swap(last, last + 1);
    if axes.iter().copied().eq(0..rank) {
        let (source, scale) = unscaled(draft, source);
        return Some((source, None, scale));
    }
    Some((source, Some(axes), 1.0))
}

/// Matches a transpose of the last two dimensions for which the others are made one and then as many again.
fn flattened(draft: &Draft, value: ValueId) -> Option<(ValueId, f64)> {
    let is_reshape = |node: &&Node| matches!(node.op, Op::Reshape { .. });
    let outer = draft.maker(value).filter(is_reshape)?;
    let turned = first_input(outer)?;
    let turn = draft.maker(turned)?;
    let flat = first_input(turn)?;
    let inner = draft.maker(flat).filter(is_reshape)?;
    let key = first_input(inner)?;
    let dims = [key, flat, turned, value].map(|id| draft.shape(id));
    let [key_dims, flat_dims, _, dims] = dims;
    let ([batch @ .., rows, width], [_, flat_rows, flat_width]) = (key_dims?, flat_dims?) else {
        return None;
    };
    let known = |dim: &Dim| *dim != Dim::Any;
    let keeps = rows == flat_rows && width == flat_width && known(rows) && known(width);
    let expected = [
        batch,
        std::slice::from_ref(width),
        std::slice::from_ref(rows),
    ]
    .concat();
    let swaps = permutation(draft, turn)? == [0, 2, 1] && dims? == expected;
    let restores = keeps && swaps && batch.iter().all(known);
    restores.then(|| unscaled(draft, key))
}
