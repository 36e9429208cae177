//! Parts and joins of the known elements of lists.

use super::{CONTENTS_MAX, Fact, Size};

/// The places a slice takes: `count` of them, from `first`, `step` apart.
pub(super) struct Range {
    first: i128,
    step: i128,
    pub(super) count: usize,
}

/// Returns what `start..end` by `step` takes of a dimension, with the clamping that ONNX prescribes. `step` is not 0.
pub(super) fn range(size: usize, start: i64, end: i64, step: i64) -> Range {
    let (size, step) = (size as i128, i128::from(step));
    if size == 0 {
        return Range {
            first: 0,
            step,
            count: 0,
        };
    }
    let wrap = |place: i64| {
        if place < 0 {
            i128::from(place) + size
        } else {
            i128::from(place)
        }
    };
    let (first, distance) = if step > 0 {
        let first = wrap(start).clamp(0, size);
        (first, wrap(end).clamp(0, size) - first)
    } else {
        let first = wrap(start).clamp(0, size - 1);
        (first, first - wrap(end).clamp(-1, size - 1))
    };
    let count = (distance.max(0) + step.abs() - 1) / step.abs();
    Range {
        first,
        step,
        count: usize::try_from(count).unwrap_or(0),
    }
}

pub(super) fn taken(elements: &[Size], range: &Range) -> Option<Vec<Size>> {
    (0..range.count)
        .map(|place| {
            elements
                .get(usize::try_from(range.first + place as i128 * range.step).ok()?)
                .cloned()
        })
        .collect()
}

/// Returns the elements of joined lists; those of a list that is not known, but has a known length, are unknown.
pub(super) fn joined(facts: &[&Fact]) -> Option<Vec<Size>> {
    let mut all = Vec::new();
    for fact in facts {
        match &fact.contents {
            Some(contents) => all.extend_from_slice(contents),
            None => {
                let length = fact
                    .dims()?
                    .first()?
                    .fixed()
                    .filter(|&length| length <= CONTENTS_MAX)?;
                all.extend(std::iter::repeat_n(Size::Unknown, length));
            }
        }
        if all.len() > CONTENTS_MAX {
            return None;
        }
    }
    Some(all)
}

/// Returns the elements of a list that known indices pick.
pub(super) fn gathered(data: &Fact, indices: &Fact) -> Option<Vec<Size>> {
    let elements = data.contents.as_ref()?;
    let size = i64::try_from(elements.len()).ok()?;
    indices
        .numbers()?
        .into_iter()
        .map(|index| {
            let place = if index < 0 {
                index.checked_add(size)?
            } else {
                index
            };
            elements.get(usize::try_from(place).ok()?).cloned()
        })
        .collect()
}
