//! Which elements there are, which are kept, which are set: `NonZero`, `Compress`, `OneHot`, `Trilu`, `Tile`,
//! `ReverseSequence`.

use tch::{Kind, Tensor};

use super::super::cause::Cause;
use super::args::{Kernel, axis_of, integers, number, signed, split_of};
use super::context::NodeContext;

/// `test_nonzero_example`
pub(super) fn non_zero() -> Kernel {
    Box::new(|args| {
        let places = args.tensor(0)?.f_nonzero()?;
        Ok(places.f_transpose(0, 1)?.f_contiguous()?.into())
    })
}

/// `test_compress_0`, `test_compress_1`, `test_compress_default_axis`, `test_compress_negative_axis`
pub(super) fn compress(axis: Option<i64>) -> Kernel {
    Box::new(move |args| {
        let (x, condition) = (args.tensor(0)?, args.tensor(1)?);
        let flat;
        let (x, axis) = match axis {
            Some(axis) => (x, axis_of(axis, x.dim())?),
            None => {
                flat = x.f_reshape([-1])?;
                (&flat, 0)
            }
        };
        let size = x.size()[axis];
        if condition.dim() != 1 || signed(condition.numel()) > size {
            return Err(Cause::new(format!(
                "a condition of shape {:?} on a dimension of {size}",
                condition.size()
            )));
        }
        let kept = condition.f_nonzero()?.f_reshape([-1])?;
        Ok(x.f_index_select(signed(axis), &kept)?.into())
    })
}

/// `test_onehot_negative_indices`, `test_onehot_with_axis`, `test_onehot_with_negative_axis`,
/// `test_onehot_without_axis`
pub(super) fn one_hot(axis: i64) -> Kernel {
    Box::new(move |args| {
        let indices = args.tensor(0)?;
        #[expect(clippy::cast_possible_truncation, reason = "a size, or out of range")]
        let depth = number(args.tensor(1)?)?.to_f64() as i64;
        let values = args.tensor(2)?;
        if values.size() != [2] || !(0..1 << 48).contains(&depth) {
            return Err(Cause::new(format!(
                "depth is {depth}, values have shape {:?}",
                values.size()
            )));
        }
        let rank = indices.dim();
        let axis = match axis {
            0.. => split_of(axis, rank)?,
            _ => axis_of(axis, rank + 1)?,
        };
        let indices = indices.f_totype(Kind::Int64)?.f_unsqueeze(signed(axis))?;
        let from_end = indices.f_add(&Tensor::f_from_slice(&[depth])?)?;
        let is_negative = indices.f_signbit()?;
        let indices = from_end.f_where_self(&is_negative, &indices)?;
        let range = Tensor::f_ones([depth], (Kind::Int64, tch::Device::Cpu))?.f_cumsum(0, None)?;
        let one = Tensor::f_from_slice(&[1_i64])?;
        let mut view = vec![1; rank + 1];
        view[axis] = depth;
        let classes = range.f_sub(&one)?.f_reshape(view)?;
        let hot = indices.f_eq_tensor(&classes)?;
        let (off, on) = (values.f_select(0, 0)?, values.f_select(0, 1)?);
        Ok(on.f_where_self(&hot, &off)?.into())
    })
}

/// `test_triu`, `test_tril` and their variants: `_neg`, `_pos`, `_out_neg_out`, `_out_pos`, `_one_row`, `_square`,
/// `_square_neg`, `_zero`
pub(super) fn trilu(context: &NodeContext<'_>, upper: bool) -> Result<Kernel, Cause> {
    let diagonal = context.integers(1)?;
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let diagonal = diagonal.read(args)?;
        let diagonal = match diagonal.as_deref() {
            None => 0,
            Some([diagonal]) => *diagonal,
            Some(list) => return Err(Cause::new(format!("k is {list:?}, not one number"))),
        };
        let size = x.size().into_iter().max().unwrap_or(0);
        // Beyond the corners nothing changes any more.
        let diagonal = diagonal.clamp(-size - 1, size + 1);
        Ok(if upper {
            x.f_triu(diagonal)?
        } else {
            x.f_tril(diagonal)?
        }
        .into())
    }))
}

/// `test_tile`, `test_tile_precomputed`
pub(super) fn tile(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let repeats = context.integers(1)?;
    Ok(Box::new(move |args| {
        let repeats = repeats.required(args, "repeats")?;
        let x = args.tensor(0)?;
        if repeats.len() != x.dim() || repeats.iter().any(|&count| count < 0) {
            return Err(Cause::new(format!(
                "repeats are {repeats:?}, of shape {:?}",
                x.size()
            )));
        }
        Ok(x.f_repeat(&*repeats)?.into())
    }))
}

/// `test_reversesequence_batch`, `test_reversesequence_time`
pub(super) fn reverse_sequence(batch_axis: i64, time_axis: i64) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let lengths = integers(args.tensor(1)?)?;
        let rank = x.dim();
        let (batch, time) = (axis_of(batch_axis, rank)?, axis_of(time_axis, rank)?);
        let shape = x.size();
        let (rows, steps) = (shape[batch], shape[time]);
        if batch == time || signed(lengths.len()) != rows {
            return Err(Cause::new(format!(
                "{} lengths for shape {shape:?}",
                lengths.len()
            )));
        }
        let mut places = Vec::with_capacity(lengths.len());
        for length in lengths {
            if !(0..=steps).contains(&length) {
                return Err(Cause::new(format!("a length of {length} in {steps} steps")));
            }
            places.extend((0..steps).map(|step| {
                if step < length {
                    length - 1 - step
                } else {
                    step
                }
            }));
        }
        let mut view = vec![1; rank];
        (view[batch], view[time]) = (rows, steps);
        let places = Tensor::f_from_slice(&places)?.f_reshape([rows, steps])?;
        let places = if batch < time {
            places
        } else {
            places.f_transpose(0, 1)?
        };
        let places = places.f_reshape(view)?.f_expand(&shape, false)?;
        Ok(x.f_gather(signed(time), &places, false)?.into())
    })
}
