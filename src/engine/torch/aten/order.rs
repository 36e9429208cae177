//! Elements in order: the greatest ones, the distinct ones.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::types::{self, DType};

use super::super::cause::Cause;
use super::super::ffi::scalar::full;
use super::args::{Args, Kernel, Outputs, axis_of, integers, number, signed};
use super::context::NodeContext;
use super::datum::Datum;

/// Returns elements in the order of the model's dtype: an unsigned one of 64 bits is kept as a signed one.
pub(super) fn ordered(x: &Tensor, dtype: Option<DType>) -> Result<Tensor, Cause> {
    match dtype {
        Some(DType::U64) => Ok(x.f_bitwise_xor_tensor(&full(&[], i64::MIN, Kind::Int64)?)?),
        _ => Ok(x.shallow_clone()),
    }
}

/// `test_top_k`, `test_top_k_negative_axis`, `test_top_k_same_values`, `test_top_k_same_values_2d`,
/// `test_top_k_same_values_largest`, `test_top_k_smallest`, `test_top_k_uint64`
pub(super) fn top_k(context: &NodeContext<'_>, axis: i64, largest: bool) -> Kernel {
    let dtype = context.input_dtype(0);
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let place = axis_of(axis, x.dim())?;
        let count = one_integer(args.tensor(1)?)?;
        let size = x.size()[place];
        if !(0..=size).contains(&count) {
            return Err(Cause::new(format!(
                "k is {count}, expected 0 to {size}, the size of dimension {place}"
            )));
        }
        let along = signed(place);
        // libtorch's own top-k leaves it open which of equal elements it takes.
        let (values, indices) = ordered(x, dtype)?.f_sort_stable(true, along, largest)?;
        let values = ordered(&values.f_narrow(along, 0, count)?, dtype)?;
        let indices = indices.f_narrow(along, 0, count)?;
        Ok(vec![values.f_contiguous()?, indices.f_contiguous()?].into())
    })
}

pub(super) fn one_integer(tensor: &Tensor) -> Result<i64, Cause> {
    match integers(tensor)?.as_slice() {
        &[integer] => Ok(integer),
        _ => Err(Cause::new(format!(
            "expected one number, got shape {:?}",
            tensor.size()
        ))),
    }
}

/// Reads the only element of a floating-point tensor.
pub(super) fn one_float(tensor: &Tensor) -> Result<f64, Cause> {
    Ok(number(tensor)?.to_f64())
}

/// `test_unique_length_1`, `test_unique_not_sorted_without_axis`, `test_unique_sorted_with_axis`,
/// `test_unique_sorted_with_axis_3d`, `test_unique_sorted_with_negative_axis`, `test_unique_sorted_without_axis`
pub(super) fn unique(context: &NodeContext<'_>, axis: Option<i64>, sorted: bool) -> Kernel {
    let dtype = context.input_dtype(0);
    Box::new(move |args| match args.datum(0)? {
        Datum::Strings(strings) if axis.is_none() => unique_strings(strings, sorted),
        _ => unique_slices(args, dtype, axis, sorted),
    })
}

/// Where each distinct element first occurs and how often, and which of them each element is.
struct Distinct {
    first: Vec<i64>,
    inverse: Vec<i64>,
    counts: Vec<i64>,
}

impl Distinct {
    /// Takes the number of the distinct element that each element is.
    fn of(inverse: Vec<i64>) -> Result<Self, Cause> {
        let mut distinct = Self {
            first: Vec::new(),
            inverse: Vec::new(),
            counts: Vec::new(),
        };
        let count = inverse.iter().max().map_or(0, |greatest| greatest + 1);
        let count = usize::try_from(count).map_err(|error| Cause::new(error.to_string()))?;
        distinct.first.resize(count, -1);
        distinct.counts.resize(count, 0);
        for (place, &number) in inverse.iter().enumerate() {
            let number = usize::try_from(number).map_err(|error| Cause::new(error.to_string()))?;
            if distinct.counts[number] == 0 {
                distinct.first[number] = signed(place);
            }
            distinct.counts[number] += 1;
        }
        distinct.inverse = inverse;
        Ok(distinct)
    }

    /// Orders the distinct elements by their first occurrence.
    fn in_order_of_input(self) -> Self {
        let mut order: Vec<usize> = (0..self.first.len()).collect();
        order.sort_by_key(|&number| self.first[number]);
        let mut renamed = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            renamed[old] = signed(new);
        }
        let rename = |old: &i64| usize::try_from(*old).map_or(*old, |old| renamed[old]);
        Self {
            first: order.iter().map(|&old| self.first[old]).collect(),
            inverse: self.inverse.iter().map(rename).collect(),
            counts: order.iter().map(|&old| self.counts[old]).collect(),
        }
    }

    fn outputs(&self, values: Datum) -> Result<Outputs, Cause> {
        let mut all = vec![values];
        for list in [&self.first, &self.inverse, &self.counts] {
            all.push(Tensor::f_from_slice(list)?.into());
        }
        Ok(Outputs::Many(all))
    }
}

fn unique_slices(
    args: &Args<'_>,
    dtype: Option<DType>,
    axis: Option<i64>,
    sorted: bool,
) -> Result<Outputs, Cause> {
    let x = match axis {
        Some(_) => args.tensor(0)?.shallow_clone(),
        None => args.tensor(0)?.f_reshape([-1])?,
    };
    let along = signed(axis_of(axis.unwrap_or(0), x.dim())?);
    let keys = ordered(&x, dtype)?;
    let keys = match keys.f_kind()? {
        Kind::Half | Kind::BFloat16 => keys.f_totype(Kind::Float)?,
        Kind::Bool => keys.f_totype(Kind::Uint8)?,
        _ => keys,
    };
    let inverse = if x.size()[axis_of(along, x.dim())?] == 0 {
        Vec::new()
    } else {
        integers(&keys.f_unique_dim(along, true, true, false)?.1)?
    };
    let mut distinct = Distinct::of(inverse)?;
    if !sorted {
        distinct = distinct.in_order_of_input();
    }
    let values = x.f_index_select(along, &Tensor::f_from_slice(&distinct.first)?)?;
    distinct.outputs(values.into())
}

fn unique_strings(strings: &types::Tensor, sorted: bool) -> Result<Outputs, Cause> {
    let elements = strings.byte_strings();
    let mut numbers: BTreeMap<&[u8], i64> = elements.iter().map(|&element| (element, 0)).collect();
    for (place, number) in numbers.values_mut().enumerate() {
        *number = signed(place);
    }
    let inverse = elements.iter().map(|element| numbers[element]).collect();
    let mut distinct = Distinct::of(inverse)?;
    if !sorted {
        distinct = distinct.in_order_of_input();
    }
    let first = distinct
        .first
        .iter()
        .filter_map(|&place| usize::try_from(place).ok());
    let values: Vec<&[u8]> = first.map(|place| elements[place]).collect();
    let values = types::Tensor::from_byte_strings(vec![values.len()], &values)
        .map_err(|error| Cause::new(error.to_string()))?;
    distinct.outputs(Datum::Strings(values))
}
