//! Fourier transforms and the windows for them.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::operands::{Operands, is_number, one};
use crate::graph::{Fault, Signal};

pub(super) fn signal(op: &Signal, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    match op {
        Signal::Fourier { inverse, one_sided } => fourier(*inverse, *one_sided, operands),
        Signal::ShortTimeFourier { one_sided } => short_time_fourier(*one_sided, operands),
        Signal::Window { dtype, .. } => {
            operands.count(1, 1)?;
            Ok(one(Some(*dtype), Some(vec![size(operands, 0, "size")?])))
        }
        Signal::MelWeights { dtype } => {
            operands.count(5, 5)?;
            for edge in 3..5 {
                operands.require_float(edge)?;
            }
            let mels = size(operands, 0, "num_mel_bins")?;
            let bins = half(size(operands, 1, "dft_length")?);
            Ok(one(Some(*dtype), Some(vec![bins, mels])))
        }
    }
}

/// Inputs: data, length?, axis?.
fn fourier(inverse: bool, one_sided: bool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 3)?;
    operands.require_float(0)?;
    let data = operands.get(0)?;
    let length = match operands.optional(1) {
        Some(_) => Some(size(operands, 1, "dft_length")?),
        None => None,
    };
    let axis = match operands.optional(2) {
        Some(_) => operands.list(2)?.and_then(|list| list.first().copied()),
        None => Some(-2),
    };
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let mut dims = dims.to_vec();
    parts(0, &dims)?;
    let last = dims.len() - 1;
    match axis {
        Some(axis) => {
            let place = super::axis(axis, dims.len(), "axis")?;
            if place == last {
                return Err(Fault::Parameter {
                    parameter: "axis",
                    seen: axis.to_string(),
                    expected: "any dimension but the last".to_owned(),
                });
            }
            dims[place] = match (inverse, one_sided) {
                (false, true) => half(length.unwrap_or_else(|| dims[place].clone())),
                (true, true) => length.unwrap_or_else(|| doubled(&dims[place])),
                (_, false) => length.unwrap_or_else(|| dims[place].clone()),
            };
        }
        None => dims[..last].fill(Dim::Any),
    }
    dims[last] = Dim::Fixed(if inverse && one_sided { 1 } else { 2 });
    Ok(one(data.dtype, Some(dims)))
}

/// Inputs: signal, step, window?, length?.
fn short_time_fourier(one_sided: bool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 4)?;
    operands.require_float(0)?;
    let dtype = operands.common_dtype([0, 2])?;
    operands.require_rank(0, 3, ": batch, sample, part")?;
    operands.require_rank(2, 1, "")?;
    let step = size(operands, 1, "frame_step")?;
    let data = operands.get(0)?;
    if let Some(dims) = data.dims() {
        parts(0, dims)?;
    }
    let [batch, samples] = match data.dims() {
        Some([batch, samples, _]) => [batch.clone(), samples.clone()],
        _ => [Dim::Any, Dim::Any],
    };
    let window = operands.optional(2).and_then(Fact::dims);
    let length = match (operands.optional(3), operands.optional(2), window) {
        (Some(_), ..) => size(operands, 3, "frame_length")?,
        (None, Some(_), Some([length])) => length.clone(),
        (None, Some(_), _) => Dim::Any,
        (None, None, _) => samples.clone(),
    };
    let frames = match (samples.fixed(), length.fixed(), step.fixed()) {
        (_, _, Some(0)) => {
            return Err(Fault::Parameter {
                parameter: "frame_step",
                seen: "0".to_owned(),
                expected: "at least 1".to_owned(),
            });
        }
        (Some(samples), Some(length), Some(step)) => match samples.checked_sub(length) {
            Some(rest) => Dim::Fixed(1 + rest / step),
            None => {
                return Err(Fault::Parameter {
                    parameter: "frame_length",
                    seen: length.to_string(),
                    expected: format!("at most {samples}, the number of samples"),
                });
            }
        },
        _ => Dim::Any,
    };
    let bins = if one_sided { half(length) } else { length };
    Ok(one(dtype, Some(vec![batch, frames, bins, Dim::Fixed(2)])))
}

/// Checks that the last dimension is that of the real and the imaginary part.
fn parts(input: usize, dims: &[Dim]) -> Result<(), Fault> {
    match dims {
        [_, .., Dim::Fixed(1 | 2) | Dim::Symbol(_) | Dim::Any] => Ok(()),
        _ => Err(Fault::Shape {
            input,
            seen: ShapeSpec(dims.to_vec()),
            expected: "a last dimension of 1 or 2 after others: real and imaginary part".to_owned(),
        }),
    }
}

/// Reads a scalar as the size of a dimension.
fn size(operands: Operands<'_>, input: usize, parameter: &'static str) -> Result<Dim, Fault> {
    let integer = |dtype| is_number(dtype) && !DType::is_float(dtype);
    operands.require(input, integer, "an integer datatype")?;
    let fact = operands.get(input)?;
    let Some([size]) = fact.contents.as_deref() else {
        return Ok(Dim::Any);
    };
    size.dim().ok_or_else(|| Fault::Parameter {
        parameter,
        seen: size.known().unwrap_or_default().to_string(),
        expected: "at least 0".to_owned(),
    })
}

/// The number of frequencies of a real signal.
fn half(length: Dim) -> Dim {
    length
        .fixed()
        .map_or(Dim::Any, |length| Dim::Fixed(length / 2 + 1))
}

/// The even length of a real signal that has this many frequencies.
fn doubled(bins: &Dim) -> Dim {
    let length = bins
        .fixed()
        .and_then(|bins| bins.checked_sub(1)?.checked_mul(2));
    length.map_or(Dim::Any, Dim::Fixed)
}
