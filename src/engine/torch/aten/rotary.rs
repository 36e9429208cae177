//! Rotary position embedding.

use tch::Tensor;

use crate::graph::RotaryEmbedding;

use super::super::cause::Cause;
use super::args::{Kernel, signed};

/// `test_rotary_embedding`, its `_3d_input`, `_interleaved`, `_no_position_ids…`, `_with_rotary_dim` and
/// `_with_interleaved_rotary_dim`
pub(super) fn rotary_embedding(op: RotaryEmbedding) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        let heads = match (op.heads, shape.len()) {
            // [batch, sequence, heads, size]; the heads of a tensor of 4 dimensions come before its sequence.
            (Some(heads), 3) => x.f_unflatten(2, [signed(heads), -1])?,
            (None, 4) => x.f_transpose(1, 2)?,
            _ => return Err(Cause::new(format!("data has shape {shape:?}"))),
        };
        let [cosines, sines] = [1, 2].map(|input| cache(args.tensor(input)?, args.optional(3)?));
        let rotated = rotate(&op, &heads, &cosines?, &sines?)?;
        Ok(match op.heads {
            Some(_) => rotated.f_flatten(2, 3)?,
            None => rotated.f_transpose(1, 2)?,
        }
        .into())
    })
}

/// Returns the angles of each element of the batch and sequence, for all heads.
fn cache(values: &Tensor, positions: Option<&Tensor>) -> Result<Tensor, Cause> {
    let picked = match positions {
        None => values.shallow_clone(),
        Some(positions) => {
            let flat = values.f_index_select(0, &positions.f_reshape([-1])?)?;
            flat.f_unflatten(0, positions.size())?
        }
    };
    if picked.dim() != 3 {
        return Err(Cause::new(format!("cache has shape {:?}", values.size())));
    }
    Ok(picked.f_unsqueeze(2)?)
}

fn rotate(
    op: &RotaryEmbedding,
    heads: &Tensor,
    cosines: &Tensor,
    sines: &Tensor,
) -> Result<Tensor, Cause> {
    let size = heads.size()[3];
    let rotated = op.size.map_or(size, signed);
    let half = cosines.size()[3];
    if rotated > size || 2 * half != rotated || sines.size() != cosines.size() {
        return Err(Cause::new(format!(
            "caches of {half} angles do not fit {rotated} of {size} elements"
        )));
    }
    let turning = heads.f_narrow(3, 0, rotated)?;
    let (first, second) = if op.interleaved {
        let pairs = turning.f_unflatten(3, [half, 2])?;
        (pairs.f_select(4, 0)?, pairs.f_select(4, 1)?)
    } else {
        (
            turning.f_narrow(3, 0, half)?,
            turning.f_narrow(3, half, half)?,
        )
    };
    let real = first.f_mul(cosines)?.f_sub_(&second.f_mul(sines)?)?;
    let imaginary = first.f_mul(sines)?.f_add_(&second.f_mul(cosines)?)?;
    let turned = if op.interleaved {
        Tensor::f_stack(&[real, imaginary], 4)?.f_flatten(3, 4)?
    } else {
        Tensor::f_cat(&[real, imaginary], 3)?
    };
    if rotated == size {
        return Ok(turned);
    }
    let rest = heads.f_narrow(3, rotated, size - rotated)?;
    Ok(Tensor::f_cat(&[turned, rest], 3)?)
}
