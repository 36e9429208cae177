//! Arithmetic on the known elements of small integer tensors, as exporters use it to compute shapes.

use crate::types::{DType, Dim};

use super::{CONTENTS_MAX, Fact, Size};
use crate::graph::Binary;

/// Returns the elements of an element-wise function of two lists or scalars.
pub(super) fn binary(function: Binary, left: &Fact, right: &Fact) -> Option<Vec<Size>> {
    let count = count(&[left, right])?;
    let (left, right) = (spread(left, count)?, spread(right, count)?);
    Some(
        left.into_iter()
            .zip(right)
            .map(|(left, right)| apply(function, left, right))
            .collect(),
    )
}

/// Returns the opposites of booleans.
pub(super) fn not(fact: &Fact) -> Option<Vec<Size>> {
    let opposite = |size: &Size| match size {
        Size::Known(value) => Size::Known(i64::from(*value == 0)),
        Size::Symbol(_) | Size::Unknown => Size::Unknown,
    };
    Some(fact.contents.as_ref()?.iter().map(opposite).collect())
}

/// Returns the elements that a condition chooses from two lists or scalars.
pub(super) fn choose(condition: &Fact, yes: &Fact, no: &Fact) -> Option<Vec<Size>> {
    let count = count(&[condition, yes, no])?;
    let (condition, yes, no) = (
        spread(condition, count)?,
        spread(yes, count)?,
        spread(no, count)?,
    );
    let pick = |((condition, yes), no): ((Size, Size), Size)| match condition {
        Size::Known(0) => no,
        Size::Known(_) => yes,
        Size::Symbol(_) | Size::Unknown if yes == no => yes,
        Size::Symbol(_) | Size::Unknown => Size::Unknown,
    };
    Some(condition.into_iter().zip(yes).zip(no).map(pick).collect())
}

/// Returns the elements of the element-wise maximum or minimum of lists or scalars.
pub(super) fn extreme(largest: bool, facts: &[&Fact]) -> Option<Vec<Size>> {
    let count = count(facts)?;
    let mut lists = facts.iter().map(|fact| spread(fact, count));
    let first = lists.next()??;
    lists.try_fold(first, |best, other| {
        let pairs = best.into_iter().zip(other?);
        Some(pairs.map(|(a, b)| further(largest, a, b)).collect())
    })
}

fn further(largest: bool, a: Size, b: Size) -> Size {
    match (&a, &b) {
        (Size::Known(left), Size::Known(right)) => {
            let best = if largest {
                left.max(right)
            } else {
                left.min(right)
            };
            Size::Known(*best)
        }
        (Size::Symbol(left), Size::Symbol(right)) if left == right => a,
        // A symbol is a size, so it is no less than 0.
        (Size::Symbol(_), Size::Known(..=0)) => {
            if largest {
                a
            } else {
                b
            }
        }
        (Size::Known(..=0), Size::Symbol(_)) => {
            if largest {
                b
            } else {
                a
            }
        }
        _ => Size::Unknown,
    }
}

/// Returns the number of elements that lists and scalars broadcast to.
fn count(facts: &[&Fact]) -> Option<usize> {
    let mut count = 1;
    for fact in facts {
        match fact.dims()? {
            [] | [Dim::Fixed(1)] => {}
            [Dim::Fixed(size)] if *size <= CONTENTS_MAX => count = *size,
            _ => return None,
        }
    }
    Some(count)
}

fn spread(fact: &Fact, count: usize) -> Option<Vec<Size>> {
    let integer = matches!(fact.dtype, Some(DType::I64 | DType::I32 | DType::Bool));
    let contents = fact.contents.as_ref().filter(|_| integer)?;
    match contents.as_slice() {
        [single] => Some(vec![single.clone(); count]),
        several if several.len() == count => Some(several.to_vec()),
        _ => None,
    }
}

fn apply(function: Binary, left: Size, right: Size) -> Size {
    match (function, &left, &right) {
        (Binary::Mul | Binary::Div, _, Size::Known(1))
        | (Binary::Add | Binary::Sub, _, Size::Known(0)) => left,
        (Binary::Mul, Size::Known(1), _) | (Binary::Add, Size::Known(0), _) => right,
        // A symbol is a size, so it equals no negative number.
        (Binary::Equal, Size::Symbol(_), Size::Known(value))
        | (Binary::Equal, Size::Known(value), Size::Symbol(_))
            if *value < 0 =>
        {
            Size::Known(0)
        }
        (Binary::Equal, Size::Symbol(left), Size::Symbol(right)) if left == right => Size::Known(1),
        (_, Size::Known(left), Size::Known(right)) => {
            number(function, *left, *right).map_or(Size::Unknown, Size::Known)
        }
        _ => Size::Unknown,
    }
}

fn number(function: Binary, left: i64, right: i64) -> Option<i64> {
    let truth = |value: bool| Some(i64::from(value));
    match function {
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        Binary::Mul => left.checked_mul(right),
        Binary::Div => left.checked_div(right),
        Binary::Pow => left.checked_pow(u32::try_from(right).ok()?),
        Binary::Mod { truncated: true } => left.checked_rem(right),
        Binary::Mod { truncated: false } => {
            let rest = left.checked_rem(right)?;
            let other_sign = rest != 0 && (rest < 0) != (right < 0);
            Some(if other_sign { rest + right } else { rest })
        }
        Binary::BitwiseAnd => Some(left & right),
        Binary::BitwiseOr => Some(left | right),
        Binary::BitwiseXor => Some(left ^ right),
        Binary::PRelu | Binary::ShiftLeft | Binary::ShiftRight => None,
        Binary::And => truth(left != 0 && right != 0),
        Binary::Or => truth(left != 0 || right != 0),
        Binary::Xor => truth((left != 0) != (right != 0)),
        Binary::Equal => truth(left == right),
        Binary::Less => truth(left < right),
        Binary::LessOrEqual => truth(left <= right),
        Binary::Greater => truth(left > right),
        Binary::GreaterOrEqual => truth(left >= right),
    }
}
