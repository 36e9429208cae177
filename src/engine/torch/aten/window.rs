//! Where the windows of convolutions and poolings lie.

use tch::Tensor;

use crate::graph::AutoPad;

use super::super::cause::Cause;

/// The windows along one spatial dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) input: i64,
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) dilation: i64,
    /// Padding before the first element, and behind the last; what is left out there where it is negative.
    pub(super) begin: i64,
    pub(super) end: i64,
    /// Number of windows.
    pub(super) output: i64,
}

/// Parameters common to convolutions and poolings. Empty lists stand for ones or, of `pads`, zeros.
pub(super) struct Windows<'op> {
    pub(super) auto_pad: AutoPad,
    pub(super) pads: &'op [usize],
    pub(super) strides: &'op [usize],
    pub(super) dilations: &'op [usize],
    pub(super) ceil_mode: bool,
}

impl Windows<'_> {
    /// Places the windows of a kernel over the spatial dimensions `input`.
    pub(super) fn place(&self, input: &[i64], kernel: &[i64]) -> Result<Vec<Axis>, Cause> {
        let rank = input.len();
        let small = kernel.iter().all(|&size| i32::try_from(size).is_ok());
        if kernel.len() != rank || !(1..=3).contains(&rank) || !small {
            return Err(Cause::new(format!(
                "kernel {kernel:?} does not fit {rank} spatial dimensions (1 to 3 are supported)"
            )));
        }
        let strides = filled(self.strides, rank, 1, "strides")?;
        let dilations = filled(self.dilations, rank, 1, "dilations")?;
        let pads = filled(self.pads, 2 * rank, 0, "pads")?;
        (0..rank)
            .map(|index| {
                let axis = Axis {
                    input: input[index],
                    kernel: kernel[index],
                    stride: strides[index],
                    dilation: dilations[index],
                    begin: pads[index],
                    end: pads[rank + index],
                    output: 0,
                };
                axis.placed(self.auto_pad, self.ceil_mode)
            })
            .collect()
    }
}

impl Axis {
    fn placed(mut self, auto_pad: AutoPad, ceil_mode: bool) -> Result<Self, Cause> {
        if self.kernel < 1 || self.stride < 1 || self.dilation < 1 {
            return Err(Cause::new(
                "kernel sizes, strides and dilations must be positive",
            ));
        }
        let span = self.span();
        match auto_pad {
            AutoPad::Explicit => {}
            AutoPad::Valid => (self.begin, self.end) = (0, 0),
            AutoPad::SameUpper | AutoPad::SameLower => {
                let output = (self.input + self.stride - 1) / self.stride;
                // Fewer than zero where strides leave elements out: windows begin behind the first one then.
                let total = (output - 1) * self.stride + span - self.input;
                let small = total / 2;
                (self.begin, self.end) = match auto_pad {
                    AutoPad::SameLower => (total - small, small),
                    _ => (small, total - small),
                };
                self.output = output;
                return Ok(self);
            }
        }
        let room = self.input + self.begin + self.end - span;
        if room < 0 {
            return Err(Cause::new(format!(
                "a window of {span} does not fit {} elements with padding {} and {}",
                self.input, self.begin, self.end
            )));
        }
        self.output = room / self.stride + 1;
        if ceil_mode && auto_pad == AutoPad::Explicit && room % self.stride != 0 {
            self.output += 1;
            // A window that would start in the padding behind the last element is left out.
            if (self.output - 1) * self.stride >= self.input + self.begin {
                self.output -= 1;
            }
        }
        Ok(self)
    }

    /// Elements from the first to the last of a window.
    pub(super) fn span(&self) -> i64 {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Elements behind the last one that the windows reach, fewer than zero where they do not reach the last one.
    pub(super) fn reach(&self) -> i64 {
        (self.output - 1) * self.stride + self.span() - self.begin - self.input
    }
}

/// Pads (or crops) the spatial dimensions of `tensor` by what `amounts` says of each axis: before, behind.
pub(super) fn pad(
    tensor: &Tensor,
    axes: &[Axis],
    amounts: impl Fn(&Axis) -> (i64, i64),
    value: f64,
) -> Result<Tensor, Cause> {
    let list: Vec<i64> = axes
        .iter()
        .rev()
        .map(amounts)
        .flat_map(|(begin, end)| [begin, end])
        .collect();
    if list.iter().all(|&amount| amount == 0) {
        return Ok(tensor.shallow_clone());
    }
    Ok(tensor.f_pad(list, "constant", value)?)
}

/// Returns one parameter of every axis.
pub(super) fn each(axes: &[Axis], parameter: impl Fn(&Axis) -> i64) -> Vec<i64> {
    axes.iter().map(parameter).collect()
}

pub(super) fn filled(
    list: &[usize],
    count: usize,
    default: i64,
    name: &str,
) -> Result<Vec<i64>, Cause> {
    if list.is_empty() {
        return Ok(vec![default; count]);
    }
    if list.len() != count {
        return Err(Cause::new(format!(
            "{name} {list:?} should be {count} numbers"
        )));
    }
    // Bounded, so that sums and products of a few of them cannot overflow.
    list.iter()
        .map(|&number| i32::try_from(number).map(i64::from))
        .collect::<Result<_, _>>()
        .map_err(|_| Cause::new(format!("{name} {list:?} are too large")))
}
