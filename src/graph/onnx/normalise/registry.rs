//! Which rule reads which ONNX operator. Each family lists its own beside the rules.

use super::call::{Call, Form};
use super::{
    attention, cast, constant, container, control, convolution, elementwise, extent, fill,
    flex_attention, index, labels, linear, linear_attention, loss, normalisation, order, pooling,
    quantised, recurrent, reduce, sampling, scores, selection, shape, signal, text, training,
    trees,
};
use crate::graph::Fault;

/// Turns one use of an ONNX operator into the canonical form.
pub(in crate::graph::onnx) type Normalise = fn(&mut Call<'_>) -> Result<Form, Fault>;

/// The name of an operator, with its domain unless that is the default one, and its rule.
pub(super) type Rule = (&'static str, Normalise);

const FAMILIES: &[&[Rule]] = &[
    attention::RULES,
    cast::RULES,
    constant::RULES,
    container::RULES,
    control::RULES,
    convolution::RULES,
    elementwise::RULES,
    extent::RULES,
    fill::RULES,
    flex_attention::RULES,
    index::RULES,
    labels::RULES,
    linear::RULES,
    linear_attention::RULES,
    loss::RULES,
    normalisation::RULES,
    order::RULES,
    pooling::RULES,
    quantised::RULES,
    recurrent::RULES,
    reduce::RULES,
    sampling::RULES,
    scores::RULES,
    selection::RULES,
    shape::RULES,
    signal::RULES,
    text::RULES,
    training::RULES,
    trees::RULES,
];

/// Returns the rule for an operator, which is named with its domain unless that is the default one.
pub(in crate::graph::onnx) fn find(operator: &str) -> Option<Normalise> {
    let mut rules = FAMILIES.iter().copied().flatten();
    rules
        .find(|(name, _)| *name == operator)
        .map(|(_, rule)| *rule)
}
