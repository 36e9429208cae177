//! The arguments of a node by their names in the schema of the operator.

use std::cell::RefCell;

use super::dtype::dtype;
use super::schema::{Argument, Name, NamedArgument, OptionalTensor, SymIntArgument};
use crate::graph::Fault;
use crate::types::DType;

/// A number of Python that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Number {
    /// The dtype that it has where it meets no tensor.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Bool(_) => DType::Bool,
            Self::Int(_) => DType::I64,
            Self::Float(_) => DType::F32,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as Python converts it")]
    pub(super) fn float(self) -> f64 {
        match self {
            Self::Bool(truth) => f64::from(u8::from(truth)),
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

/// The arguments that a node has. Those that have the default of the schema may be missing. Remembers which ones a rule
/// looked at: one that nobody did would be dropped silently.
pub(super) struct Arguments<'a> {
    given: &'a [NamedArgument],
    seen: RefCell<Vec<bool>>,
}

impl<'a> Arguments<'a> {
    pub(super) fn of(given: &'a [NamedArgument]) -> Self {
        Self {
            given,
            seen: RefCell::new(vec![false; given.len()]),
        }
    }

    pub(super) fn all(&self) -> &'a [NamedArgument] {
        self.given
    }

    /// Tells whether every argument has been looked at.
    pub(super) fn are_all_seen(&self) -> bool {
        self.seen.borrow().iter().all(|&seen| seen)
    }

    /// Returns an argument, `None` if it is missing or is nothing.
    pub(super) fn get(&self, name: &str) -> Option<&'a Argument> {
        let place = self.given.iter().position(|given| given.name == name)?;
        self.seen.borrow_mut()[place] = true;
        match &self.given[place].arg {
            Argument::None(_) | Argument::OptionalTensor(OptionalTensor::None(_)) => None,
            given => Some(given),
        }
    }

    /// Looks at arguments that change nothing.
    pub(super) fn ignore(&self, names: &[&str]) {
        for name in names {
            self.get(name);
        }
    }

    /// Returns the name of a tensor.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(
                Argument::Tensor(Name { name })
                | Argument::OptionalTensor(OptionalTensor::Tensor(Name { name })),
            ) => Ok(Some(name)),
            Some(other) => Err(wrong(name, other, "a tensor")),
        }
    }

    pub(super) fn tensors(&self, name: &str) -> Result<Vec<&'a str>, Fault> {
        match self.get(name) {
            Some(Argument::Tensors(list)) => {
                Ok(list.iter().map(|tensor| tensor.name.as_str()).collect())
            }
            None => Err(missing(name)),
            Some(other) => Err(wrong(name, other, "a list of tensors")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<Number>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Argument::Int(number)) => Ok(Some(Number::Int(*number))),
            Some(Argument::Float(number)) => Ok(Some(Number::Float(number.0))),
            Some(Argument::Bool(truth)) => Ok(Some(Number::Bool(*truth))),
            Some(other) => Err(wrong(name, other, "a number")),
        }
    }

    pub(super) fn float(&self, name: &str, default: f64) -> Result<f64, Fault> {
        Ok(self.number(name)?.map_or(default, Number::float))
    }

    /// A parameter of an operator, which are of single precision here.
    #[expect(clippy::cast_possible_truncation, reason = "rounded on purpose")]
    pub(super) fn single(&self, name: &str, default: f64) -> Result<f32, Fault> {
        Ok(self.float(name, default)? as f32)
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Argument::Int(number) | Argument::SymInt(SymIntArgument::Int(number))) => {
                Ok(Some(*number))
            }
            Some(other) => Err(wrong(name, other, "an integer")),
        }
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> Result<i64, Fault> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// Returns a list of integers; one integer is a list of one.
    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Argument::Ints(list)) => Ok(Some(list.clone())),
            Some(Argument::Int(number)) => Ok(Some(vec![*number])),
            Some(given @ Argument::SymInts(list)) => {
                let known = list.iter().map(|size| match size {
                    SymIntArgument::Int(number) => Some(*number),
                    SymIntArgument::Name(_) => None,
                });
                let list = known.collect::<Option<_>>();
                list.map(Some)
                    .ok_or_else(|| wrong(name, given, "a list of integers"))
            }
            // So is an empty list written whose elements could be anything.
            Some(Argument::Tensors(list)) if list.is_empty() => Ok(Some(Vec::new())),
            Some(other) => Err(wrong(name, other, "a list of integers")),
        }
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Fault> {
        match self.get(name) {
            None => Ok(default),
            Some(Argument::Bool(truth)) => Ok(*truth),
            Some(other) => Err(wrong(name, other, "a truth value")),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Argument::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, other, "a text")),
        }
    }

    pub(super) fn dtype(&self, name: &str) -> Result<Option<DType>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Argument::ScalarType(number)) => match dtype(*number) {
                Some(dtype) => Ok(Some(dtype)),
                None => Err(Fault::Argument {
                    argument: name.to_owned(),
                    seen: format!("scalar type {number}"),
                    expected: "a real datatype",
                }),
            },
            Some(other) => Err(wrong(name, other, "a datatype")),
        }
    }
}

pub(super) fn missing(name: &str) -> Fault {
    Fault::NoArgument {
        argument: name.to_owned(),
    }
}

pub(super) fn wrong(name: &str, seen: &Argument, expected: &'static str) -> Fault {
    Fault::Argument {
        argument: name.to_owned(),
        seen: kind(seen).to_owned(),
        expected,
    }
}

fn kind(argument: &Argument) -> &'static str {
    match argument {
        Argument::None(_) => "nothing",
        Argument::Tensor(_) | Argument::OptionalTensor(_) => "a tensor",
        Argument::Tensors(_) | Argument::OptionalTensors(_) => "a list of tensors",
        Argument::Int(_) => "an integer",
        Argument::Ints(_) => "a list of integers",
        Argument::Float(_) => "a number",
        Argument::Floats(_) => "a list of numbers",
        Argument::Text(_) => "a text",
        Argument::SymInt(_) => "a size that is known when the model runs",
        Argument::SymInts(_) => "a list of sizes that are known when the model runs",
        Argument::ScalarType(_) => "a datatype",
        Argument::MemoryFormat(_) => "a memory format",
        Argument::Layout(_) => "a layout",
        Argument::Device(_) => "a device",
        Argument::Bool(_) => "a truth value",
        Argument::Bools(_) => "a list of truth values",
        Argument::Other(_) => "a graph, an object or another value of Python",
    }
}
