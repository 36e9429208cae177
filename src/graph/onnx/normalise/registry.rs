//! Which rule reads which ONNX operator. Each family lists its own beside the rules.

use super::call::{Call, Form};
use super::{constant, convolution, elementwise, linear, reduce, selection, shape};
use crate::graph::Fault;

/// Turns one use of an ONNX operator into the canonical form.
pub(in crate::graph::onnx) type Normalise = fn(&mut Call<'_>) -> Result<Form, Fault>;

/// The name of an operator, with its domain unless that is the default one, and its rule.
pub(super) type Rule = (&'static str, Normalise);

const FAMILIES: &[&[Rule]] = &[
    constant::RULES,
    convolution::RULES,
    elementwise::RULES,
    linear::RULES,
    reduce::RULES,
    selection::RULES,
    shape::RULES,
];

/// Returns the rule for an operator, which is named with its domain unless that is the default one.
pub(in crate::graph::onnx) fn find(operator: &str) -> Option<Normalise> {
    let mut rules = FAMILIES.iter().copied().flatten();
    rules
        .find(|(name, _)| *name == operator)
        .map(|(_, rule)| *rule)
}
