//! The order in which kernels find the elements of their inputs.
//!
//! Packed convolutions leave their channels innermost in memory, which the next one wants. What comes from another block
//! has the order of its dimensions. A model has to give the same wherever it is cut, so a kernel whose results depend on
//! the order, because it sums along it or because it takes the last few elements one by one, always gets the same.

use tch::Tensor;

use crate::graph::{Activation, Binary, Op, PoolKind, Unary};

use super::super::cause::Cause;
use super::super::ffi::is_channels_last;
use super::datum::Datum;

/// Elements that one step of a vectorised loop takes, on any machine.
const VECTORS: usize = 64;

/// Which orders a kernel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Any: results are the same.
    Any,
    /// Any for tensors that vectorised loops over up to this many threads divide without a rest, else that of the
    /// dimensions.
    Even { threads: usize },
    /// That of the dimensions, as opposed to channels last.
    Dimensions,
    /// That of the dimensions and no other.
    RowMajor,
}

impl Layout {
    /// Returns what the plain kernel of an operator takes.
    pub(super) fn of(op: &Op, threads: usize) -> Self {
        match op {
            Op::Unary(function) if is_exact(*function) => Self::Any,
            Op::Unary(_) => Self::Even { threads },
            Op::Binary(Binary::Pow) => Self::Dimensions,
            Op::Pool(pool) if pool.kind == PoolKind::Max => Self::Any,
            Op::GlobalPool(PoolKind::Max) | Op::Binary(_) | Op::Clip | Op::Where => Self::Any,
            op if op.only_moves() => Self::Any,
            _ => Self::Dimensions,
        }
    }

    /// Returns what the kernel of an operator takes on a device, whose libraries choose how to multiply and sum by where
    /// the elements lie.
    pub(super) fn on_device(op: &Op) -> Self {
        match Self::of(op, 1) {
            // Element by element, each by itself.
            Self::Any | Self::Even { .. } => Self::Any,
            Self::Dimensions | Self::RowMajor => Self::RowMajor,
        }
    }

    /// Returns what the kernel of an activation takes.
    pub(super) fn of_activation(activation: Activation, threads: usize) -> Self {
        match activation.function() {
            Some(function) if !is_exact(function) => Self::Even { threads },
            _ => Self::Any,
        }
    }

    /// Puts inputs into an order that the kernel takes. Returns what was in the slots of those that are not used for the
    /// last time, to be put back.
    pub(super) fn arrange(
        self,
        inputs: &[Option<usize>],
        last: &[bool],
        slots: &mut [Option<Datum>],
    ) -> Result<Vec<(usize, Datum)>, Cause> {
        let mut kept = Vec::new();
        if self == Self::Any {
            return Ok(kept);
        }
        for (slot, &is_last) in inputs.iter().zip(last) {
            let Some(slot) = *slot else {
                continue;
            };
            let Some(Datum::Tensor(tensor)) = &slots[slot] else {
                continue;
            };
            if self.takes(tensor) {
                continue;
            }
            let arranged = Datum::Tensor(tensor.f_contiguous()?);
            let before = slots[slot].replace(arranged).filter(|_| !is_last);
            kept.extend(before.map(|datum| (slot, datum)));
        }
        Ok(kept)
    }

    /// Returns the tensor in an order that the kernel takes.
    pub(super) fn arranged(self, tensor: Tensor) -> Result<Tensor, Cause> {
        if self.takes(&tensor) {
            return Ok(tensor);
        }
        Ok(tensor.f_contiguous()?)
    }

    fn takes(self, tensor: &Tensor) -> bool {
        match self {
            Self::Any => true,
            Self::Even { threads } if is_even(tensor.numel(), threads) => true,
            Self::Even { .. } | Self::Dimensions => !is_channels_last(tensor),
            Self::RowMajor => tensor.is_contiguous(),
        }
    }
}

fn is_even(elements: usize, threads: usize) -> bool {
    (1..=threads).all(|threads| elements.is_multiple_of(threads * VECTORS))
}

/// Tells whether each step of a function rounds alike in vectors and one by one.
fn is_exact(function: Unary) -> bool {
    matches!(
        function,
        Unary::Relu
            | Unary::Neg
            | Unary::Abs
            | Unary::Floor
            | Unary::Ceil
            | Unary::Round
            | Unary::Sign
            | Unary::Not
            | Unary::HardSwish
            | Unary::HardSigmoid { .. }
            | Unary::LeakyRelu { .. }
    )
}
