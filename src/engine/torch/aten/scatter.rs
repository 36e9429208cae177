//! Gathering and scattering by index.
//!
//! Indices are checked here before libtorch sees them, because they may count from the end, and because a device that is given
//! a wrong one is lost. Where they are on a device the check is done there, and the host waits for what it finds.

use tch::{Kind, Tensor};

use crate::graph::Combine;

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar::full;
use super::args::{Kernel, axis_of, integers, is_integer, signed};

/// Returns the indices as INT64 in which none counts from the end; refuses those outside of `-size..size`.
pub(super) fn in_range(indices: &Tensor, size: i64) -> Result<Tensor, Cause> {
    if !is_integer(indices)? {
        return Err(Cause::new(format!(
            "indices are {:?}, not integers",
            indices.f_kind()?
        )));
    }
    let indices = indices.f_totype(Kind::Int64)?;
    if indices.numel() == 0 {
        return Ok(indices);
    }
    let (least, most) = indices.f_reshape([-1])?.f_aminmax(0, false)?;
    let (least, most) = (least.f_int64_value(&[])?, most.f_int64_value(&[])?);
    if let Some(outside) = [least, most]
        .into_iter()
        .find(|index| !(-size..size).contains(index))
    {
        return Err(Cause::new(format!(
            "index {outside} lies outside of a dimension of {size}"
        )));
    }
    if least >= 0 {
        return Ok(indices);
    }
    // The remainder has the sign of the divisor.
    Ok(indices.f_remainder_tensor(&full(&[], size, Kind::Int64)?)?)
}

/// Checks that no dimension of the indices, but that along the axis, is greater than that of the data.
fn check_extent(data: &Tensor, indices: &Tensor, axis: usize) -> Result<(), Cause> {
    let (data, indices) = (data.size(), indices.size());
    let fits = data.len() == indices.len()
        && (0..data.len()).all(|place| place == axis || indices[place] <= data[place]);
    if fits {
        Ok(())
    } else {
        Err(Cause::new(format!(
            "indices of shape {indices:?} for data of shape {data:?}"
        )))
    }
}

/// `test_gather_elements_0`, `test_gather_elements_1`, `test_gather_elements_negative_indices`
pub(super) fn gather_elements(axis: i64) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let axis = axis_of(axis, x.dim())?;
        let indices = in_range(args.tensor(1)?, x.size()[axis])?;
        check_extent(x, &indices, axis)?;
        let indices = beside(&indices, x)?;
        Ok(x.f_gather(signed(axis), &indices, false)?.into())
    })
}

/// `test_scatter_elements_with_axis`, `_with_duplicate_indices`, `_with_negative_indices`, `_with_reduction_max`,
/// `_with_reduction_min`, `_without_axis`, `test_scatter_with_axis`, `test_scatter_without_axis`
pub(super) fn scatter_elements(axis: i64, combine: Combine) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let axis = axis_of(axis, x.dim())?;
        let indices = in_range(args.tensor(1)?, x.size()[axis])?;
        check_extent(x, &indices, axis)?;
        let updates = args.tensor(2)?;
        if updates.size() != indices.size() {
            return Err(Cause::new(format!(
                "updates of shape {:?} for indices of shape {:?}",
                updates.size(),
                indices.size()
            )));
        }
        let indices = beside(&indices, x)?;
        Ok(combined(x, signed(axis), &indices, updates, combine)?.into())
    })
}

fn combined(
    x: &Tensor,
    axis: i64,
    indices: &Tensor,
    updates: &Tensor,
    combine: Combine,
) -> Result<Tensor, Cause> {
    let reduce = match combine {
        Combine::Replace => return Ok(x.f_scatter(axis, indices, updates)?),
        Combine::Add => return Ok(x.f_scatter_add(axis, indices, updates)?),
        Combine::Multiply => "prod",
        Combine::Max => "amax",
        Combine::Min => "amin",
    };
    // `f_scatter_reduce` is another operator, which knows neither maximum nor minimum.
    Ok(x.f_internal_scatter_reduce(axis, indices, updates, reduce, true)?)
}

/// The slices of a tensor that coordinates name: its dimensions from `first` are flattened into one, and the coordinates
/// into places in it.
struct Slices {
    /// Number of places, and of elements of a slice.
    places: i64,
    elements: i64,
    /// Of each slice, in one row.
    place: Tensor,
    /// Shape of the slices together.
    shape: Vec<i64>,
}

impl Slices {
    fn of(shape: &[i64], indices: &Tensor, batch: usize) -> Result<Self, Cause> {
        let rows = indices.size();
        let [outer @ .., length] = rows.as_slice() else {
            return Err(Cause::new("indices without dimensions"));
        };
        let unfit = || {
            Cause::new(format!(
                "indices of shape {rows:?} for data of shape {shape:?}"
            ))
        };
        let end = usize::try_from(*length)
            .ok()
            .and_then(|length| length.checked_add(batch));
        let end = end.filter(|&end| end <= shape.len()).ok_or_else(unfit)?;
        if outer.len() < batch || outer[..batch] != shape[..batch] {
            return Err(unfit());
        }
        let batches: i64 = shape[..batch].iter().product();
        let count: i64 = outer.iter().product();
        let mut place = Tensor::f_zeros([count], (Kind::Int64, indices.device()))?;
        if batch > 0 && batches > 0 {
            let numbers: Vec<i64> = (0..batches).collect();
            let own = Tensor::f_from_slice(&numbers)?.f_reshape([batches, 1])?;
            place = beside(&own, indices)?
                .f_expand([batches, count / batches], false)?
                .f_reshape([count])?;
        }
        let coordinates = indices.f_reshape([count, *length])?;
        for (column, &size) in shape[batch..end].iter().enumerate() {
            let column = in_range(&coordinates.f_select(1, signed(column))?, size)?;
            let scaled = place.f_mul(&full(&[], size, Kind::Int64)?)?;
            place = scaled.f_add(&column)?;
        }
        Ok(Self {
            places: shape[..end].iter().product(),
            elements: shape[end..].iter().product(),
            place,
            shape: [outer, &shape[end..]].concat(),
        })
    }
}

/// `test_gathernd_example_float32`, `test_gathernd_example_int32`, `test_gathernd_example_int32_batch_dim1`
pub(super) fn gather_nd(batch_dims: i64) -> Kernel {
    Box::new(move |args| {
        let (x, indices) = (args.tensor(0)?, args.tensor(1)?);
        let batch = usize::try_from(batch_dims)
            .map_err(|_| Cause::new(format!("batch_dims is {batch_dims}")))?;
        if batch >= x.dim().max(1) {
            return Err(Cause::new(format!(
                "batch_dims is {batch}, of rank {}",
                x.dim()
            )));
        }
        let slices = Slices::of(&x.size(), indices, batch)?;
        let flat = x.f_reshape([slices.places, slices.elements])?;
        Ok(flat
            .f_index_select(0, &beside(&slices.place, x)?)?
            .f_reshape(slices.shape)?
            .into())
    })
}

/// `test_scatternd`, `test_scatternd_add`, `test_scatternd_max`, `test_scatternd_min`, `test_scatternd_multiply`
pub(super) fn scatter_nd(combine: Combine) -> Kernel {
    Box::new(move |args| {
        let (x, indices, updates) = (args.tensor(0)?, args.tensor(1)?, args.tensor(2)?);
        let shape = x.size();
        let slices = Slices::of(&shape, indices, 0)?;
        if updates.size() != slices.shape {
            return Err(Cause::new(format!(
                "updates of shape {:?}, expected {:?}",
                updates.size(),
                slices.shape
            )));
        }
        let flat = x.f_reshape([slices.places, slices.elements])?;
        let count = signed(slices.place.numel());
        let updates = updates.f_reshape([count, slices.elements])?;
        let place = beside(&slices.place, x)?
            .f_reshape([count, 1])?
            .f_expand([count, slices.elements], false)?;
        Ok(combined(&flat, 0, &place, &updates, combine)?
            .f_reshape(shape)?
            .into())
    })
}

/// `test_tensorscatter`, `test_tensorscatter_3d`, `test_tensorscatter_circular`
pub(super) fn tensor_scatter(axis: i64, circular: bool) -> Kernel {
    Box::new(move |args| {
        let (cache, update) = (args.tensor(0)?, args.tensor(1)?);
        let shape = cache.size();
        let axis = axis_of(axis, shape.len())?;
        let written = update.size();
        let fits = written.len() == shape.len()
            && axis > 0
            && (0..shape.len()).all(|place| place == axis || written[place] == shape[place])
            && written[axis] <= shape[axis];
        if !fits {
            return Err(Cause::new(format!(
                "an update of shape {written:?} for a cache of shape {shape:?}"
            )));
        }
        let (rows, count, size) = (shape[0], written[axis], shape[axis]);
        let offsets: Vec<i64> = (0..count).collect();
        let mut place = Tensor::f_from_slice(&offsets)?.f_reshape([1, count])?;
        if let Some(start) = args.optional(2)? {
            if start.size() != [rows] {
                return Err(Cause::new(format!(
                    "write indices of shape {:?} for {rows} rows",
                    start.size()
                )));
            }
            let start = start.f_totype(Kind::Int64)?.f_reshape([rows, 1])?;
            place = place.f_add(&first_places(&start, size, circular)?)?;
        }
        if circular && size > 0 {
            place = place.f_remainder_tensor(&Tensor::f_from_slice(&[size])?)?;
        }
        let mut view = vec![1; shape.len()];
        view[0] = place.size()[0];
        view[axis] = count;
        let place = in_range(&place, size)?
            .f_reshape(view)?
            .f_expand(&written, false)?;
        Ok(cache.f_scatter(signed(axis), &place, update)?.into())
    })
}

/// Returns the places in `0..=size` where rows begin to be written.
fn first_places(start: &Tensor, size: i64, circular: bool) -> Result<Tensor, Cause> {
    if circular && size > 0 {
        return Ok(start.f_remainder_tensor(&Tensor::f_from_slice(&[size])?)?);
    }
    let outside = integers(start)?
        .into_iter()
        .find(|place| !(0..=size).contains(place));
    match outside {
        Some(place) => Err(Cause::new(format!(
            "write index {place} lies outside of a dimension of {size}"
        ))),
        None => Ok(start.shallow_clone()),
    }
}
