//! What a kernel is, and what it gets from and gives to a run.

use std::borrow::Cow;

use tch::Tensor;

use super::super::cause::Cause;
use super::super::ffi::scalar::Number;
use super::datum::Datum;

/// One node made ready to run.
pub(super) type Kernel = Box<dyn Fn(&mut Args<'_>) -> Result<Outputs, Cause> + Send + Sync>;

/// What a kernel returns.
pub(super) enum Outputs {
    One(Datum),
    Many(Vec<Datum>),
}

impl From<Tensor> for Outputs {
    fn from(tensor: Tensor) -> Self {
        Self::One(tensor.into())
    }
}

impl From<Datum> for Outputs {
    fn from(datum: Datum) -> Self {
        Self::One(datum)
    }
}

impl From<Vec<Tensor>> for Outputs {
    fn from(tensors: Vec<Tensor>) -> Self {
        Self::Many(tensors.into_iter().map(Datum::Tensor).collect())
    }
}

/// The inputs of one node in one run.
pub(super) struct Args<'run> {
    /// What the run holds, by value.
    pub(super) slots: &'run mut [Option<Datum>],
    /// Slot of each input; `None` where an optional input is absent.
    pub(super) inputs: &'run [Option<usize>],
    /// Whether the input is used here for the last time, and only once.
    pub(super) last: &'run [bool],
}

impl Args<'_> {
    /// Returns an input that the operator cannot do without.
    pub(super) fn tensor(&self, input: usize) -> Result<&Tensor, Cause> {
        self.datum(input)?.tensor()
    }

    /// Returns an input, whatever it holds.
    pub(super) fn datum(&self, input: usize) -> Result<&Datum, Cause> {
        self.given(input)
            .ok_or_else(|| Cause::new(format!("input {input} is missing")))
    }

    /// Returns a tensor that may be left out.
    pub(super) fn optional(&self, input: usize) -> Result<Option<&Tensor>, Cause> {
        self.given(input).map(Datum::tensor).transpose()
    }

    /// Returns an input that may be left out, whatever it holds.
    pub(super) fn given(&self, input: usize) -> Option<&Datum> {
        let slot = (*self.inputs.get(input)?)?;
        self.slots.get(slot)?.as_ref()
    }

    /// Returns the inputs in order.
    pub(super) fn tensors(&self) -> Result<Vec<&Tensor>, Cause> {
        (0..self.inputs.len())
            .map(|input| self.tensor(input))
            .collect()
    }

    /// Returns a handle on an input, or the input itself where nobody needs it afterwards.
    pub(super) fn passed_on(&mut self, input: usize) -> Result<Datum, Cause> {
        let missing = || Cause::new(format!("input {input} is missing"));
        let slot = self.inputs.get(input).copied().flatten();
        let value = slot.and_then(|slot| self.slots.get_mut(slot));
        let value = value.ok_or_else(missing)?;
        let passed = match self.last.get(input) {
            Some(true) => value.take(),
            _ => value.as_ref().map(Datum::handle),
        };
        passed.ok_or_else(missing)
    }

    /// Takes an input away, to be written to: possible where nobody else sees it or needs it afterwards.
    pub(super) fn take(&mut self, input: usize) -> Option<Tensor> {
        let slot = (*self.inputs.get(input)?)?;
        if !*self.last.get(input)? || !self.slots.get(slot)?.as_ref()?.is_sole_owner() {
            return None;
        }
        match self.slots.get_mut(slot)?.take()? {
            Datum::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }
}

/// A list of integers that ONNX passes as a tensor.
#[derive(Debug)]
pub(super) enum Integers {
    Absent,
    Constant(Vec<i64>),
    /// To be read in each run, from that input.
    Input(usize),
}

impl Integers {
    /// Returns the list, or `None` where the input is absent.
    pub(super) fn read(&self, args: &Args<'_>) -> Result<Option<Cow<'_, [i64]>>, Cause> {
        match self {
            Self::Absent => Ok(None),
            Self::Constant(list) => Ok(Some(Cow::Borrowed(list))),
            Self::Input(input) => integers(args.tensor(*input)?).map(|list| Some(Cow::Owned(list))),
        }
    }

    pub(super) fn required(&self, args: &Args<'_>, name: &str) -> Result<Cow<'_, [i64]>, Cause> {
        self.read(args)?
            .ok_or_else(|| Cause::new(format!("{name} is missing")))
    }
}

/// Reads the only element of a tensor.
pub(super) fn number(tensor: &Tensor) -> Result<Number, Cause> {
    if tensor.numel() != 1 {
        return Err(Cause::new(format!(
            "expected one number, got shape {:?}",
            tensor.size()
        )));
    }
    let flat = tensor.f_reshape([1])?;
    if is_integer(&flat)? {
        Ok(Number::Int(flat.f_int64_value(&[0])?))
    } else {
        Ok(Number::Float(flat.f_double_value(&[0])?))
    }
}

/// Reads all elements of an integer tensor.
pub(super) fn integers(tensor: &Tensor) -> Result<Vec<i64>, Cause> {
    if !is_integer(tensor)? {
        return Err(Cause::new(format!(
            "expected integers, got {:?}",
            tensor.f_kind()?
        )));
    }
    let flat = tensor
        .f_totype(tch::Kind::Int64)?
        .f_reshape([-1])?
        .f_contiguous()?;
    let mut list = vec![0_i64; flat.numel()];
    let count = list.len();
    flat.f_copy_data(&mut list, count)?;
    Ok(list)
}

/// Reads all elements as numbers of FP64.
pub(super) fn doubles(tensor: &Tensor) -> Result<Vec<f64>, Cause> {
    let flat = tensor
        .f_totype(tch::Kind::Double)?
        .f_reshape([-1])?
        .f_contiguous()?;
    let mut list = vec![0.0; flat.numel()];
    let count = list.len();
    flat.f_copy_data(&mut list, count)?;
    Ok(list)
}

/// Tells whether the elements are integers or booleans.
pub(super) fn is_integer(tensor: &Tensor) -> Result<bool, Cause> {
    use tch::Kind::{Bool, Int, Int8, Int16, Int64, Uint8};
    Ok(matches!(
        tensor.f_kind()?,
        Bool | Uint8 | Int8 | Int16 | Int | Int64
    ))
}

/// Turns an ONNX axis, which counts from the end when negative, into an index below `rank`.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, Cause> {
    let from_end = i64::try_from(rank).unwrap_or(i64::MAX);
    let index = if axis < 0 {
        axis.checked_add(from_end)
    } else {
        Some(axis)
    };
    index
        .and_then(|index| usize::try_from(index).ok())
        .filter(|&index| index < rank)
        .ok_or_else(|| Cause::new(format!("axis {axis} lies outside of rank {rank}")))
}

/// As [`axis_of`], where the axis may also stand behind the last dimension.
pub(super) fn split_of(axis: i64, rank: usize) -> Result<usize, Cause> {
    if usize::try_from(axis) == Ok(rank) {
        Ok(rank)
    } else {
        axis_of(axis, rank)
    }
}

/// As [`axis_of`], for several axes, each at most once; in rising order.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, Cause> {
    let mut sorted: Vec<usize> = axes
        .iter()
        .map(|&axis| axis_of(axis, rank))
        .collect::<Result<_, _>>()?;
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Cause::new(format!("axes {axes:?} name a dimension twice")));
    }
    Ok(sorted)
}

/// An index as libtorch takes it.
#[expect(
    clippy::cast_possible_wrap,
    reason = "indices of dimensions and sizes in memory are far below 2^63"
)]
pub(super) const fn signed(index: usize) -> i64 {
    index as i64
}
