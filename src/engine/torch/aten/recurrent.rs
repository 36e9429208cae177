//! Recurrent layers: libtorch's fused ones where they compute what ONNX asks for, else step by step.

use tch::{Kind, Tensor};

use crate::graph::{Cell, CellFunction, Direction, Recurrent, Unary};

use super::super::cause::Cause;
use super::super::ffi::SharedTensor;
use super::args::{Args, Kernel, Outputs, integers, signed};
use super::context::NodeContext;
use super::datum::Datum;
use super::recurrent_step::{Layer, Steps};

/// Hidden and, of an LSTM, cell state: `[directions, batch, hidden]`.
pub(super) struct States {
    pub(super) hidden: Tensor,
    pub(super) cell: Tensor,
}

/// `test_lstm_batchwise`, `test_lstm_defaults`, `test_lstm_with_initial_bias`, `test_lstm_with_peepholes`, and the same
/// of `test_gru_…`, `test_simple_rnn_…`, with `test_gru_seq_length` and `test_rnn_seq_length`.
///
/// The fused layers have the default activations (of RNN also Relu), biases, initial states and all directions. Step by
/// step run: other activations, a clip, peepholes, coupled gates, a reset before the recurrent weights, and sequences
/// of different lengths.
pub(super) fn recurrent(context: &NodeContext<'_>, op: &Recurrent) -> Result<Kernel, Cause> {
    let op = op.clone();
    if op.activations.len() != op.cell.functions().len() * op.direction.count() {
        let seen = op.activations.len();
        return Err(Cause::new(format!(
            "got {seen} activations for {:?} {:?}",
            op.direction, op.cell
        )));
    }
    let fused = Fused::of(&op).filter(|_| !context.has_input(7));
    let ready = match fused {
        Some(fused) => constant_parameters(context, fused, &op)?,
        None => None,
    };
    let steps = Steps::of(&op);
    Ok(Box::new(move |args| {
        let (x, recurrent) = (args.tensor(0)?, args.tensor(2)?);
        let directions = signed(op.direction.count());
        let (&[first, second, _], &[seen, _, hidden]) =
            (x.size().as_slice(), recurrent.size().as_slice())
        else {
            return Err(Cause::new(format!(
                "data has shape {:?}, R {:?}",
                x.size(),
                recurrent.size()
            )));
        };
        if seen != directions {
            return Err(Cause::new(format!(
                "R has {seen} directions, expected {directions}"
            )));
        }
        let (x, time, batch) = if op.batch_first {
            (x.f_transpose(0, 1)?, second, first)
        } else {
            (x.shallow_clone(), first, second)
        };
        let initial = |input: usize| initial_state(&op, args, input, [directions, batch, hidden]);
        let states = States {
            hidden: initial(5)?,
            cell: initial(6)?,
        };
        let lengths = lengths(args.optional(4)?, time, batch)?;
        let (y, last) = match fused {
            Some(fused) if lengths.is_none() && time > 0 => {
                let parameters = match &ready {
                    Some(ready) => ready.iter().map(SharedTensor::handle).collect(),
                    None => parameters(fused, &op, args.tensor(1)?, recurrent, args.optional(3)?)?,
                };
                fused.run(&op, &x, &states, &parameters)?
            }
            _ => stepwise(&op, &steps, args, &x, &states, lengths.as_ref())?,
        };
        outputs(&op, y, last)
    }))
}

/// Which of libtorch's layers computes an operator.
#[derive(Debug, Clone, Copy)]
enum Fused {
    Tanh,
    Relu,
    Gru,
    Lstm,
}

impl Fused {
    fn of(op: &Recurrent) -> Option<Self> {
        let relu = CellFunction::Function(Unary::Relu);
        match op.cell {
            Cell::Rnn if op.clip.is_none() && op.activations.iter().all(|own| *own == relu) => {
                Some(Self::Relu)
            }
            _ if !op.is_plain() => None,
            Cell::Rnn => Some(Self::Tanh),
            Cell::Gru {
                linear_before_reset,
            } => linear_before_reset.then_some(Self::Gru),
            Cell::Lstm { input_forget } => (!input_forget).then_some(Self::Lstm),
        }
    }

    /// ONNX's place of each gate in libtorch's order: r z n of a GRU, i f g o of an LSTM.
    const fn gates(self) -> &'static [i64] {
        match self {
            Self::Tanh | Self::Relu => &[0],
            Self::Gru => &[1, 0, 2],
            Self::Lstm => &[0, 2, 3, 1],
        }
    }

    /// Returns the sequence `[time, directions, batch, hidden]` and the last states.
    fn run(
        self,
        op: &Recurrent,
        x: &Tensor,
        states: &States,
        parameters: &[Tensor],
    ) -> Result<(Tensor, States), Cause> {
        let directions = op.direction.count();
        let both = op.direction == Direction::Both;
        let biased = parameters.len() == 4 * directions;
        let hidden = &states.hidden;
        let flipped = if op.direction == Direction::Reverse {
            x.f_flip([0])?
        } else {
            x.shallow_clone()
        };
        let mut cell = states.cell.shallow_clone();
        let (y, hidden) = match self {
            Self::Tanh => {
                flipped.f_rnn_tanh(hidden, parameters, biased, 1, 0.0, false, both, false)?
            }
            Self::Relu => {
                flipped.f_rnn_relu(hidden, parameters, biased, 1, 0.0, false, both, false)?
            }
            Self::Gru => flipped.f_gru(hidden, parameters, biased, 1, 0.0, false, both, false)?,
            Self::Lstm => {
                let states = [hidden, &states.cell];
                let parameters: Vec<&Tensor> = parameters.iter().collect();
                let (y, hidden, last) =
                    flipped.f_lstm(&states, &parameters, biased, 1, 0.0, false, both, false)?;
                cell = last;
                (y, hidden)
            }
        };
        let y = if op.direction == Direction::Reverse {
            y.f_flip([0])?
        } else {
            y
        };
        let y = y
            .f_unflatten(2, [signed(directions), -1])?
            .f_transpose(1, 2)?;
        Ok((y, States { hidden, cell }))
    }
}

/// Returns the parameters if the model carries them: their gates are put in order once.
fn constant_parameters(
    context: &NodeContext<'_>,
    fused: Fused,
    op: &Recurrent,
) -> Result<Option<Vec<SharedTensor>>, Cause> {
    let [weights, recurrent, biases] = [1, 2, 3].map(|input| context.constant(input));
    let (Some(weights), Some(recurrent)) = (weights, recurrent) else {
        return Ok(None);
    };
    if biases.is_none() && context.has_input(3) {
        return Ok(None);
    }
    let (weights, recurrent) = (Datum::import(weights)?, Datum::import(recurrent)?);
    let biases = biases.map(Datum::import).transpose()?;
    let biases = biases.as_ref().map(Datum::tensor).transpose()?;
    let list = parameters(fused, op, weights.tensor()?, recurrent.tensor()?, biases)?;
    Ok(Some(list.into_iter().map(SharedTensor::new).collect()))
}

/// Returns copies of W, R and the biases of both for each direction, as libtorch takes them.
fn parameters(
    fused: Fused,
    op: &Recurrent,
    weights: &Tensor,
    recurrent: &Tensor,
    biases: Option<&Tensor>,
) -> Result<Vec<Tensor>, Cause> {
    let gates = fused.gates();
    let ordered = |rows: Tensor| -> Result<Tensor, Cause> {
        let parts = rows.f_chunk(signed(gates.len()), 0)?;
        let picked = gates
            .iter()
            .map(|&gate| usize::try_from(gate).ok().and_then(|gate| parts.get(gate)));
        let picked: Option<Vec<&Tensor>> = picked.collect();
        let picked = picked.ok_or_else(|| {
            Cause::new(format!(
                "{:?} rows are no {} gates",
                rows.size(),
                gates.len()
            ))
        })?;
        Ok(Tensor::f_cat(&picked, 0)?)
    };
    let mut list = Vec::new();
    for direction in 0..signed(op.direction.count()) {
        list.push(ordered(weights.f_select(0, direction)?)?);
        list.push(ordered(recurrent.f_select(0, direction)?)?);
        if let Some(biases) = biases {
            for half in biases.f_select(0, direction)?.f_chunk(2, 0)? {
                list.push(ordered(half)?);
            }
        }
    }
    Ok(list)
}

fn initial_state(
    op: &Recurrent,
    args: &Args<'_>,
    input: usize,
    shape: [i64; 3],
) -> Result<Tensor, Cause> {
    let given = match args.optional(input)? {
        None => {
            return Ok(Tensor::f_zeros(
                shape,
                (args.tensor(0)?.f_kind()?, tch::Device::Cpu),
            )?);
        }
        Some(state) if op.batch_first && state.dim() == 3 => {
            state.f_transpose(0, 1)?.f_contiguous()?
        }
        Some(state) => state.shallow_clone(),
    };
    if given.size() != shape {
        return Err(Cause::new(format!(
            "initial state has shape {:?}, expected {shape:?}",
            given.size()
        )));
    }
    Ok(given)
}

/// Returns the lengths of the sequences as `[batch, 1]`, unless all are as long as the tensor.
fn lengths(lengths: Option<&Tensor>, time: i64, batch: i64) -> Result<Option<Tensor>, Cause> {
    let Some(lengths) = lengths else {
        return Ok(None);
    };
    let list = integers(lengths)?;
    if signed(list.len()) != batch || list.iter().any(|length| !(0..=time).contains(length)) {
        return Err(Cause::new(format!(
            "sequence_lens is {list:?}, expected {batch} lengths of at most {time}"
        )));
    }
    if list.iter().all(|&length| length == time) {
        return Ok(None);
    }
    Ok(Some(lengths.f_totype(Kind::Int64)?.f_reshape([batch, 1])?))
}

fn stepwise(
    op: &Recurrent,
    steps: &Steps,
    args: &Args<'_>,
    x: &Tensor,
    states: &States,
    lengths: Option<&Tensor>,
) -> Result<(Tensor, States), Cause> {
    let reverse = [op.direction == Direction::Reverse, true];
    let (mut sequences, mut hidden, mut cell) = (Vec::new(), Vec::new(), Vec::new());
    for (direction, reverse) in reverse.into_iter().take(op.direction.count()).enumerate() {
        let place = signed(direction);
        let of = |input: usize| -> Result<Option<Tensor>, Cause> {
            let tensor = args.optional(input)?;
            Ok(tensor.map(|tensor| tensor.f_select(0, place)).transpose()?)
        };
        let layer = Layer {
            weights: args.tensor(1)?.f_select(0, place)?,
            recurrent: args.tensor(2)?.f_select(0, place)?,
            biases: of(3)?,
            peepholes: of(7)?,
        };
        let initial = States {
            hidden: states.hidden.f_select(0, place)?,
            cell: states.cell.f_select(0, place)?,
        };
        let (sequence, last) = steps.run(direction, reverse, x, &layer, initial, lengths)?;
        sequences.push(sequence);
        hidden.push(last.hidden);
        cell.push(last.cell);
    }
    let last = States {
        hidden: Tensor::f_stack(&hidden, 0)?,
        cell: Tensor::f_stack(&cell, 0)?,
    };
    Ok((Tensor::f_stack(&sequences, 1)?, last))
}

fn outputs(op: &Recurrent, y: Tensor, last: States) -> Result<Outputs, Cause> {
    let mut outputs = vec![y, last.hidden];
    if let Cell::Lstm { .. } = op.cell {
        outputs.push(last.cell);
    }
    if op.batch_first {
        outputs[0] = outputs[0].f_permute([2, 0, 1, 3])?;
        for state in &mut outputs[1..] {
            *state = state.f_transpose(0, 1)?;
        }
    }
    Ok(outputs.into())
}
