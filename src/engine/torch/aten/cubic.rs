//! Cubic sampling of volumes, which libtorch does not have.

use tch::{Kind, Tensor};

use crate::graph::{GridSample, Outside};

use super::super::cause::Cause;
use super::super::ffi::scalar;
use super::args::signed;

/// Free parameter of the cubic convolution, as libtorch has it for planes.
const COEFFICIENT: f64 = -0.75;

/// The four elements that count along one dimension: index and weight of each, for every place.
struct Taps {
    places: [Tensor; 4],
    weights: [Tensor; 4],
}

/// Samples data `[batch, channels, depth, height, width]` at `[batch, …, 3]` places, the width's coordinate first.
pub(super) fn sample(op: GridSample, x: &Tensor, grid: &Tensor) -> Result<Tensor, Cause> {
    let (shape, places) = (x.size(), grid.size());
    let (batch, channels) = (shape[0], shape[1]);
    let spatial = &shape[2..];
    let taps: Vec<Taps> = (0..spatial.len())
        .map(|axis| {
            let coordinate = grid.f_select(-1, signed(spatial.len() - 1 - axis))?;
            taps(op, &coordinate.f_reshape([batch, -1])?, spatial[axis])
        })
        .collect::<Result<_, _>>()?;
    let flat = x.f_reshape([batch, channels, -1])?;
    let mut sum: Option<Tensor> = None;
    for combination in 0..4_usize.pow(3) {
        let picks = [combination / 16, combination / 4 % 4, combination % 4];
        let mut index: Option<Tensor> = None;
        let mut weight: Option<Tensor> = None;
        for (axis, pick) in picks.into_iter().enumerate() {
            let step: i64 = spatial[axis + 1..].iter().product();
            let place = taps[axis].places[pick].f_mul(&Tensor::f_from_slice(&[step])?)?;
            index = Some(match index {
                Some(index) => index.f_add(&place)?,
                None => place,
            });
            let part = &taps[axis].weights[pick];
            weight = Some(match weight {
                Some(weight) => weight.f_mul(part)?,
                None => part.shallow_clone(),
            });
        }
        let (Some(index), Some(weight)) = (index, weight) else {
            continue;
        };
        let index = index
            .f_unsqueeze(1)?
            .f_expand([batch, channels, -1], false)?;
        let part = flat
            .f_gather(2, &index, false)?
            .f_mul(&weight.f_unsqueeze(1)?)?;
        sum = Some(match sum {
            Some(mut sum) => sum.f_add_(&part)?,
            None => part,
        });
    }
    let mut result = vec![batch, channels];
    result.extend(&places[1..places.len() - 1]);
    sum.map_or_else(
        || Err(Cause::new("no element has a weight")),
        |sum| Ok(sum.f_reshape(result)?),
    )
}

fn taps(op: GridSample, coordinate: &Tensor, size: i64) -> Result<Taps, Cause> {
    #[expect(clippy::cast_precision_loss, reason = "a size, far below 2^53")]
    let length = size as f64;
    let (factor, shift) = if op.align_corners {
        ((length - 1.0) / 2.0, (length - 1.0) / 2.0)
    } else {
        (length / 2.0, (length - 1.0) / 2.0)
    };
    let place = scalar::add(&scalar::multiply(coordinate, factor)?, shift)?;
    let whole = place.f_floor()?;
    let part = place.f_sub(&whole)?;
    let along = |tap: i64| -> Result<(Tensor, Tensor), Cause> {
        let distance = part.f_sub(&Tensor::f_from_slice(&[tap])?)?.f_abs()?;
        let index = whole.f_add(&Tensor::f_from_slice(&[tap])?)?;
        let mut weight = weight(&distance, (0..=1).contains(&tap))?;
        let inside = match op.outside {
            Outside::Zeros => {
                let above = scalar::is_at_least(&index, 0.0)?;
                let below = scalar::is_above(&index, length - 1.0)?.f_logical_not()?;
                weight = weight.f_mul(&above.f_logical_and(&below)?)?;
                index
            }
            Outside::Border => index,
            Outside::Reflection => reflected(&index, length, op.align_corners)?,
        };
        let (low, high) = (
            scalar::Number::Float(0.0),
            scalar::Number::Float(length - 1.0),
        );
        let inside = scalar::clamp(&inside.f_nan_to_num(0.0, None, None)?, low, high)?;
        Ok((inside.f_totype(Kind::Int64)?, weight))
    };
    let [a, b, c, d] = [along(-1)?, along(0)?, along(1)?, along(2)?];
    Ok(Taps {
        places: [a.0, b.0, c.0, d.0],
        weights: [a.1, b.1, c.1, d.1],
    })
}

/// Weight of an element by its distance, of at most one if it is `near`, else of at most two.
fn weight(distance: &Tensor, near: bool) -> Result<Tensor, Cause> {
    let polynomial = if near {
        [COEFFICIENT + 2.0, -(COEFFICIENT + 3.0), 0.0, 1.0]
    } else {
        [1.0, -5.0, 8.0, -4.0].map(|factor| factor * COEFFICIENT)
    };
    let mut value = scalar::multiply(distance, 0.0)?;
    for factor in polynomial {
        value = value.f_mul(distance)?;
        value = scalar::add(&value, factor)?;
    }
    Ok(value)
}

/// Mirrors places beyond the edge: at the centre of the outermost elements, or at their outer edges.
fn reflected(index: &Tensor, length: f64, align_corners: bool) -> Result<Tensor, Cause> {
    let (low, span) = if align_corners {
        (0.0, length - 1.0)
    } else {
        (-0.5, length)
    };
    if span == 0.0 {
        return scalar::multiply(index, 0.0);
    }
    let kind = index.f_kind()?;
    let period = scalar::full(&[1], 2.0 * span, kind)?;
    let folded = index
        .f_sub(&scalar::full(&[1], low, kind)?)?
        .f_remainder_tensor(&period)?;
    // Rising for one span, then falling for another.
    let falling = scalar::subtract_from(&folded, 2.0 * span)?;
    scalar::add(&folded.f_minimum(&falling)?, low)
}
