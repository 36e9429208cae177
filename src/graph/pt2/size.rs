//! Sizes that the file knows by number or by symbol.

use super::dtype::{STRIDED, dtype};
use super::schema::{SymInt, TensorMeta};
use crate::graph::Defect;
use crate::graph::infer::Fact;
use crate::types::{Dim, RANK_MAX, ShapeSpec};

/// Returns the symbol that an expression is: `Symbol('s77', positive=True, integer=True)`, as SymPy prints it, or `s77`.
fn symbol(expression: &str) -> Option<&str> {
    let name = match expression.strip_prefix("Symbol('") {
        Some(rest) => {
            let (name, assumptions) = rest.split_once('\'')?;
            let inner = assumptions.strip_suffix(')')?;
            (!inner.contains(['(', ')'])).then_some(name)?
        }
        None => expression,
    };
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let named = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    (named && name.chars().all(word)).then_some(name)
}

/// Returns what is known of a size; `None` if it is negative.
pub(super) fn dim(size: &SymInt) -> Option<Dim> {
    match size {
        SymInt::Int(size) => usize::try_from(*size).ok().map(Dim::Fixed),
        SymInt::Expression(expression) => {
            Some(symbol(&expression.expr_str).map_or(Dim::Any, Dim::symbol))
        }
    }
}

/// Returns what the file declares of a tensor. A dtype that this program lacks counts as unknown.
pub(super) fn declared(name: &str, meta: &TensorMeta) -> Result<Fact, Defect> {
    if meta.layout != STRIDED {
        return Err(Defect::Sparse {
            tensor: name.to_owned(),
        });
    }
    if meta.sizes.len() > RANK_MAX {
        return Err(Defect::Rank {
            tensor: name.to_owned(),
            seen: meta.sizes.len(),
            most: RANK_MAX,
        });
    }
    let dims: Option<Vec<Dim>> = meta.sizes.iter().map(dim).collect();
    let dims = dims.ok_or_else(|| Defect::Dimensions {
        tensor: name.to_owned(),
        seen: meta.sizes.iter().filter_map(number).collect(),
    })?;
    Ok(Fact::new(dtype(meta.dtype), Some(ShapeSpec(dims))))
}

/// Returns a size that is a number.
pub(super) fn number(size: &SymInt) -> Option<i64> {
    match size {
        SymInt::Int(size) => Some(*size),
        SymInt::Expression(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_symbols_are_symbols() {
        for (expression, expected) in [
            ("Symbol('s77', positive=True, integer=True)", Some("s77")),
            ("Symbol('u0', integer=True)", Some("u0")),
            ("s0", Some("s0")),
            ("Mul(Integer(2), Symbol('s77', integer=True))", None),
            ("Symbol('s1') + Symbol('s2')", None),
            ("Symbol('a b')", None),
            ("Symbol('", None),
            ("2*s0", None),
            ("", None),
        ] {
            assert_eq!(symbol(expression), expected, "{expression}");
        }
    }
}
