//! Recurrent layers: libtorch's fused ones where they compute what ONNX asks for, else step by step.

use tch::{Kind, Tensor};

use crate::graph::{Cell, CellFunction, Direction, Recurrent, Unary};

use super::super::cause::Cause;
use super::super::ffi::SharedTensor;
use super::super::ffi::cuda::beside;
use super::args::{Args, Kernel, Outputs, integers, signed};
use super::context::NodeContext;
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
/// of different lengths. So does everything on a device: what cuDNN's fused layers round like depends on more than the layer.
pub(super) fn recurrent(context: &NodeContext<'_>, op: &Recurrent) -> Result<Kernel, Cause> {
    let op = op.clone();
    if op.activations.len() != op.cell.functions().len() * op.direction.count() {
        let seen = op.activations.len();
        return Err(Cause::new(format!(
            "got {seen} activations for {:?} {:?}",
            op.direction, op.cell
        )));
    }
    let fused = Fused::of(&op).filter(|_| !context.has_input(7) && !context.is_for_device());
    let ready = match fused {
        Some(fused) => Ready::of(context, fused, &op)?,
        None => None,
    };
    let steps = Steps::of(&op);
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let recurrent = match &ready {
            Some(ready) => ready.recurrent.clone(),
            None => args.tensor(2)?.size(),
        };
        let directions = signed(op.direction.count());
        let (&[first, second, _], &[seen, _, hidden]) = (x.size().as_slice(), recurrent.as_slice())
        else {
            let size = x.size();
            return Err(Cause::new(format!(
                "data has shape {size:?}, R {recurrent:?}"
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
        let lengths = lengths.map(|lengths| beside(&lengths, &x)).transpose()?;
        let (y, last) = match fused {
            Some(_) if lengths.is_none() && time == 0 => {
                (states.hidden.f_unsqueeze(0)?.f_narrow(0, 0, 0)?, states)
            }
            Some(fused) if lengths.is_none() => {
                let parameters = match &ready {
                    Some(ready) => ready.parameters.iter().map(SharedTensor::handle).collect(),
                    None => fused.parameters(&op, |part| {
                        let tensor = args.optional(part.input)?;
                        tensor.map(|tensor| fused.ordered(part, tensor)).transpose()
                    })?,
                };
                fused.run(&op, &x, &states, &parameters)?
            }
            _ => stepwise(&op, &steps, args, &x, &states, lengths.as_ref())?,
        };
        outputs(&op, y, last)
    }))
}

/// A part of W, of R, or of the biases of both, one after the other, that libtorch takes as one parameter.
#[derive(Debug, Clone, Copy)]
struct Part {
    input: usize,
    direction: i64,
    /// Place among the equal halves of the rows, and their number.
    half: i64,
    halves: i64,
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

    /// Returns W, R and, if there are, the biases of both for each direction, as libtorch takes them. `part` returns
    /// one, or nothing where the input is absent.
    fn parameters(
        self,
        op: &Recurrent,
        part: impl Fn(Part) -> Result<Option<Tensor>, Cause>,
    ) -> Result<Vec<Tensor>, Cause> {
        let mut list = Vec::new();
        for direction in 0..signed(op.direction.count()) {
            for (input, half, halves) in [(1, 0, 1), (2, 0, 1), (3, 0, 2), (3, 1, 2)] {
                list.extend(part(Part {
                    input,
                    direction,
                    half,
                    halves,
                })?);
            }
        }
        Ok(list)
    }

    /// Returns a copy of one part of an input, its gates in libtorch's order.
    fn ordered(self, part: Part, input: &Tensor) -> Result<Tensor, Cause> {
        let gates = self.gates();
        let rows = input.f_select(0, part.direction)?;
        let chunks = rows.f_chunk(part.halves * signed(gates.len()), 0)?;
        let picked = gates.iter().map(|&gate| {
            let place = part.half * signed(gates.len()) + gate;
            usize::try_from(place)
                .ok()
                .and_then(|place| chunks.get(place))
        });
        let picked: Option<Vec<&Tensor>> = picked.collect();
        let picked = picked.ok_or_else(|| {
            let (seen, count) = (rows.size(), gates.len());
            Cause::new(format!("{seen:?} rows are no {count} gates"))
        })?;
        Ok(Tensor::f_cat(&picked, 0)?)
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

/// Tells whether the kernel of [`recurrent`] reads W, R and B at preparation only: the model carries them, and no
/// sequence can be shorter than the tensor, which takes single steps.
pub(super) fn absorbs_weights(context: &NodeContext<'_>, op: &Recurrent) -> bool {
    let is_fused = Fused::of(op).is_some() && !context.has_input(7);
    is_fused && Ready::is_possible(context) && !context.has_input(4)
}

/// The parameters of a fused layer, their gates put in order once.
struct Ready {
    parameters: Vec<SharedTensor>,
    /// Shape of R.
    recurrent: Vec<i64>,
}

impl Ready {
    /// Tells whether the model carries W, R and, if it has one, B.
    fn is_possible(context: &NodeContext<'_>) -> bool {
        (1..=3).all(|input| !context.has_input(input) || context.constant(input).is_some())
    }

    fn of(context: &NodeContext<'_>, fused: Fused, op: &Recurrent) -> Result<Option<Self>, Cause> {
        let Some(recurrent) = context.constant(2).filter(|_| Self::is_possible(context)) else {
            return Ok(None);
        };
        let parameters = fused.parameters(op, |part| {
            let form = format!("gates {:?} of {part:?}", fused.gates());
            context.made_of(part.input, form, |tensor| fused.ordered(part, tensor))
        })?;
        Ok(Some(Self {
            parameters: parameters.into_iter().map(SharedTensor::new).collect(),
            recurrent: recurrent.shape().iter().copied().map(signed).collect(),
        }))
    }
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
                (args.tensor(0)?.f_kind()?, args.tensor(0)?.device()),
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
