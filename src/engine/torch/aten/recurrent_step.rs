//! Recurrent layers one step of time after the other.

use tch::Tensor;

use crate::graph::{Cell, CellFunction, Recurrent};

use super::super::cause::Cause;
use super::super::ffi::scalar::{self, Number};
use super::args::{Args, Outputs, signed};
use super::datum::Datum;
use super::elementwise;
use super::recurrent::States;

type Function = Box<dyn Fn(Tensor) -> Result<Tensor, Cause> + Send + Sync>;

/// What one direction is made of, with the gates in the order of ONNX.
pub(super) struct Layer {
    pub(super) weights: Tensor,
    pub(super) recurrent: Tensor,
    pub(super) biases: Option<Tensor>,
    pub(super) peepholes: Option<Tensor>,
}

/// An operator made ready to run step by step.
pub(super) struct Steps {
    cell: Cell,
    /// Those of each direction.
    functions: Vec<Vec<Function>>,
}

/// The constants of one direction in one run.
struct Cells<'run> {
    cell: Cell,
    functions: &'run [Function],
    recurrent: &'run Tensor,
    bias: Option<Tensor>,
    peepholes: Option<Vec<Tensor>>,
}

impl Steps {
    pub(super) fn of(op: &Recurrent) -> Self {
        // That of the state, which comes third, is no gate's.
        let clips = [op.clip, op.clip, None];
        let direction = |functions: &[CellFunction]| {
            let pairs = functions.iter().zip(clips);
            pairs.map(|(own, clip)| function(*own, clip)).collect()
        };
        let per_direction = op.activations.chunks(op.cell.functions().len());
        Self {
            cell: op.cell,
            functions: per_direction.map(direction).collect(),
        }
    }

    /// Runs a direction over `x`, `[time, batch, size]`. Returns the sequence `[time, batch, hidden]` and the last states.
    ///
    /// A sequence that is shorter than `x` gives zeros after its end, and its states are those at its end: zeros, as in
    /// onnxruntime, where it has no element.
    pub(super) fn run(
        &self,
        direction: usize,
        reverse: bool,
        x: &Tensor,
        layer: &Layer,
        mut states: States,
        lengths: Option<&Tensor>,
    ) -> Result<(Tensor, States), Cause> {
        let (input_bias, bias) = match &layer.biases {
            None => (None, None),
            Some(biases) => {
                let half = layer.weights.size()[0];
                (
                    Some(biases.f_narrow(0, 0, half)?),
                    Some(biases.f_narrow(0, half, half)?),
                )
            }
        };
        let cells = Cells {
            cell: self.cell,
            functions: &self.functions[direction],
            recurrent: &layer.recurrent,
            bias,
            peepholes: layer
                .peepholes
                .as_ref()
                .map(|all| all.f_chunk(3, 0))
                .transpose()?,
        };
        let inputs = x.f_linear(&layer.weights, input_bias)?;
        let time = inputs.size()[0];
        let mut sequence: Vec<Option<Tensor>> = (0..time).map(|_| None).collect();
        for step in 0..time {
            let place = if reverse { time - 1 - step } else { step };
            let mut next = cells.step(&inputs.f_select(0, place)?, &states)?;
            let mut y = next.hidden.shallow_clone();
            if let Some(lengths) = lengths {
                let inside = scalar::is_above(lengths, place)?;
                y = y.f_where_self(&inside, &y.f_zeros_like()?)?;
                next.hidden = next.hidden.f_where_self(&inside, &states.hidden)?;
                next.cell = next.cell.f_where_self(&inside, &states.cell)?;
            }
            if let Some(slot) = usize::try_from(place)
                .ok()
                .and_then(|place| sequence.get_mut(place))
            {
                *slot = Some(y);
            }
            states = next;
        }
        if let Some(lengths) = lengths {
            let any = scalar::is_above(lengths, 0)?;
            states.hidden = states
                .hidden
                .f_where_self(&any, &states.hidden.f_zeros_like()?)?;
            states.cell = states
                .cell
                .f_where_self(&any, &states.cell.f_zeros_like()?)?;
        }
        let sequence: Vec<Tensor> = sequence.into_iter().flatten().collect();
        if sequence.is_empty() {
            let shape = [&[0], states.hidden.size().as_slice()].concat();
            let kind = states.hidden.f_kind()?;
            return Ok((Tensor::f_zeros(shape, (kind, x.device()))?, states));
        }
        Ok((Tensor::f_stack(&sequence, 0)?, states))
    }
}

impl Cells<'_> {
    fn step(&self, input: &Tensor, states: &States) -> Result<States, Cause> {
        match self.cell {
            Cell::Rnn => {
                let gates = self.recurrent_part(&states.hidden, 0, 1)?.f_add_(input)?;
                Ok(States {
                    hidden: (self.functions[0])(gates)?,
                    cell: states.cell.shallow_clone(),
                })
            }
            Cell::Gru {
                linear_before_reset,
            } => self.gru(input, states, linear_before_reset),
            Cell::Lstm { input_forget } => self.lstm(input, states, input_forget),
        }
    }

    fn gru(
        &self,
        input: &Tensor,
        states: &States,
        linear_before_reset: bool,
    ) -> Result<States, Cause> {
        let hidden = &states.hidden;
        let [update, reset, new] = gates(input)?;
        let (update, reset, new) = if linear_before_reset {
            let [own_update, own_reset, own_new] = gates(&self.recurrent_part(hidden, 0, 3)?)?;
            let update = (self.functions[0])(own_update.f_add(&update)?)?;
            let reset = (self.functions[0])(own_reset.f_add(&reset)?)?;
            let new = own_new.f_mul(&reset)?.f_add_(&new)?;
            (update, reset, new)
        } else {
            let [own_update, own_reset] = gates(&self.recurrent_part(hidden, 0, 2)?)?;
            let update = (self.functions[0])(own_update.f_add(&update)?)?;
            let reset = (self.functions[0])(own_reset.f_add(&reset)?)?;
            let new = self
                .recurrent_part(&reset.f_mul(hidden)?, 2, 1)?
                .f_add_(&new)?;
            (update, reset, new)
        };
        drop(reset);
        // (1 − z) · h + z · H, with one product less.
        let new = (self.functions[1])(new)?;
        let hidden = hidden.f_sub(&new)?.f_mul_(&update)?.f_add_(&new)?;
        Ok(States {
            hidden,
            cell: states.cell.shallow_clone(),
        })
    }

    fn lstm(&self, input: &Tensor, states: &States, input_forget: bool) -> Result<States, Cause> {
        let [enter, leave, forget, new] =
            gates(&self.recurrent_part(&states.hidden, 0, 4)?.f_add_(input)?)?;
        let peep = |gate: &Tensor, place: usize, cell: &Tensor| -> Result<Tensor, Cause> {
            Ok(
                match self.peepholes.as_ref().and_then(|all| all.get(place)) {
                    Some(peephole) => gate.f_add(&peephole.f_mul(cell)?)?,
                    None => gate.shallow_clone(),
                },
            )
        };
        let enter = (self.functions[0])(peep(&enter, 0, &states.cell)?)?;
        let forget = if input_forget {
            scalar::subtract_from(&enter, 1.0)?
        } else {
            (self.functions[0])(peep(&forget, 2, &states.cell)?)?
        };
        let new = (self.functions[1])(new)?;
        let cell = forget.f_mul(&states.cell)?.f_add_(&enter.f_mul(&new)?)?;
        let leave = (self.functions[0])(peep(&leave, 1, &cell)?)?;
        let hidden = (self.functions[2])(cell.shallow_clone())?.f_mul(&leave)?;
        Ok(States { hidden, cell })
    }

    /// Returns the products of a state with the recurrent weights of `count` gates from `first` on, with their biases.
    fn recurrent_part(&self, state: &Tensor, first: i64, count: i64) -> Result<Tensor, Cause> {
        let rows = self.recurrent.size()[0] / signed(self.cell.gates());
        let part = |tensor: &Tensor| tensor.f_narrow(0, first * rows, count * rows);
        let bias = self.bias.as_ref().map(part).transpose()?;
        Ok(state.f_linear(&part(self.recurrent)?, bias)?)
    }
}

/// Splits the columns of `N` gates.
fn gates<const N: usize>(all: &Tensor) -> Result<[Tensor; N], Cause> {
    let parts = all.f_chunk(signed(N), 1)?;
    parts
        .try_into()
        .map_err(|_| Cause::new(format!("{:?} is no row of {N} gates", all.size())))
}

/// Returns a function that may write to what it is given.
fn function(activation: CellFunction, clip: Option<f32>) -> Function {
    let plain: Function = match activation {
        CellFunction::Function(unary) => {
            let kernel = elementwise::unary(None, unary);
            Box::new(move |x| {
                let mut slots = [Some(Datum::from(x))];
                let mut args = Args {
                    slots: &mut slots,
                    inputs: &[Some(0)],
                    last: &[true],
                };
                match kernel(&mut args)? {
                    Outputs::One(Datum::Tensor(y)) => Ok(y),
                    _ => Err(Cause::new("the activation has no result")),
                }
            })
        }
        CellFunction::Affine { alpha, beta } => Box::new(move |x| {
            let mut y = scalar::multiply(&x, f64::from(alpha))?;
            scalar::add_in_place(&mut y, f64::from(beta))
        }),
        CellFunction::ScaledTanh { alpha, beta } => Box::new(move |x| {
            let mut y = scalar::multiply(&x, f64::from(beta))?.f_tanh_()?;
            scalar::multiply_in_place(&mut y, f64::from(alpha))
        }),
        CellFunction::ThresholdedRelu { alpha } => Box::new(move |x| {
            Ok(x.f_where_self(
                &scalar::is_at_least(&x, f64::from(alpha))?,
                &x.f_zeros_like()?,
            )?)
        }),
    };
    match clip {
        None => plain,
        Some(clip) => {
            let (low, high) = (
                Number::Float(-f64::from(clip)),
                Number::Float(f64::from(clip)),
            );
            Box::new(move |x| plain(scalar::clamp(&x, low, high)?))
        }
    }
}
