//! Counts of n-grams.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tch::Tensor;

use crate::graph::{NgramCount, Weighting};
use crate::types;

use super::super::cause::Cause;
use super::args::{Kernel, doubles, integers};
use super::context::NodeContext;
use super::datum::Datum;
use super::text::sizes;

/// A result has at most this many elements.
const ELEMENTS_MAX: usize = 1 << 28;

/// Stands for every item that no n-gram has.
const UNKNOWN: u32 = u32::MAX;

/// The n-grams of a pool as a tree: each way from the root is one.
struct Pool {
    items: HashMap<Vec<u8>, u32>,
    children: HashMap<(usize, u32), usize>,
    /// Column of the n-gram that ends at a node.
    columns: Vec<Option<usize>>,
    width: usize,
}

/// `test_tfidfvectorizer_tf_batch_onlybigrams_skip0`, `_batch_onlybigrams_skip5`, `_batch_uniandbigrams_skip5`,
/// `_only_bigrams_skip0`, `_onlybigrams_levelempty`, `_onlybigrams_skip5`, `_uniandbigrams_skip5`
pub(super) fn count(context: &NodeContext<'_>, op: &NgramCount) -> Result<Kernel, Cause> {
    let constant = |input: usize| context.constant(input).map(Datum::import).transpose();
    let elements = constant(1)?.ok_or_else(|| Cause::new("the pool is not constant"))?;
    let pool = Pool::of(&keys(&elements)?, op)?;
    let weights = match constant(2)? {
        Some(weights) if op.weighting != Weighting::Count => Some(doubles(weights.tensor()?)?),
        _ => None,
    };
    if weights
        .as_ref()
        .is_some_and(|weights| weights.len() != pool.width)
    {
        return Err(Cause::new(format!(
            "there is not one weight for each of {} columns",
            pool.width
        )));
    }
    let op = op.clone();
    Ok(Box::new(move |args| {
        let data = args.datum(0)?;
        let shape = match data {
            Datum::Strings(strings) => strings.shape().to_vec(),
            other => shape_of(other.tensor()?),
        };
        let items: Vec<u32> = keys(data)?
            .iter()
            .map(|key| pool.items.get(key).copied().unwrap_or(UNKNOWN))
            .collect();
        let (rows, shape) = match *shape.as_slice() {
            [] | [_] => (1, vec![pool.width]),
            [rows, _] => (rows, vec![rows, pool.width]),
            _ => {
                return Err(Cause::new(format!(
                    "data {shape:?} has more than 2 dimensions"
                )));
            }
        };
        let count = rows
            .checked_mul(pool.width)
            .filter(|&count| count <= ELEMENTS_MAX);
        let count = count.ok_or_else(|| Cause::new(format!("{shape:?} counts are too many")))?;
        let mut counts = vec![0.0_f32; count];
        let length = items.len().checked_div(rows).unwrap_or(0);
        if length > 0 && pool.width > 0 {
            let rows = items.chunks(length).zip(counts.chunks_mut(pool.width));
            rows.for_each(|(row, counts)| pool.count(row, &op, counts));
        }
        weigh(&mut counts, op.weighting, weights.as_deref());
        Ok(Tensor::f_from_slice(&counts)?
            .f_reshape(sizes(&shape))?
            .into())
    }))
}

fn shape_of(tensor: &Tensor) -> Vec<usize> {
    let size = tensor.size();
    size.iter()
        .filter_map(|&size| usize::try_from(size).ok())
        .collect()
}

/// Returns what tells elements apart.
fn keys(data: &Datum) -> Result<Vec<Vec<u8>>, Cause> {
    let owned = |strings: &types::Tensor| {
        strings
            .byte_strings()
            .iter()
            .map(|key| key.to_vec())
            .collect()
    };
    match data {
        Datum::Strings(strings) => Ok(owned(strings)),
        other => {
            let integers = integers(other.tensor()?)?;
            Ok(integers
                .iter()
                .map(|integer| integer.to_le_bytes().to_vec())
                .collect())
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the result is FP32")]
fn weigh(counts: &mut [f32], weighting: Weighting, weights: Option<&[f64]>) {
    if weighting == Weighting::Weight {
        counts.iter_mut().for_each(|count| *count = count.min(1.0));
    }
    let Some(weights) = weights.filter(|weights| !weights.is_empty()) else {
        return;
    };
    for row in counts.chunks_mut(weights.len()) {
        for (count, &weight) in row.iter_mut().zip(weights) {
            *count *= weight as f32;
        }
    }
}

impl Pool {
    fn of(elements: &[Vec<u8>], op: &NgramCount) -> Result<Self, Cause> {
        let wrong =
            || Cause::new("the pool, the starts of its parts and the columns do not fit together");
        let mut pool = Self {
            items: HashMap::new(),
            children: HashMap::new(),
            columns: vec![None],
            width: op
                .columns
                .iter()
                .max()
                .map_or(0, |&last| last.saturating_add(1)),
        };
        let mut columns = op.columns.iter();
        for (place, &start) in op.starts.iter().enumerate() {
            let length = place + 1;
            let end = op.starts.get(length).copied().unwrap_or(elements.len());
            let part = elements.get(start..end).ok_or_else(wrong)?;
            for ngram in part.chunks_exact(length) {
                let column = *columns.next().ok_or_else(wrong)?;
                if op.lengths.contains(&length) {
                    pool.add(ngram, column)?;
                }
            }
        }
        Ok(pool)
    }

    fn add(&mut self, ngram: &[Vec<u8>], column: usize) -> Result<(), Cause> {
        let mut node = 0;
        for item in ngram {
            let next =
                u32::try_from(self.items.len()).map_err(|error| Cause::new(error.to_string()))?;
            let item = *self.items.entry(item.clone()).or_insert(next);
            node = match self.children.entry((node, item)) {
                Entry::Occupied(child) => *child.get(),
                Entry::Vacant(place) => {
                    self.columns.push(None);
                    *place.insert(self.columns.len() - 1)
                }
            };
        }
        self.columns[node] = Some(column);
        Ok(())
    }

    /// Counts the n-grams of a row, whose items stand 1, 2, … places apart.
    fn count(&self, row: &[u32], op: &NgramCount, counts: &mut [f32]) {
        let (shortest, longest) = (*op.lengths.start(), *op.lengths.end());
        for distance in 1..=op.skips_max.saturating_add(1).min(row.len()) {
            // A single item has nothing between, so it is counted once.
            let shortest = if distance == 1 {
                shortest
            } else {
                shortest.max(2)
            };
            for start in 0..row.len() {
                let mut node = 0;
                let items = row[start..].iter().step_by(distance).take(longest);
                for (place, &item) in items.enumerate() {
                    let Some(&child) = self.children.get(&(node, item)) else {
                        break;
                    };
                    node = child;
                    if let Some(column) = self.columns[node].filter(|_| place + 1 >= shortest) {
                        counts[column] += 1.0;
                    }
                }
            }
        }
    }
}
