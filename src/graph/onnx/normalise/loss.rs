//! Losses of classifiers.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, LossReduction, Op};

pub(super) const RULES: &[Rule] = &[
    ("NegativeLogLikelihoodLoss", |call| {
        let op = negative_log_likelihood(call)?;
        call.plain(op)
    }),
    ("SoftmaxCrossEntropyLoss", softmax_cross_entropy),
];

fn negative_log_likelihood(call: &Call<'_>) -> Result<Op, Fault> {
    let reduction = match call.attributes.text("reduction")?.as_deref() {
        None | Some("mean") => LossReduction::Mean,
        Some("sum") => LossReduction::Sum,
        Some("none") => LossReduction::None,
        Some(seen) => {
            let expected = "\"mean\", \"sum\" or \"none\"";
            return Err(wrong("reduction", format!("{seen:?}"), expected));
        }
    };
    Ok(Op::NegativeLogLikelihoodLoss {
        ignored: call.attributes.int("ignore_index")?,
        reduction,
    })
}

/// Outputs: loss, logarithms of the probabilities?.
fn softmax_cross_entropy(call: &mut Call<'_>) -> Result<Form, Fault> {
    let loss = negative_log_likelihood(call)?;
    let scores = call.input(0)?;
    let softmax = Op::LogSoftmax { axis: 1 };
    let logarithms = Some(call.step("log_prob", softmax, vec![Some(scores)])?);
    let mut inputs = call.inputs.clone();
    inputs[0] = logarithms;
    Ok(Form::Nodes(vec![
        (loss, inputs),
        (Op::Identity, vec![logarithms]),
    ]))
}
