//! Convolutions over filters that libtorch packs anew in each run, and the order of their elements.

use tch::Tensor;

use super::super::super::cause::Cause;
use super::super::super::ffi::boxed::{Argument, Call, MemoryFormat, Operator, Place};
use super::problem::{Problem, Weights};
use super::sample;

/// Returns filters whose channels lie innermost.
pub(super) fn channels_last(problem: &Problem, filters: &Tensor) -> Result<Tensor, Cause> {
    // Where both orders are one, the copy is what makes them independent of the file.
    sample::copied(&Rearrange::new(problem)?.apply(filters)?)
}

/// Over filters in either order, that of the data.
pub(super) fn dense(problem: &Problem, weights: &Weights) -> Result<Call, Cause> {
    Operator::find("aten::convolution", "")?.bind_all(vec![
        Argument::Input(0),
        Argument::Tensor(&weights.filters),
        Argument::optional(weights.bias.as_ref()),
        Argument::ints(&problem.strides),
        Argument::ints(&problem.padding),
        Argument::ints(&problem.dilations),
        Argument::Bool(false),
        Argument::ints(&vec![0; problem.padding.len()]),
        Argument::Int(problem.groups),
    ])
}

/// Puts the channels innermost in memory; where they are, returns another handle.
pub(super) struct Rearrange(Call);

impl Rearrange {
    pub(super) fn new(problem: &Problem) -> Result<Self, Cause> {
        let format = match problem.data.len() {
            5 => MemoryFormat::ChannelsLast3d,
            _ => MemoryFormat::ChannelsLast,
        };
        let arguments = [
            (Place::At(0), Argument::Input(0)),
            (Place::Named("memory_format"), Argument::Format(format)),
        ];
        let call = Operator::find("aten::contiguous", "")?.bind(&arguments)?;
        Ok(Self(call))
    }

    pub(super) fn apply(&self, tensor: &Tensor) -> Result<Tensor, Cause> {
        self.0.tensor(&[Some(tensor)])
    }
}
