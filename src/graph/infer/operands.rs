//! The inputs of one operator, with the checks that most operators share.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use crate::graph::Fault;

/// Inputs in order; an absent optional one is `None`.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a>(pub(super) &'a [Option<&'a Fact>]);

impl<'a> Operands<'a> {
    /// Checks the number of inputs, absent ones at the end not counted.
    pub(super) fn count(self, at_least: usize, at_most: usize) -> Result<(), Fault> {
        let seen = self.0.len();
        if (at_least..=at_most).contains(&seen) {
            return Ok(());
        }
        let expected = match at_most {
            _ if at_least == at_most => at_least.to_string(),
            usize::MAX => format!("at least {at_least}"),
            _ => format!("{at_least} to {at_most}"),
        };
        Err(Fault::InputCount { seen, expected })
    }

    /// Returns the inputs before one that is treated apart.
    pub(super) fn first(self, count: usize) -> Self {
        Self(&self.0[..count.min(self.0.len())])
    }

    pub(super) fn get(self, input: usize) -> Result<&'a Fact, Fault> {
        self.optional(input).ok_or(Fault::NoInput { input })
    }

    pub(super) fn optional(self, input: usize) -> Option<&'a Fact> {
        self.0.get(input).copied().flatten()
    }

    pub(super) fn all(self) -> Result<Vec<&'a Fact>, Fault> {
        (0..self.0.len()).map(|input| self.get(input)).collect()
    }

    /// Returns the dtype that the named inputs have in common.
    pub(super) fn common_dtype(
        self,
        inputs: impl IntoIterator<Item = usize>,
    ) -> Result<Option<DType>, Fault> {
        let mut common: Option<(usize, DType)> = None;
        for input in inputs {
            let Some(dtype) = self.optional(input).and_then(|fact| fact.dtype) else {
                continue;
            };
            match common {
                Some((first, expected)) if expected != dtype => {
                    let expected = format!("{expected} as input {first} is");
                    return Err(Fault::DType {
                        input,
                        seen: dtype,
                        expected,
                    });
                }
                Some(_) => {}
                None => common = Some((input, dtype)),
            }
        }
        Ok(common.map(|(_, dtype)| dtype))
    }

    /// Checks that an input, if present and known, has one of the dtypes that `accept` allows.
    pub(super) fn require(
        self,
        input: usize,
        accept: fn(DType) -> bool,
        expected: &str,
    ) -> Result<(), Fault> {
        match self.optional(input).and_then(|fact| fact.dtype) {
            Some(seen) if !accept(seen) => Err(Fault::DType {
                input,
                seen,
                expected: expected.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn require_float(self, input: usize) -> Result<(), Fault> {
        self.require(input, DType::is_float, "a floating-point datatype")
    }

    pub(super) fn require_number(self, input: usize) -> Result<(), Fault> {
        self.require(input, is_number, "a numeric datatype")
    }

    pub(super) fn require_integer(self, input: usize) -> Result<(), Fault> {
        self.require(input, is_integer, "an integer datatype")
    }

    pub(super) fn require_unsigned(self, input: usize) -> Result<(), Fault> {
        self.require(input, is_unsigned, "a datatype of unsigned integers")
    }

    pub(super) fn require_int64(self, input: usize) -> Result<(), Fault> {
        self.require(input, |dtype| dtype == DType::I64, "INT64")
    }

    pub(super) fn require_index(self, input: usize) -> Result<(), Fault> {
        self.require(
            input,
            |dtype| matches!(dtype, DType::I32 | DType::I64),
            "INT32 or INT64",
        )
    }

    pub(super) fn require_bool(self, input: usize) -> Result<(), Fault> {
        self.require(input, |dtype| dtype == DType::Bool, "BOOL")
    }

    /// Checks that an input, if present and known, has this number of dimensions.
    pub(super) fn require_rank(self, input: usize, rank: usize, what: &str) -> Result<(), Fault> {
        match self.optional(input).and_then(|fact| fact.shape.as_ref()) {
            Some(shape) if shape.rank() != rank => Err(Fault::Shape {
                input,
                seen: shape.clone(),
                expected: format!("{rank} dimensions{what}"),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the elements of a list input (axes, pads, …) as far as they are known; checks dtype and rank.
    pub(super) fn list(self, input: usize) -> Result<Option<Vec<i64>>, Fault> {
        self.require_index(input)?;
        let Some(fact) = self.optional(input) else {
            return Ok(None);
        };
        if let Some(shape) = fact.shape.as_ref().filter(|shape| shape.rank() > 1) {
            let expected = "a list of one dimension".to_owned();
            return Err(Fault::Shape {
                input,
                seen: shape.clone(),
                expected,
            });
        }
        Ok(fact.numbers())
    }

    /// Returns the length of a list input, if it is known.
    pub(super) fn list_length(self, input: usize) -> Option<usize> {
        match self.optional(input)?.dims()? {
            [] => Some(1),
            [length] => length.fixed(),
            _ => None,
        }
    }
}

pub(super) fn is_number(dtype: DType) -> bool {
    dtype.is_float() || is_integer(dtype)
}

fn is_integer(dtype: DType) -> bool {
    let other = matches!(dtype, DType::Bool | DType::Bytes);
    !other && !dtype.is_float() && !dtype.is_narrow_float()
}

fn is_unsigned(dtype: DType) -> bool {
    use DType::{U2, U4, U8, U16, U32, U64};
    matches!(dtype, U2 | U4 | U8 | U16 | U32 | U64)
}

/// Wraps the fact of an operator's only output.
pub(super) fn one(dtype: Option<DType>, dims: Option<Vec<Dim>>) -> Vec<Fact> {
    vec![Fact::new(dtype, dims.map(ShapeSpec))]
}
