//! RNN, GRU, LSTM.

use crate::graph::{Cell, CellFunction, Direction, Recurrent, Unary};

use super::attribute::{flag, float, floats, size, text, texts};
use super::call::{Call, Written};

pub(super) fn recurrent(call: &mut Call<'_, '_>, op: &Recurrent) -> Written {
    let direction = match op.direction {
        Direction::Forward => "forward",
        Direction::Reverse => "reverse",
        Direction::Both => "bidirectional",
    };
    let mut attributes = vec![text("direction", direction)];
    match op.cell {
        Cell::Rnn => {}
        Cell::Gru {
            linear_before_reset,
        } => attributes.push(flag("linear_before_reset", linear_before_reset)),
        Cell::Lstm { input_forget } => attributes.push(flag("input_forget", input_forget)),
    }
    attributes.extend(op.hidden_size.map(|elements| size("hidden_size", elements)));
    attributes.extend(op.clip.map(|most| float("clip", most)));
    if op.batch_first {
        attributes.push(flag("layout", true));
    }
    let functions = op.activations.iter().map(|own| function(*own));
    let functions: Option<Vec<_>> = functions.collect();
    let functions = functions.ok_or_else(|| call.refused())?;
    if !op.has_default_activations() {
        let names = functions.iter().map(|(name, ..)| name.as_bytes());
        attributes.push(texts("activations", names));
        let alphas = functions.iter().filter_map(|(_, alpha, _)| *alpha);
        attributes.push(floats("activation_alpha", alphas));
        let betas = functions.iter().filter_map(|(.., beta)| *beta);
        attributes.push(floats("activation_beta", betas));
        attributes.retain(|attribute| {
            !attribute.name.starts_with("activation_") || !attribute.floats.is_empty()
        });
    }
    call.plain(attributes)
}

/// Returns the name of a function and the parameters it takes; `None` if a cell cannot have it.
fn function(function: CellFunction) -> Option<(&'static str, Option<f32>, Option<f32>)> {
    Some(match function {
        CellFunction::Affine { alpha, beta } => ("Affine", Some(alpha), Some(beta)),
        CellFunction::ScaledTanh { alpha, beta } => ("ScaledTanh", Some(alpha), Some(beta)),
        CellFunction::ThresholdedRelu { alpha } => ("ThresholdedRelu", Some(alpha), None),
        CellFunction::Function(function) => match function {
            Unary::Relu => ("Relu", None, None),
            Unary::Tanh => ("Tanh", None, None),
            Unary::Sigmoid => ("Sigmoid", None, None),
            Unary::Softsign => ("Softsign", None, None),
            Unary::Softplus => ("Softplus", None, None),
            Unary::LeakyRelu { alpha } => ("LeakyRelu", Some(alpha), None),
            Unary::Elu { alpha } => ("Elu", Some(alpha), None),
            Unary::HardSigmoid { alpha, beta } => ("HardSigmoid", Some(alpha), Some(beta)),
            _ => return None,
        },
    })
}
