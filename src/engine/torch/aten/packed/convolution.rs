//! Convolutions with constant filters.

use tch::Tensor;

use crate::graph::{Activation, Conv};

use super::super::super::cause::Cause;
use super::super::super::ffi::boxed::Call;
use super::super::super::ffi::is_channels_last;
use super::super::args::Args;
use super::super::context::NodeContext;
use super::super::fused::activate;
use super::super::layout::Layout;
use super::super::window::{Axis, pad};
use super::choice::{Choices, Way, first_working, way};
use super::dense::{Rearrange, channels_last, dense};
use super::dispatch::Packed;
use super::one_dnn::{OneDnn, Sum, pack};
use super::problem::{Problem, Weights, problem};
use super::sample;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    /// The plain kernel, over dense filters and data in the order of the dimensions.
    Plain,
    /// The plain kernel with channels last.
    ChannelsLast,
    OneDnn,
}

static CHOICES: Choices<Problem, Library> = Choices::new();

/// Inputs: data, weight, bias?, addend?.
pub(super) fn kernel(
    context: &NodeContext<'_>,
    conv: &Conv,
    activation: Option<Activation>,
    threads: usize,
) -> Result<Option<Packed>, Cause> {
    let Some((problem, axes)) = problem(context, conv, threads) else {
        return Ok(None);
    };
    let library = CHOICES.get(problem.clone(), threads, || tried(context, &problem))?;
    let (name, pack): (_, Pack) = match library {
        Library::Plain => return Ok(None),
        Library::ChannelsLast => ("channels-last", channels_last),
        Library::OneDnn => ("oneDNN", pack),
    };
    let filters = context.made_of(1, problem.form(name), |filters| pack(&problem, filters))?;
    let Some(filters) = filters else {
        return Ok(None);
    };
    let bias = context.weight(2)?;
    let packed = Weights { filters, bias };
    let has_addend = context.has_input(3);
    let (alone, fused, sum) = if library == Library::OneDnn {
        let packed = &packed;
        let problem = &problem;
        let parts = OneDnn { problem, packed };
        let sum = has_addend.then(|| parts.sum(activation)).transpose()?;
        (
            parts.call(None)?,
            parts.fused(activation, has_addend)?,
            sum.flatten(),
        )
    } else {
        (dense(&problem, &packed)?, None, None)
    };
    let kernel = PackedConv {
        alone,
        fused,
        sum,
        rearrange: Rearrange::new(&problem)?,
        activation,
        axes,
        problem,
    };
    Ok(Some(Packed {
        kernel: Box::new(move |args| Ok(kernel.run(args)?.into())),
        layout: Layout::Any,
        absorbed: vec![1, 2],
    }))
}

/// A function of a problem and of filters as a file has them.
type Pack = fn(&Problem, &Tensor) -> Result<Tensor, Cause>;

fn tried(context: &NodeContext<'_>, problem: &Problem) -> Result<Library, Cause> {
    let x = sample::numbers(&problem.data)?;
    let x_last = Rearrange::new(problem)?.apply(&x)?;
    let Some(filters) = context.constant(1).map(sample::mapped).transpose()? else {
        return Ok(Library::Plain);
    };
    let bias = context.constant(2).map(sample::mapped).transpose()?;
    let weights = |filters: Tensor| Weights {
        filters,
        bias: bias.as_ref().map(Tensor::shallow_clone),
    };
    let mut ways: Vec<(Library, Way<'_>)> = Vec::new();
    let packed = pack(problem, &filters).and_then(|filters| {
        let packed = &weights(filters);
        OneDnn { problem, packed }.call(None)
    });
    // The second is the first with filters that are packed anew in each run, for a libtorch that lacks the operator.
    ways.push(match packed {
        Ok(call) => (Library::OneDnn, way(call, &x_last)),
        Err(_) => {
            let filters = channels_last(problem, &filters)?;
            let call = dense(problem, &weights(filters))?;
            (Library::ChannelsLast, way(call, &x_last))
        }
    });
    ways.push((Library::Plain, way(dense(problem, &weights(filters))?, &x)));
    Ok(first_working(&ways).unwrap_or(Library::Plain))
}

struct PackedConv {
    alone: Call,
    /// With the activation; for use without an addend.
    fused: Option<Call>,
    sum: Option<Sum>,
    rearrange: Rearrange,
    activation: Option<Activation>,
    /// Where padding differs between sides.
    axes: Vec<Axis>,
    problem: Problem,
}

impl PackedConv {
    fn run(&self, args: &mut Args<'_>) -> Result<Tensor, Cause> {
        let x = self.padded(args.tensor(0)?)?;
        let result_size = self.result_size(&x);
        if x.numel() == 0 {
            return Ok(Tensor::f_empty(
                result_size,
                (tch::Kind::Float, tch::Device::Cpu),
            )?);
        }
        let x = [Some(&x)];
        let Some(addend) = args.optional(3)? else {
            return match &self.fused {
                Some(call) => call.tensor(&x),
                None => self.activated(self.alone.tensor(&x)?),
            };
        };
        if let Some(sum) = &self.sum
            && addend.size() == result_size
        {
            let mut place = match args.take(3) {
                Some(place) if is_channels_last(&place) => place,
                Some(place) => self.rearrange.apply(&place)?,
                None => {
                    // Another handle or a fresh copy; in either case the copy below is nobody else's.
                    let addend = self.rearrange.apply(args.tensor(3)?)?;
                    sample::copied(&addend)?
                }
            };
            let result = sum.call.tensor_in_place(&mut place, &x)?;
            return if sum.activates {
                Ok(result)
            } else {
                self.activated(result)
            };
        }
        self.activated(self.alone.tensor(&x)?.f_add(addend)?)
    }

    fn activated(&self, x: Tensor) -> Result<Tensor, Cause> {
        let Some(activation) = self.activation else {
            return Ok(x);
        };
        let layout = Layout::of_activation(activation, self.problem.threads);
        activate(self.activation, layout.arranged(x)?)
    }

    fn padded(&self, x: &Tensor) -> Result<Tensor, Cause> {
        let x = if self.axes.is_empty() {
            x.shallow_clone()
        } else {
            pad(x, &self.axes, |axis| (axis.begin, axis.end), 0.0)?
        };
        let size = x.size();
        if size.get(1..) != self.problem.data.get(1..) {
            return Err(Cause::new(format!(
                "data has, with its padding, shape {size:?}, expected {:?} but for the first size",
                self.problem.data
            )));
        }
        Ok(x)
    }

    fn result_size(&self, x: &Tensor) -> Vec<i64> {
        let problem = &self.problem;
        let rows = x.size()[0];
        let windows = (0..problem.padding.len()).map(|axis| {
            let span = (problem.filters[axis + 2] - 1) * problem.dilations[axis] + 1;
            (problem.data[axis + 2] + 2 * problem.padding[axis] - span) / problem.strides[axis] + 1
        });
        [rows, problem.filters[0]]
            .into_iter()
            .chain(windows)
            .collect()
    }
}
