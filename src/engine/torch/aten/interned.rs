//! Strings for kernels that only move elements, or ask whether they are equal.

use std::collections::HashMap;

use tch::Tensor;

use crate::graph::{Binary, Op};
use crate::types::{self, DType};

use super::super::cause::Cause;
use super::args::{Args, Kernel, Outputs, integers, signed};
use super::context::NodeContext;
use super::datum::Datum;

/// Makes the kernel of a [blind](is_blind) operator run on strings where the node has any: each distinct string goes in
/// as a number of its own, and comes out where that number does. Covers `test_equal_string` and
/// `test_equal_string_broadcast`.
pub(super) fn with_strings(context: &NodeContext<'_>, kernel: Kernel) -> Kernel {
    let inputs = context.inputs();
    let holds = |dtype: Option<DType>| dtype == Some(DType::Bytes);
    if !(0..inputs).any(|input| holds(context.input_dtype(input))) {
        return kernel;
    }
    let results: Vec<bool> = (0..context.outputs())
        .map(|output| holds(context.output_dtype(output)))
        .collect();
    Box::new(move |args| {
        let mut pool = Pool::default();
        let mut slots = (0..inputs)
            .map(|input| {
                args.given(input)
                    .map(|datum| pool.intern(datum))
                    .transpose()
            })
            .collect::<Result<Vec<_>, _>>()?;
        let places: Vec<Option<usize>> = (0..inputs).map(Some).collect();
        let outputs = kernel(&mut Args {
            slots: &mut slots,
            inputs: &places,
            last: &vec![false; inputs],
        })?;
        let named = |(datum, result): (Datum, &bool)| match datum {
            Datum::Tensor(numbers) if *result => pool.strings(&numbers).map(Datum::Strings),
            other => Ok(other),
        };
        Ok(match outputs {
            Outputs::One(datum) => Outputs::One(named((datum, results.first().unwrap_or(&false)))?),
            Outputs::Many(data) => {
                let data = data.into_iter().zip(&results).map(named);
                Outputs::Many(data.collect::<Result<_, _>>()?)
            }
        })
    })
}

/// Tells whether the operator only moves, compares or counts elements, of whatever type.
pub(super) fn is_blind(op: &Op) -> bool {
    matches!(
        op,
        Op::Binary(Binary::Equal) | Op::Where | Op::Shape { .. } | Op::Size
    )
}

/// Distinct strings, and the numbers that stand for them.
#[derive(Default)]
struct Pool {
    numbers: HashMap<Vec<u8>, i64>,
    strings: Vec<Vec<u8>>,
}

impl Pool {
    fn intern(&mut self, datum: &Datum) -> Result<Datum, Cause> {
        let Datum::Strings(strings) = datum else {
            return Ok(datum.handle());
        };
        let numbers: Vec<i64> = strings
            .byte_strings()
            .into_iter()
            .map(|string| self.number(string))
            .collect();
        let shape: Vec<i64> = strings.shape().iter().map(|&size| signed(size)).collect();
        Ok(Tensor::f_from_slice(&numbers)?.f_reshape(shape)?.into())
    }

    fn number(&mut self, string: &[u8]) -> i64 {
        if let Some(&number) = self.numbers.get(string) {
            return number;
        }
        let number = signed(self.strings.len());
        self.strings.push(string.to_vec());
        self.numbers.insert(string.to_vec(), number);
        number
    }

    fn strings(&self, numbers: &Tensor) -> Result<types::Tensor, Cause> {
        let string = |number: i64| {
            usize::try_from(number)
                .ok()
                .and_then(|number| self.strings.get(number))
                .ok_or_else(|| Cause::new("an element stands for no string"))
        };
        let shape = numbers.size().into_iter().map(usize::try_from);
        let shape = shape
            .collect::<Result<_, _>>()
            .map_err(|error| Cause::new(error.to_string()))?;
        let strings: Vec<_> = integers(numbers)?
            .into_iter()
            .map(string)
            .collect::<Result<_, _>>()?;
        types::Tensor::from_byte_strings(shape, &strings)
            .map_err(|error| Cause::new(error.to_string()))
    }
}
