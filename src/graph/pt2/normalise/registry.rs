//! Which rule reads which operator. Each family lists its own beside the rules.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::super::call::{Call, Form};
use super::{
    arithmetic, attention, convolution, elementwise, fill, index, layout, normalisation, pad,
    pooling, product, reduce, resize, split,
};
use crate::graph::Fault;

/// Turns one use of an operator into the canonical form.
pub(in crate::graph::pt2) type Normalise = fn(&mut Call<'_>) -> Result<Form, Fault>;

/// Name and overload of an operator, and its rule.
pub(super) type Rule = (&'static str, Normalise);

const FAMILIES: &[&[Rule]] = &[
    arithmetic::RULES,
    attention::RULES,
    convolution::RULES,
    elementwise::RULES,
    fill::RULES,
    index::RULES,
    layout::RULES,
    normalisation::RULES,
    pad::RULES,
    pooling::RULES,
    product::RULES,
    reduce::RULES,
    resize::RULES,
    split::RULES,
];

static RULES: LazyLock<HashMap<&str, Normalise>> = LazyLock::new(|| {
    FAMILIES
        .iter()
        .flat_map(|rules| rules.iter().copied())
        .collect()
});

/// Returns the rule for an operator.
pub(in crate::graph::pt2) fn find(name: &str, overload: &str) -> Option<Normalise> {
    RULES.get(format!("{name}.{overload}").as_str()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operator_has_two_rules() {
        let all = FAMILIES.iter().map(|rules| rules.len()).sum::<usize>();
        assert_eq!(RULES.len(), all);
    }
}
