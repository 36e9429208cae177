//! Convolutions of oneDNN over filters that it has packed, and what it fuses into them.

use tch::Tensor;

use crate::graph::Activation;

use super::super::super::cause::Cause;
use super::super::super::ffi::boxed::{Argument, Call, Operator};
use super::super::fused::activate;
use super::choice::Choices;
use super::dense::Rearrange;
use super::problem::{Problem, Weights};
use super::sample;

/// What a convolution does to a result before it stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fusion {
    /// Adds what is in the result's place already.
    Sum,
    SumRelu,
    Relu,
    /// Bits of the bounds.
    Clip(u64, u64),
}

/// Whether a fused convolution gives what it gives in steps.
static FUSIONS: Choices<(Problem, Fusion), bool> = Choices::new();

/// Packs filters for a problem.
pub(super) fn pack(problem: &Problem, filters: &Tensor) -> Result<Tensor, Cause> {
    Operator::find("mkldnn::_reorder_convolution_weight", "")?
        .bind_all(vec![
            Argument::Input(0),
            Argument::ints(&problem.padding),
            Argument::ints(&problem.strides),
            Argument::ints(&problem.dilations),
            Argument::Int(problem.groups),
            Argument::ints(&problem.data),
        ])?
        .tensor(&[Some(filters)])
}

/// A problem with packed filters, and the calls over them.
pub(super) struct OneDnn<'a> {
    pub(super) problem: &'a Problem,
    pub(super) packed: &'a Weights,
}

impl OneDnn<'_> {
    /// A convolution, and a function of its result.
    pub(super) fn call(&self, fusion: Option<Fusion>) -> Result<Call, Cause> {
        let (name, numbers) = match fusion {
            Some(Fusion::Relu) => ("relu", vec![]),
            Some(Fusion::Clip(min, max)) => {
                let bounds = [min, max].map(|bits| Argument::Float(f64::from_bits(bits)));
                ("hardtanh", bounds.into())
            }
            _ => ("none", vec![]),
        };
        let mut arguments = vec![Argument::Input(0)];
        arguments.extend(self.common());
        arguments.extend([
            Argument::Text(name),
            Argument::List(numbers),
            Argument::Text(""),
        ]);
        Operator::find("mkldnn::_convolution_pointwise", "")?.bind_all(arguments)
    }

    /// A convolution that adds its result to what it is given.
    fn sum_call(&self, fusion: Fusion) -> Result<Call, Cause> {
        let mut arguments = vec![Argument::Written, Argument::Input(0)];
        arguments.extend(self.common());
        arguments.extend([
            Argument::Text("add"),
            Argument::Float(1.0),
            match fusion {
                Fusion::SumRelu => Argument::Text("relu"),
                _ => Argument::None,
            },
            Argument::List(Vec::new()),
            Argument::None,
        ]);
        Operator::find("mkldnn::_convolution_pointwise_", "binary")?.bind_all(arguments)
    }

    fn common(&self) -> [Argument<'_>; 6] {
        [
            Argument::Tensor(&self.packed.filters),
            Argument::optional(self.packed.bias.as_ref()),
            Argument::ints(&self.problem.padding),
            Argument::ints(&self.problem.strides),
            Argument::ints(&self.problem.dilations),
            Argument::Int(self.problem.groups),
        ]
    }

    /// Returns a convolution with its activation, where it gives what it gives in steps.
    pub(super) fn fused(
        &self,
        activation: Option<Activation>,
        has_addend: bool,
    ) -> Result<Option<Call>, Cause> {
        let fusion = match activation {
            _ if has_addend => return Ok(None),
            Some(Activation::Relu) => Fusion::Relu,
            Some(Activation::Clip { min, max }) if min.is_finite() && max.is_finite() => {
                Fusion::Clip(min.to_bits(), max.to_bits())
            }
            _ => return Ok(None),
        };
        let call = self.call(Some(fusion))?;
        let agrees = self.agrees(fusion, || {
            let x = sample::numbers(&self.problem.data)?;
            let steps = activate(activation, self.call(None)?.tensor(&[Some(&x)])?)?;
            Ok(call.tensor(&[Some(&x)])?.f_equal(&steps)?)
        })?;
        Ok(agrees.then_some(call))
    }

    /// Returns a convolution that adds, and what activation is in it, where it gives what it gives in steps.
    pub(super) fn sum(&self, activation: Option<Activation>) -> Result<Option<Sum>, Cause> {
        let fusion = match activation {
            Some(Activation::Relu) => Fusion::SumRelu,
            _ => Fusion::Sum,
        };
        let call = self.sum_call(fusion)?;
        let activates = fusion == Fusion::SumRelu;
        let agrees = self.agrees(fusion, || {
            let x = sample::numbers(&self.problem.data)?;
            let mut steps = self.call(None)?.tensor(&[Some(&x)])?;
            let addend = Rearrange::new(self.problem)?.apply(&sample::numbers(&steps.size())?)?;
            let mut place = sample::copied(&addend)?;
            let steps = steps.f_add_(&addend)?;
            let steps = activate(activation.filter(|_| activates), steps)?;
            let sum = call.tensor_in_place(&mut place, &[Some(&x)])?;
            Ok(sum.f_equal(&steps)?)
        })?;
        Ok(agrees.then_some(Sum { call, activates }))
    }

    fn agrees(
        &self,
        fusion: Fusion,
        agree: impl FnOnce() -> Result<bool, Cause>,
    ) -> Result<bool, Cause> {
        let key = (self.problem.clone(), fusion);
        FUSIONS.get(key, self.problem.threads, || Ok(agree().unwrap_or(false)))
    }
}

/// A convolution into the place of an addend.
pub(super) struct Sum {
    pub(super) call: Call,
    /// Whether the activation is in it.
    pub(super) activates: bool,
}
