//! Random numbers. They come from generators of their own, so that a seed makes a run repeat itself whatever else runs.

use std::f64::consts::TAU;

use fastrand::Rng;
use tch::{Kind, Tensor};

use crate::graph::{Distribution, Random};
use crate::types::DType;

use super::super::cause::Cause;
use super::args::{Kernel, doubles};
use super::cast::convert;
use super::context::NodeContext;
use super::narrow::Rounding;

/// Draws numbers; the backend cases of random operators compare numbers that only their author's generator draws.
pub(super) fn random(context: &NodeContext<'_>, op: Random) -> Result<Kernel, Cause> {
    match op.distribution {
        Distribution::Uniform { low, high } => {
            let (low, span) = (f64::from(low), f64::from(high) - f64::from(low));
            shaped(context, op, move |rng| low + span * rng.f64())
        }
        Distribution::Normal { mean, deviation } => {
            let (mean, deviation) = (f64::from(mean), f64::from(deviation));
            shaped(context, op, move |rng| mean + deviation * normal(rng))
        }
        Distribution::Classes { samples } => Ok(Box::new(move |args| {
            let classes = draw_classes(args.tensor(0)?, samples, &mut generator(op.seed))?;
            Ok(convert(&classes, DType::I64, op.dtype, Rounding::default())?.into())
        })),
    }
}

/// Makes a kernel that fills a shape with numbers drawn one by one.
fn shaped(
    context: &NodeContext<'_>,
    op: Random,
    draw: impl Fn(&mut Rng) -> f64 + Send + Sync + 'static,
) -> Result<Kernel, Cause> {
    let shape = context.integers(0)?;
    Ok(Box::new(move |args| {
        let shape = shape.required(args, "shape")?;
        let count = shape
            .iter()
            .try_fold(1_usize, |count, &size| {
                count.checked_mul(size.try_into().ok()?)
            })
            .ok_or_else(|| Cause::new(format!("shape {shape:?} is none")))?;
        let mut rng = generator(op.seed);
        let numbers = drawn(count, || draw(&mut rng))?;
        let numbers = Tensor::f_from_slice(&numbers)?.f_reshape(&*shape)?;
        Ok(convert(&numbers, DType::F64, op.dtype, Rounding::default())?.into())
    }))
}

fn generator(seed: Option<f32>) -> Rng {
    match seed {
        Some(seed) => Rng::with_seed(seed.to_bits().into()),
        None => Rng::new(),
    }
}

/// Draws into memory that may turn out not to be there.
fn drawn<T>(count: usize, mut draw: impl FnMut() -> T) -> Result<Vec<T>, Cause> {
    let mut numbers = Vec::new();
    numbers
        .try_reserve_exact(count)
        .map_err(|_| Cause::new(format!("no memory for {count} numbers")))?;
    numbers.extend((0..count).map(|_| draw()));
    Ok(numbers)
}

/// Draws from the standard normal distribution (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (TAU * rng.f64()).cos()
}

/// Draws `samples` classes for each row of logarithms of their probabilities.
fn draw_classes(logarithms: &Tensor, samples: usize, rng: &mut Rng) -> Result<Tensor, Cause> {
    let [rows, classes] = *logarithms.size() else {
        return Err(Cause::new("expected a matrix of logarithms"));
    };
    if classes == 0 && rows > 0 && samples > 0 {
        return Err(Cause::new("no classes to draw from"));
    }
    let chances = logarithms
        .f_totype(Kind::Double)?
        .f_softmax(1, None::<Kind>)?;
    let sums = doubles(&chances.f_cumsum(1, None::<Kind>)?)?;
    let classes = usize::try_from(classes).unwrap_or(0).max(1);
    let count = (sums.len() / classes).checked_mul(samples);
    let count = count.ok_or_else(|| Cause::new(format!("{samples} samples a row are too many")))?;
    let mut drawn_so_far = 0;
    let list = drawn(count, || {
        let row = drawn_so_far / samples.max(1);
        drawn_so_far += 1;
        let sums = &sums[row * classes..(row + 1) * classes];
        let point = rng.f64();
        let class = sums.partition_point(|&sum| sum <= point).min(classes - 1);
        i64::try_from(class).unwrap_or(0)
    })?;
    let samples = i64::try_from(samples).map_err(|error| Cause::new(error.to_string()))?;
    Ok(Tensor::f_from_slice(&list)?.f_reshape([rows, samples])?)
}
