//! One use of an operator of ATen, as the rule for it sees it.

use std::sync::Arc;

use half::{bf16, f16};

use super::argument::{Arguments, Number, missing, wrong};
use super::schema::{Argument, SymIntArgument};
use crate::graph::build::{Builder, literal};
use crate::graph::infer::Fact;
use crate::graph::{Defect, Fault, Initializer, Op, ValueId};
use crate::types::{DType, Tensor};

/// A node without a name of its own: an operator and its inputs.
pub(super) type Step = (Op, Vec<Option<ValueId>>);

/// What a node turns into.
pub(super) enum Form {
    Node(Op, Vec<Option<ValueId>>),
    /// One node for each output, in their order.
    Nodes(Vec<Step>),
    /// It has no canonical counterpart.
    Aten,
}

pub(super) struct Call<'a> {
    pub(super) node: &'a str,
    pub(super) arguments: Arguments<'a>,
    /// What the file says of each output.
    pub(super) declared: Vec<Fact>,
    /// Tells of each output whether somebody reads it.
    pub(super) read: Vec<bool>,
    pub(super) builder: &'a mut Builder,
}

impl Call<'_> {
    pub(super) fn value(&mut self, name: &str) -> Result<ValueId, Fault> {
        self.builder
            .resolve(name)
            .flatten()
            .ok_or_else(|| Fault::UndefinedTensor {
                tensor: name.to_owned(),
            })
    }

    pub(super) fn optional(&mut self, name: &str) -> Result<Option<ValueId>, Fault> {
        match self.arguments.tensor(name)? {
            Some(tensor) => self.value(tensor).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn tensor(&mut self, name: &str) -> Result<ValueId, Fault> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    pub(super) fn tensors(&mut self, name: &str) -> Result<Vec<ValueId>, Fault> {
        let names = self.arguments.tensors(name)?;
        names.into_iter().map(|name| self.value(name)).collect()
    }

    pub(super) fn rank(&self, value: ValueId) -> Option<usize> {
        self.builder.fact(value).rank()
    }

    /// Returns the number of dimensions of the tensor that an argument is.
    pub(super) fn rank_of(&self, value: ValueId, argument: &str) -> Result<usize, Fault> {
        self.rank(value).ok_or_else(|| Fault::Argument {
            argument: argument.to_owned(),
            seen: "of an unknown number of dimensions".to_owned(),
            expected: "a tensor whose number of dimensions the file tells",
        })
    }

    pub(super) fn dtype_of(&self, value: ValueId, argument: &str) -> Result<DType, Fault> {
        self.builder
            .fact(value)
            .dtype
            .ok_or_else(|| Fault::Argument {
                argument: argument.to_owned(),
                seen: "of an unknown datatype".to_owned(),
                expected: "a tensor whose datatype the file tells",
            })
    }

    /// Tells whether anybody reads an output after the first.
    pub(super) fn reads_beyond_first(&self) -> bool {
        self.read.iter().skip(1).any(|&read| read)
    }

    /// Adds a node before this one.
    pub(super) fn step(
        &mut self,
        role: &str,
        op: Op,
        inputs: Vec<Option<ValueId>>,
    ) -> Result<ValueId, Fault> {
        self.builder.add_step(self.node, role, op, inputs)
    }

    fn literal(&mut self, role: &str, tensor: Option<Arc<Initializer>>) -> Result<ValueId, Fault> {
        let too_long = || Fault::Argument {
            argument: role.to_owned(),
            seen: "out of range".to_owned(),
            expected: "a number of the datatype it is used with",
        };
        let in_role = |defect: Defect| Fault::Tensor {
            attribute: role.to_owned(),
            defect: Box::new(defect),
        };
        let tensor = tensor.ok_or_else(too_long)?;
        self.builder
            .add_literal(self.node, role, tensor)
            .map_err(in_role)
    }

    pub(super) fn integers(&mut self, role: &str, values: &[i64]) -> Result<ValueId, Fault> {
        self.literal(role, literal::integers(values))
    }

    /// Adds a number as a tensor without dimensions.
    pub(super) fn scalar(
        &mut self,
        role: &str,
        number: Number,
        dtype: DType,
    ) -> Result<ValueId, Fault> {
        self.literal(role, scalar(number, dtype))
    }

    pub(super) fn cast(&mut self, value: ValueId, to: DType) -> Result<ValueId, Fault> {
        if self.builder.fact(value).dtype == Some(to) {
            return Ok(value);
        }
        self.step("cast", Op::Cast { to }, vec![Some(value)])
    }

    /// Returns an integer as a list of one.
    pub(super) fn size(&mut self, name: &str) -> Result<Option<ValueId>, Fault> {
        match self.arguments.get(name) {
            None => Ok(None),
            Some(Argument::Int(number)) => self.integers(name, &[*number]).map(Some),
            Some(Argument::SymInt(size)) => self.element(name, size).map(Some),
            Some(other) => Err(wrong(name, other, "an integer")),
        }
    }

    /// Returns a list of integers, some of which may be known only when the model runs.
    pub(super) fn sizes(&mut self, name: &str) -> Result<ValueId, Fault> {
        self.sizes_with(name, |size| size)
    }

    /// As [`Call::sizes`], with the known ones replaced.
    pub(super) fn sizes_with(
        &mut self,
        name: &str,
        replace: fn(i64) -> i64,
    ) -> Result<ValueId, Fault> {
        match self.arguments.get(name) {
            Some(Argument::SymInts(list)) => {
                let mut elements = Vec::with_capacity(list.len());
                for size in list {
                    elements.push(Some(match size {
                        SymIntArgument::Int(number) => self.integers(name, &[replace(*number)])?,
                        SymIntArgument::Name(_) => self.element(name, size)?,
                    }));
                }
                if elements.is_empty() {
                    return self.integers(name, &[]);
                }
                self.step(name, Op::Concat { axis: 0 }, elements)
            }
            _ => {
                let list = self.arguments.ints(name)?.ok_or_else(|| missing(name))?;
                let list: Vec<_> = list.into_iter().map(replace).collect();
                self.integers(name, &list)
            }
        }
    }

    fn element(&mut self, name: &str, size: &SymIntArgument) -> Result<ValueId, Fault> {
        match size {
            SymIntArgument::Int(number) => self.integers(name, &[*number]),
            SymIntArgument::Name(size) => self.value(size),
        }
    }

    /// Returns a size that is known only when the model runs, as a tensor without dimensions.
    pub(super) fn run_time_scalar(&mut self, name: &str) -> Result<Option<ValueId>, Fault> {
        let Some(Argument::SymInt(SymIntArgument::Name(size))) = self.arguments.get(name) else {
            return Ok(None);
        };
        let list = self.value(size)?;
        let axes = self.integers("axes", &[0])?;
        self.step(name, Op::Squeeze, vec![Some(list), Some(axes)])
            .map(Some)
    }

    /// Returns the axis that a number means in a tensor, counted from the first.
    pub(super) fn axis(&self, value: ValueId, axis: i64) -> Result<usize, Fault> {
        let rank = self.rank_of(value, "self")?;
        // A tensor without dimensions takes those of one with one.
        crate::graph::infer::axis(axis, rank.max(1), "dim")
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to the dtype")]
fn scalar(number: Number, dtype: DType) -> Option<Arc<Initializer>> {
    let integer = match number {
        Number::Bool(truth) => Some(i64::from(truth)),
        Number::Int(number) => Some(number),
        Number::Float(_) => None,
    };
    let bytes = match dtype {
        DType::F32 => (number.float() as f32).to_le_bytes().to_vec(),
        DType::F64 => number.float().to_le_bytes().to_vec(),
        DType::F16 => f16::from_f64(number.float()).to_le_bytes().to_vec(),
        DType::BF16 => bf16::from_f64(number.float()).to_le_bytes().to_vec(),
        DType::Bool => vec![u8::from(number.float() != 0.0)],
        DType::I64 => integer?.to_le_bytes().to_vec(),
        DType::I32 => i32::try_from(integer?).ok()?.to_le_bytes().to_vec(),
        DType::I16 => i16::try_from(integer?).ok()?.to_le_bytes().to_vec(),
        DType::I8 => i8::try_from(integer?).ok()?.to_le_bytes().to_vec(),
        DType::U8 => vec![u8::try_from(integer?).ok()?],
        _ => return None,
    };
    let tensor = Tensor::copy_of(dtype, Vec::new(), &bytes).ok()?;
    Some(Arc::new(Initializer { tensor }))
}
