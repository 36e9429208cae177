//! RNN, GRU, LSTM: directions, activations with their parameters, layouts.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Cell, CellFunction, Direction, Fault, Op, Recurrent, Unary};

pub(super) const RULES: &[Rule] = &[("GRU", gru), ("LSTM", lstm), ("RNN", rnn)];

fn rnn(call: &mut Call<'_>) -> Result<Form, Fault> {
    recurrent(call, Cell::Rnn)
}

fn gru(call: &mut Call<'_>) -> Result<Form, Fault> {
    // Any number but 0 is a yes to this one.
    let linear_before_reset = call.attributes.int_or("linear_before_reset", 0)? != 0;
    recurrent(
        call,
        Cell::Gru {
            linear_before_reset,
        },
    )
}

fn lstm(call: &mut Call<'_>) -> Result<Form, Fault> {
    let input_forget = call.attributes.flag("input_forget", false)?;
    recurrent(call, Cell::Lstm { input_forget })
}

fn recurrent(call: &mut Call<'_>, cell: Cell) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let direction = match attributes.text("direction")?.as_deref() {
        None | Some("forward") => Direction::Forward,
        Some("reverse") => Direction::Reverse,
        Some("bidirectional") => Direction::Both,
        Some(seen) => {
            let expected = "\"forward\", \"reverse\" or \"bidirectional\"";
            return Err(wrong("direction", format!("{seen:?}"), expected));
        }
    };
    let hidden_size = match attributes.int("hidden_size")? {
        None => None,
        Some(seen) => match usize::try_from(seen) {
            Ok(size) if size > 0 => Some(size),
            _ => return Err(wrong("hidden_size", seen, "a positive size")),
        },
    };
    if call.opset < 7 {
        // Whether the operator has its first output, which the names of the outputs tell as well.
        attributes.ignore(&["output_sequence"]);
    }
    let clip = attributes.float("clip")?;
    if let Some(seen) = clip.filter(|clip| clip.is_nan() || *clip < 0.0) {
        return Err(wrong("clip", seen, "a threshold of at least 0"));
    }
    let op = Recurrent {
        cell,
        direction,
        activations: activations(call, cell, direction)?,
        clip,
        batch_first: attributes.flag("layout", false)?,
        hidden_size,
    };
    call.plain(Op::Recurrent(op))
}

fn activations(
    call: &Call<'_>,
    cell: Cell,
    direction: Direction,
) -> Result<Vec<CellFunction>, Fault> {
    let attributes = &call.attributes;
    let mut alphas = attributes
        .floats("activation_alpha")?
        .unwrap_or_default()
        .iter()
        .copied();
    let mut betas = attributes
        .floats("activation_beta")?
        .unwrap_or_default()
        .iter()
        .copied();
    let defaults = cell.functions();
    let expected = defaults.len() * direction.count();
    let Some(names) = attributes.texts("activations")? else {
        let defaults = defaults.iter().copied().map(CellFunction::Function);
        return Ok(defaults.cycle().take(expected).collect());
    };
    // The default of RNN in the specification names two functions whatever the direction.
    if names.len() < expected || names.len() > expected.max(2 * defaults.len()) {
        return Err(wrong(
            "activations",
            format!("{names:?}"),
            &format!("{expected} names"),
        ));
    }
    names
        .iter()
        .take(expected)
        .map(|name| activation(name, &mut alphas, &mut betas))
        .collect()
}

/// Reads a name. The function takes the next of the parameters that it has, as onnxruntime reads the specification.
fn activation(
    name: &str,
    alphas: &mut impl Iterator<Item = f32>,
    betas: &mut impl Iterator<Item = f32>,
) -> Result<CellFunction, Fault> {
    let mut alpha = |default: f32| alphas.next().unwrap_or(default);
    let mut beta = |default: f32| betas.next().unwrap_or(default);
    let function = match name.to_ascii_lowercase().as_str() {
        "relu" => Unary::Relu,
        "tanh" => Unary::Tanh,
        "sigmoid" => Unary::Sigmoid,
        "softsign" => Unary::Softsign,
        "softplus" => Unary::Softplus,
        "leakyrelu" => Unary::LeakyRelu { alpha: alpha(0.01) },
        "elu" => Unary::Elu { alpha: alpha(1.0) },
        "hardsigmoid" => Unary::HardSigmoid {
            alpha: alpha(0.2),
            beta: beta(0.5),
        },
        "affine" => {
            return Ok(CellFunction::Affine {
                alpha: alpha(1.0),
                beta: beta(0.0),
            });
        }
        "scaledtanh" => {
            return Ok(CellFunction::ScaledTanh {
                alpha: alpha(1.0),
                beta: beta(1.0),
            });
        }
        "thresholdedrelu" => return Ok(CellFunction::ThresholdedRelu { alpha: alpha(1.0) }),
        _ => {
            let expected = "Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, \
                            Softsign or Softplus";
            return Err(wrong("activations", format!("{name:?}"), expected));
        }
    };
    Ok(CellFunction::Function(function))
}
