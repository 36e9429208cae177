//! Operators that stay what they are: run by the name and overload of their schema.

use super::argument::wrong;
use super::call::Call;
use super::dtype::{STRIDED, dtype, memory_format};
use super::schema::{Argument, Name, OptionalTensor, SymIntArgument};
use crate::graph::{AtenArgument, AtenOp, AtenOutput, AtenPlace, Fault, Op, ValueId};

/// Returns the operator and its inputs.
pub(super) fn aten(
    call: &mut Call<'_>,
    name: &str,
    overload: &str,
) -> Result<(Op, Vec<Option<ValueId>>), Fault> {
    let mut inputs = Vec::new();
    let mut arguments = Vec::new();
    for argument in call.arguments.all() {
        let value = read(call, &argument.name, &argument.arg, &mut inputs)?;
        arguments.push((AtenPlace::Name(argument.name.clone()), value));
    }
    let outputs = call.declared.iter().map(|fact| AtenOutput {
        dtype: fact.dtype,
        shape: fact.shape.clone(),
    });
    let op = AtenOp {
        name: format!("aten::{name}"),
        overload: if overload == "default" {
            String::new()
        } else {
            overload.to_owned()
        },
        arguments,
        outputs: outputs.collect(),
    };
    Ok((Op::Aten(op), inputs))
}

fn read(
    call: &mut Call<'_>,
    name: &str,
    argument: &Argument,
    inputs: &mut Vec<Option<ValueId>>,
) -> Result<AtenArgument, Fault> {
    let known =
        |size: Option<i64>| size.ok_or_else(|| wrong(name, argument, "one that is known before"));
    Ok(match argument {
        Argument::None(_) | Argument::OptionalTensor(OptionalTensor::None(_)) => AtenArgument::None,
        Argument::Tensor(Name { name })
        | Argument::OptionalTensor(OptionalTensor::Tensor(Name { name })) => {
            AtenArgument::Input(input(call, name, inputs)?)
        }
        Argument::Tensors(list) => {
            let list = list
                .iter()
                .map(|tensor| input(call, &tensor.name, inputs).map(Some));
            AtenArgument::Inputs(list.collect::<Result<_, _>>()?)
        }
        Argument::OptionalTensors(list) => {
            let list = list.iter().map(|tensor| match tensor {
                OptionalTensor::Tensor(tensor) => input(call, &tensor.name, inputs).map(Some),
                OptionalTensor::None(_) => Ok(None),
            });
            AtenArgument::Inputs(list.collect::<Result<_, _>>()?)
        }
        Argument::Int(number) => AtenArgument::Int(*number),
        Argument::Ints(list) => AtenArgument::Ints(list.clone()),
        Argument::Float(number) => AtenArgument::Float(number.0),
        Argument::Floats(list) => {
            AtenArgument::Floats(list.iter().map(|number| number.0).collect())
        }
        Argument::Text(text) => AtenArgument::Text(text.clone()),
        Argument::Bool(truth) => AtenArgument::Bool(*truth),
        Argument::Bools(list) => AtenArgument::Bools(list.clone()),
        Argument::SymInt(size) => AtenArgument::Int(known(fixed(call, size)?)?),
        Argument::SymInts(list) => {
            let mut sizes = Vec::with_capacity(list.len());
            for size in list {
                sizes.push(known(fixed(call, size)?)?);
            }
            AtenArgument::Ints(sizes)
        }
        Argument::ScalarType(number) => match dtype(*number) {
            Some(dtype) => AtenArgument::DType(dtype),
            None => return Err(wrong(name, argument, "a real datatype")),
        },
        Argument::MemoryFormat(number) => match memory_format(*number) {
            Some(format) => AtenArgument::MemoryFormat(format),
            None => return Err(wrong(name, argument, "a known memory format")),
        },
        Argument::Layout(STRIDED) => AtenArgument::StridedLayout,
        Argument::Layout(_) => return Err(wrong(name, argument, "the strided one")),
        Argument::Device(_) => AtenArgument::Device,
        Argument::Other(_) => {
            return Err(wrong(
                name,
                argument,
                "a tensor, a number, a text or a list of them",
            ));
        }
    })
}

fn input(
    call: &mut Call<'_>,
    tensor: &str,
    inputs: &mut Vec<Option<ValueId>>,
) -> Result<usize, Fault> {
    let value = call.value(tensor)?;
    inputs.push(Some(value));
    Ok(inputs.len() - 1)
}

fn fixed(call: &mut Call<'_>, size: &SymIntArgument) -> Result<Option<i64>, Fault> {
    match size {
        SymIntArgument::Int(number) => Ok(Some(*number)),
        SymIntArgument::Name(name) => {
            let value = call.value(name)?;
            let numbers = call.builder.fact(value).numbers();
            Ok(numbers.and_then(|numbers| numbers.first().copied()))
        }
    }
}
