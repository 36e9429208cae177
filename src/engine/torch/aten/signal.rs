//! Fourier transforms and the windows for them.

use std::f64::consts::TAU;

use tch::{Kind, Tensor};

use crate::graph::Signal;
use crate::types::DType;

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::super::ffi::scalar::{add_in_place, divide, full, multiply};
use super::args::{Args, Integers, Kernel, axis_of, signed};
use super::context::NodeContext;
use super::order::{one_float, one_integer};
use super::storage::kept_as;

/// A matrix made from a few numbers has at most this many elements.
const ELEMENTS_MAX: usize = 1 << 28;

pub(super) fn signal(context: &NodeContext<'_>, op: &Signal) -> Result<Kernel, Cause> {
    Ok(match *op {
        Signal::Fourier { inverse, one_sided } => fourier(context, inverse, one_sided)?,
        Signal::ShortTimeFourier { one_sided } => short_time_fourier(context, one_sided)?,
        Signal::Window {
            coefficients,
            periodic,
            dtype,
        } => window(coefficients, periodic, dtype)?,
        Signal::MelWeights { dtype } => mel_weights(dtype)?,
    })
}

/// `test_dft`, `test_dft_axis`, `test_dft_inverse`, `test_dft_irfft`, `test_dft_rfft`, and these of opset 19
fn fourier(context: &NodeContext<'_>, inverse: bool, one_sided: bool) -> Result<Kernel, Cause> {
    let [length, axis] = [context.integers(1)?, context.integers(2)?];
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let axis = axis.read(args)?.map_or(Ok(-2), |list| only(&list))?;
        let place = axis_of(axis, x.dim())?;
        if place + 1 == x.dim() {
            return Err(Cause::new(
                "the axis is that of the real and imaginary part",
            ));
        }
        let length = only_length(&length, args)?;
        let along = signed(place);
        let signal = from_parts(x)?;
        let result = match (inverse, one_sided) {
            (false, false) => signal.f_fft_fft(length, along, "backward")?,
            (false, true) => half_spectrum(&signal, length, along)?,
            (true, false) => signal.f_fft_ifft(length, along, "backward")?,
            (true, true) => signal.f_fft_irfft(length, along, "backward")?,
        };
        Ok(to_parts(&result, x.f_kind()?)?.into())
    }))
}

fn only(list: &[i64]) -> Result<i64, Cause> {
    match list {
        [value] => Ok(*value),
        _ => Err(Cause::new(format!(
            "expected one number, got {}",
            list.len()
        ))),
    }
}

fn only_length(length: &Integers, args: &Args<'_>) -> Result<Option<i64>, Cause> {
    let length = length.read(args)?.map(|list| only(&list)).transpose()?;
    match length {
        Some(seen) if seen < 1 => Err(Cause::new(format!("length is {seen}, expected at least 1"))),
        length => Ok(length),
    }
}

/// The frequencies from 0 to half the sample rate.
fn half_spectrum(signal: &Tensor, length: Option<i64>, along: i64) -> Result<Tensor, Cause> {
    if !signal.f_is_complex()? {
        return Ok(signal.f_fft_rfft(length, along, "backward")?);
    }
    let all = signal.f_fft_fft(length, along, "backward")?;
    let size = all.size()[axis_of(along, all.dim())?];
    Ok(all.f_narrow(along, 0, size / 2 + 1)?)
}

/// Reads the last dimension as real and imaginary part, or as real part alone.
fn from_parts(x: &Tensor) -> Result<Tensor, Cause> {
    let x = match x.f_kind()? {
        Kind::Half | Kind::BFloat16 => x.f_totype(Kind::Float)?,
        _ => x.shallow_clone(),
    };
    match x.size().last() {
        Some(1) => Ok(x.f_squeeze_dim(-1)?),
        Some(2) => Ok(x.f_contiguous()?.f_view_as_complex()?),
        _ => Err(Cause::new(format!(
            "the last dimension of {:?} is not 1 or 2",
            x.size()
        ))),
    }
}

fn to_parts(signal: &Tensor, kind: Kind) -> Result<Tensor, Cause> {
    let parts = if signal.f_is_complex()? {
        signal.f_resolve_conj()?.f_view_as_real()?
    } else {
        signal.f_unsqueeze(-1)?
    };
    Ok(parts.f_totype(kind)?)
}

/// `test_stft`, `test_stft_with_window`
fn short_time_fourier(context: &NodeContext<'_>, one_sided: bool) -> Result<Kernel, Cause> {
    let [step, length] = [context.integers(1)?, context.integers(3)?];
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        if x.dim() != 3 {
            return Err(Cause::new(format!(
                "signal {:?} has not 3 dimensions",
                x.size()
            )));
        }
        let step = only(&step.required(args, "frame_step")?)?;
        let window = args.optional(2)?;
        let samples = x.size()[1];
        let length = match (only_length(&length, args)?, window) {
            (Some(length), _) => length,
            (None, Some(window)) => signed(window.numel()),
            (None, None) => samples,
        };
        if step < 1 || length > samples {
            return Err(Cause::new(format!(
                "{samples} samples cannot be cut into frames of {length} every {step}"
            )));
        }
        let mut frames = from_parts(x)?.f_unfold(1, length, step)?;
        if let Some(window) = window {
            if window.size() != [length] {
                return Err(Cause::new(format!(
                    "window {:?} does not have the frame length {length}",
                    window.size()
                )));
            }
            frames = frames.f_mul(window)?;
        }
        let result = if one_sided {
            half_spectrum(&frames, None, 2)?
        } else {
            frames.f_fft_fft(None::<i64>, 2, "backward")?
        };
        Ok(to_parts(&result, x.f_kind()?)?.into())
    }))
}

/// `test_hannwindow`, `test_hammingwindow`, `test_blackmanwindow`, and these with `_symmetric`
fn window(coefficients: [f64; 3], periodic: bool, dtype: DType) -> Result<Kernel, Cause> {
    let kind = kind_of(kept_as(dtype))?;
    Ok(Box::new(move |args| {
        let size = one_integer(args.tensor(0)?)?;
        if size < 0 {
            return Err(Cause::new(format!("size is {size}, expected at least 0")));
        }
        let period = if periodic { size } else { size - 1 };
        let mut places = full(&[size], 1.0, Kind::Double)?.f_cumsum(0, Kind::Double)?;
        let places = add_in_place(&mut places, -1.0)?;
        let angles = divide(&multiply(&places, TAU)?, period.max(1))?;
        let [offset, once, twice] = coefficients;
        let mut wave = multiply(&angles.f_cos()?, -once)?;
        let wave = add_in_place(&mut wave, offset)?;
        let second = multiply(&multiply(&angles, 2.0)?.f_cos()?, twice)?;
        Ok(wave.f_add(&second)?.f_totype(kind)?.into())
    }))
}

/// `test_melweightmatrix`
fn mel_weights(dtype: DType) -> Result<Kernel, Cause> {
    let kind = kind_of(kept_as(dtype))?;
    Ok(Box::new(move |args| {
        let [mels, length, rate] = [0, 1, 2].map(|input| args.tensor(input).and_then(one_integer));
        let [low, high] = [3, 4].map(|input| args.tensor(input).and_then(one_float));
        let bank = MelBank {
            mels: mels?,
            length: length?,
            rate: rate?,
            edges: [low?, high?],
        };
        let (weights, shape) = bank.weights()?;
        Ok(Tensor::f_from_slice(&weights)?
            .f_reshape(shape)?
            .f_totype(kind)?
            .into())
    }))
}

/// Triangular filters, spaced equally on the mel scale.
struct MelBank {
    mels: i64,
    length: i64,
    rate: i64,
    edges: [f64; 2],
}

impl MelBank {
    fn weights(&self) -> Result<(Vec<f64>, [i64; 2]), Cause> {
        let size = |value: i64| usize::try_from(value).ok();
        let (bins, mels) = (
            size(self.length).map(|length| length / 2 + 1),
            size(self.mels),
        );
        let count = bins
            .zip(mels)
            .and_then(|(bins, mels)| bins.checked_mul(mels));
        let (Some(bins), Some(mels), Some(count)) = (bins, mels, count) else {
            return Err(Cause::new("a size is negative or too large"));
        };
        if count > ELEMENTS_MAX || self.rate < 1 {
            return Err(Cause::new(format!(
                "{} mel bins of {bins} frequencies at {} samples a second are out of range",
                self.mels, self.rate
            )));
        }
        let corners = self.corners(bins)?;
        let mut weights = vec![0.0; count];
        for (mel, corner) in corners.windows(3).enumerate() {
            let [left, centre, right] = [corner[0], corner[1], corner[2]];
            if left == centre {
                weights[centre * mels + mel] = 1.0;
            }
            for bin in left..=centre {
                if left < centre {
                    weights[bin * mels + mel] = ratio(bin - left, centre - left);
                }
            }
            for bin in centre..right {
                weights[bin * mels + mel] = ratio(right - bin, right - centre);
            }
        }
        Ok((weights, [signed(bins), signed(mels)]))
    }

    /// The frequencies where triangles begin, peak and end, all within `bins`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "numbers of bins and mels are small, and the range is checked"
    )]
    fn corners(&self, bins: usize) -> Result<Vec<usize>, Cause> {
        let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
        let [low, high] = self.edges.map(mel);
        let count = self.mels + 2;
        let step = (high - low) / count as f64;
        let mut corners = Vec::new();
        for place in 0..count {
            let hertz = 700.0 * (10_f64.powf((place as f64 * step + low) / 2595.0) - 1.0);
            let bin = ((self.length + 1) as f64 * hertz / self.rate as f64).floor();
            if !(0.0..bins as f64 + 0.5).contains(&bin) {
                return Err(Cause::new(format!(
                    "edge {bin} of a mel bin lies outside of 0 to {bins}"
                )));
            }
            corners.push(bin as usize);
        }
        match corners.split_last() {
            Some((_, peaks)) if peaks.iter().all(|&peak| peak < bins) && corners.is_sorted() => {
                Ok(corners)
            }
            _ => Err(Cause::new("edges of mel bins are out of order or range")),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of bins are small")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
