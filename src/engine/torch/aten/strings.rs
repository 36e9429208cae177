//! Strings moved about and compared. libtorch has none, so it is given numbers instead: one for each distinct string.

use std::collections::HashMap;

use tch::Tensor;

use crate::types;

use super::super::cause::Cause;
use super::args::{Args, Kernel, Outputs, integers, signed};
use super::datum::Datum;

/// Distinct strings, and tensors of their numbers in the shapes of those that held them.
struct Numbered<'a> {
    strings: Vec<&'a [u8]>,
    numbers: Vec<Tensor>,
}

impl<'a> Numbered<'a> {
    fn of(tensors: impl IntoIterator<Item = &'a types::Tensor>) -> Result<Self, Cause> {
        let mut strings = Vec::new();
        let mut known: HashMap<&[u8], i64> = HashMap::new();
        let mut numbers = Vec::new();
        for tensor in tensors {
            let own = tensor.byte_strings().into_iter().map(|string| {
                *known.entry(string).or_insert_with(|| {
                    strings.push(string);
                    signed(strings.len() - 1)
                })
            });
            let own: Vec<i64> = own.collect();
            let shape: Vec<i64> = tensor.shape().iter().map(|&size| signed(size)).collect();
            numbers.push(Tensor::f_from_slice(&own)?.f_reshape(shape)?);
        }
        Ok(Self { strings, numbers })
    }

    /// Returns the strings that `numbers` name.
    fn named(&self, numbers: &Tensor) -> Result<Datum, Cause> {
        let picked = integers(numbers)?.into_iter().map(|number| {
            let place = usize::try_from(number).ok();
            place
                .and_then(|place| self.strings.get(place))
                .ok_or_else(|| Cause::new("the result has elements that no input has"))
        });
        let picked = picked.collect::<Result<Vec<_>, _>>()?;
        tensor(&numbers.size(), &picked)
    }
}

fn tensor(shape: &[i64], strings: &[impl AsRef<[u8]>]) -> Result<Datum, Cause> {
    let sizes = shape.iter().map(|&size| usize::try_from(size));
    let shape = sizes
        .collect::<Result<_, _>>()
        .map_err(|_| Cause::new("a negative size"))?;
    let tensor = types::Tensor::from_byte_strings(shape, strings);
    tensor
        .map(Datum::Strings)
        .map_err(|error| Cause::new(error.to_string()))
}

/// Makes a kernel that only moves, compares or counts elements take strings; `gives` tells whether its results are some
/// of those. Covers `test_equal_string` and `test_equal_string_broadcast`.
pub(super) fn numbered(kernel: Kernel, gives: bool) -> Kernel {
    Box::new(move |args| {
        let is_string = |input| matches!(args.given(input), Some(Datum::Strings(_)));
        if (0..args.inputs.len()).any(is_string) {
            on_strings(args, gives, &kernel)
        } else {
            kernel(args)
        }
    })
}

fn on_strings(args: &Args<'_>, gives: bool, kernel: &Kernel) -> Result<Outputs, Cause> {
    let strings = |input: usize| match args.given(input) {
        Some(Datum::Strings(strings)) => Some(strings),
        _ => None,
    };
    let mut numbered = Numbered::of((0..args.inputs.len()).filter_map(strings))?;
    let mut numbers = std::mem::take(&mut numbered.numbers).into_iter();
    let mut slots: Vec<Option<Datum>> = (0..args.inputs.len())
        .map(|input| match strings(input) {
            Some(_) => numbers.next().map(Datum::Tensor),
            None => args.given(input).map(Datum::handle),
        })
        .collect();
    let places: Vec<Option<usize>> = (0..slots.len())
        .map(|place| slots[place].is_some().then_some(place))
        .collect();
    let last = vec![false; places.len()];
    let mut moved = Args {
        slots: &mut slots,
        inputs: &places,
        last: &last,
    };
    let outputs = kernel(&mut moved)?;
    if !gives {
        return Ok(outputs);
    }
    Ok(match outputs {
        Outputs::One(datum) => Outputs::One(numbered.named(datum.tensor()?)?),
        Outputs::Many(data) => {
            let data = data.iter().map(|datum| numbered.named(datum.tensor()?));
            Outputs::Many(data.collect::<Result<_, _>>()?)
        }
    })
}

/// Returns what `function` makes of the numbers of strings.
fn rearranged(
    items: &[Datum],
    function: impl FnOnce(&[Tensor]) -> Result<Tensor, tch::TchError>,
) -> Result<Datum, Cause> {
    let tensors = items.iter().map(|item| match item {
        Datum::Strings(strings) => Ok(strings),
        _ => Err(Cause::new("expected strings throughout")),
    });
    let numbered = Numbered::of(tensors.collect::<Result<Vec<_>, _>>()?)?;
    numbered.named(&function(&numbered.numbers)?)
}

pub(super) fn stack(items: &[Datum], axis: usize) -> Result<Datum, Cause> {
    rearranged(items, |numbers| Tensor::f_stack(numbers, signed(axis)))
}

pub(super) fn concat(items: &[Datum], axis: usize) -> Result<Datum, Cause> {
    rearranged(items, |numbers| Tensor::f_cat(numbers, signed(axis)))
}

pub(super) fn select(item: &Datum, axis: usize, place: i64) -> Result<Datum, Cause> {
    rearranged(&[item.handle()], |numbers| {
        numbers[0].f_select(signed(axis), place)
    })
}

pub(super) fn narrow(item: &Datum, axis: usize, first: i64, count: i64) -> Result<Datum, Cause> {
    rearranged(&[item.handle()], |numbers| {
        numbers[0].f_narrow(signed(axis), first, count)
    })
}

/// Makes a tensor without elements.
pub(super) fn empty(shape: &[i64]) -> Result<Datum, Cause> {
    tensor(shape, &[] as &[&[u8]])
}
