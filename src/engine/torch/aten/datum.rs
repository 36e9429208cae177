//! What a value holds in a run.

use tch::Tensor;

use crate::types::{self, DType};

use super::super::cause::Cause;
use super::super::ffi::{SharedTensor, export, is_sole_owner, view, view_as_left};
use super::args::signed;
use super::{storage, strings};

/// A value of a run. libtorch knows tensors only; the rest is ours.
#[derive(Debug)]
pub(super) enum Datum {
    /// Of the type in which [`storage`] keeps the value's dtype.
    Tensor(Tensor),
    /// BYTES, which libtorch has not.
    Strings(types::Tensor),
    Sequence(Vec<Datum>),
    /// An optional value that is absent.
    Nothing,
}

impl Datum {
    /// Takes a tensor in; its memory is shared where libtorch has the dtype.
    pub(super) fn import(tensor: &types::Tensor) -> Result<Self, Cause> {
        match tensor.dtype() {
            DType::Bytes => Ok(Self::Strings(tensor.clone())),
            dtype if storage::is_native(dtype) => Ok(Self::Tensor(view_as_left(tensor)?)),
            _ => Ok(Self::Tensor(view(&storage::decode(tensor)?)?)),
        }
    }

    /// Gives a tensor out, of the dtype that the value has.
    pub(super) fn export(&self, dtype: DType) -> Result<types::Tensor, Cause> {
        match self {
            Self::Tensor(tensor) => {
                let plain = export(tensor.shallow_clone())?;
                if storage::is_native(dtype) {
                    Ok(plain)
                } else {
                    storage::encode(&plain, dtype)
                }
            }
            Self::Strings(strings) => Ok(strings.clone()),
            Self::Sequence(_) | Self::Nothing => Err(Cause::new("is no tensor")),
        }
    }

    pub(super) fn tensor(&self) -> Result<&Tensor, Cause> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Strings(_) => Err(Cause::new("expected numbers, got strings")),
            Self::Sequence(_) => Err(Cause::new("expected a tensor, got a sequence")),
            Self::Nothing => Err(Cause::new("expected a tensor, got an empty optional")),
        }
    }

    pub(super) fn sequence(&self) -> Result<&[Self], Cause> {
        match self {
            Self::Sequence(items) => Ok(items),
            Self::Tensor(_) | Self::Strings(_) => {
                Err(Cause::new("expected a sequence, got a tensor"))
            }
            Self::Nothing => Err(Cause::new("expected a sequence, got an empty optional")),
        }
    }

    /// Returns the sizes of a tensor, also of strings.
    pub(super) fn shape(&self) -> Result<Vec<i64>, Cause> {
        match self {
            Self::Strings(strings) => {
                Ok(strings.shape().iter().map(|&size| signed(size)).collect())
            }
            other => Ok(other.tensor()?.size()),
        }
    }

    pub(super) fn rank(&self) -> Result<usize, Cause> {
        match self {
            Self::Strings(strings) => Ok(strings.shape().len()),
            other => Ok(other.tensor()?.dim()),
        }
    }

    /// Returns one slice along a dimension, which it loses. Both lie in range.
    pub(super) fn select(&self, axis: usize, place: i64) -> Result<Self, Cause> {
        match self {
            Self::Strings(_) => strings::select(self, axis, place),
            other => Ok(other.tensor()?.f_select(signed(axis), place)?.into()),
        }
    }

    /// Returns some slices along a dimension.
    pub(super) fn narrow(&self, axis: usize, first: i64, count: i64) -> Result<Self, Cause> {
        match self {
            Self::Strings(_) => strings::narrow(self, axis, first, count),
            other => Ok(other.tensor()?.f_narrow(signed(axis), first, count)?.into()),
        }
    }

    pub(super) fn strings(&self) -> Result<&types::Tensor, Cause> {
        match self {
            Self::Strings(strings) => Ok(strings),
            Self::Tensor(_) => Err(Cause::new("expected strings, got numbers")),
            Self::Sequence(_) => Err(Cause::new("expected strings, got a sequence")),
            Self::Nothing => Err(Cause::new("expected strings, got an empty optional")),
        }
    }

    /// Returns another handle on the same elements.
    pub(super) fn handle(&self) -> Self {
        match self {
            Self::Tensor(tensor) => Self::Tensor(tensor.shallow_clone()),
            Self::Strings(strings) => Self::Strings(strings.clone()),
            Self::Sequence(items) => Self::Sequence(items.iter().map(Self::handle).collect()),
            Self::Nothing => Self::Nothing,
        }
    }

    /// Tells whether this is a tensor that may be written to.
    pub(super) fn is_sole_owner(&self) -> bool {
        matches!(self, Self::Tensor(tensor) if is_sole_owner(tensor))
    }
}

impl From<Tensor> for Datum {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

/// A weight, which threads share because nobody writes to it.
#[derive(Debug)]
pub(super) enum Weight {
    Tensor(SharedTensor),
    Strings(types::Tensor),
}

impl Weight {
    /// Takes a tensor in, over memory of its own.
    pub(super) fn import(tensor: &types::Tensor) -> Result<Self, Cause> {
        match Datum::import(tensor)? {
            Datum::Tensor(tensor) => Ok(Self::Tensor(SharedTensor::new(tensor))),
            Datum::Strings(strings) => Ok(Self::Strings(strings)),
            Datum::Sequence(_) | Datum::Nothing => Err(Cause::new("is no tensor")),
        }
    }

    /// Returns another handle on the same elements.
    pub(super) fn handle(&self) -> Datum {
        match self {
            Self::Tensor(tensor) => Datum::Tensor(tensor.handle()),
            Self::Strings(strings) => Datum::Strings(strings.clone()),
        }
    }
}
