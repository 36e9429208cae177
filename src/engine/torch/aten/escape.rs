//! Operators of ATen by name, for what has no canonical operator.

use tch::Tensor;

use crate::graph::{AtenArgument, AtenOp, AtenPlace, MemoryFormat};

use super::super::cause::Cause;
use super::super::ffi::boxed::{self, Argument, Operator, Place, Returned};
use super::args::{Kernel, Outputs};
use super::context::NodeContext;
use super::datum::Datum;

/// Operators that models are written with although their names say that they are internal.
const INTERNAL: [&str; 8] = [
    "aten::_adaptive_avg_pool2d",
    "aten::_adaptive_avg_pool3d",
    "aten::_log_softmax",
    "aten::_native_batch_norm_legit_no_training",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_softmax",
    "aten::_to_copy",
    "aten::_unsafe_view",
];

/// Operators that reach beyond their arguments, and those that show memory as they find it.
const REFUSED: [&str; 11] = [
    "aten::empty",
    "aten::empty_like",
    "aten::empty_permuted",
    "aten::empty_quantized",
    "aten::empty_strided",
    "aten::from_file",
    "aten::new_empty",
    "aten::new_empty_strided",
    "aten::resize",
    "aten::resize_as",
    "aten::set_data",
];

/// No backend tests: ONNX models have no such operators.
pub(super) fn aten(context: &NodeContext<'_>, op: &AtenOp) -> Result<Kernel, Cause> {
    check_name(&op.name)?;
    let arguments: Vec<_> = op
        .arguments
        .iter()
        .map(|(place, argument)| {
            let place = match place {
                AtenPlace::Position(index) => Place::At(*index),
                AtenPlace::Name(name) => Place::Named(name),
            };
            (place, bound(argument))
        })
        .collect();
    let call = Operator::find(&op.name, &op.overload)?.bind(&arguments)?;
    let outputs = context.outputs();
    let inputs = context.inputs();
    Ok(Box::new(move |args| {
        let tensors = (0..inputs)
            .map(|input| args.optional(input))
            .collect::<Result<Vec<_>, _>>()?;
        let mut results = call.run(&tensors)?;
        // An operator that returns one list fills several outputs with it.
        if let [Returned::Tensors(_)] = results.as_slice()
            && let Some(Returned::Tensors(list)) = results.pop()
        {
            results = list.into_iter().map(Returned::Tensor).collect();
        }
        if results.len() < outputs {
            return Err(Cause::new(format!(
                "returns {} values, the model reads {outputs}",
                results.len()
            )));
        }
        let data = results.into_iter().map(datum);
        Ok(Outputs::Many(data.collect::<Result<_, _>>()?))
    }))
}

/// A model is data: it must not reach for files, for memory it was not given, or for the operators of other libraries.
fn check_name(name: &str) -> Result<(), Cause> {
    let Some(bare) = name.strip_prefix("aten::") else {
        return Err(Cause::new(format!(
            "operator {name:?} is not supported, only those of \"aten\" are"
        )));
    };
    let internal = bare.starts_with('_') && !INTERNAL.contains(&name);
    if internal || REFUSED.contains(&name) {
        return Err(Cause::new(format!(
            "operator {name:?} is not one that a model may use"
        )));
    }
    Ok(())
}

fn bound(argument: &AtenArgument) -> Argument<'_> {
    match argument {
        AtenArgument::None => Argument::None,
        AtenArgument::Input(input) => Argument::Input(*input),
        AtenArgument::Inputs(inputs) => Argument::List(
            inputs
                .iter()
                .map(|input| input.map_or(Argument::None, Argument::Input))
                .collect(),
        ),
        AtenArgument::Int(number) => Argument::Int(*number),
        AtenArgument::Ints(list) => Argument::ints(list),
        AtenArgument::Float(number) => Argument::Float(*number),
        AtenArgument::Floats(list) => {
            Argument::List(list.iter().copied().map(Argument::Float).collect())
        }
        AtenArgument::Bool(truth) => Argument::Bool(*truth),
        AtenArgument::Bools(list) => {
            Argument::List(list.iter().copied().map(Argument::Bool).collect())
        }
        AtenArgument::Text(text) => Argument::Text(text),
        AtenArgument::DType(dtype) => Argument::DType(*dtype),
        AtenArgument::Device => Argument::Cpu,
        AtenArgument::StridedLayout => Argument::Layout(boxed::Layout::Strided),
        AtenArgument::MemoryFormat(format) => Argument::Format(match format {
            MemoryFormat::Contiguous => boxed::MemoryFormat::Contiguous,
            MemoryFormat::Preserve => boxed::MemoryFormat::Preserve,
            MemoryFormat::ChannelsLast => boxed::MemoryFormat::ChannelsLast,
            MemoryFormat::ChannelsLast3d => boxed::MemoryFormat::ChannelsLast3d,
        }),
    }
}

fn datum(returned: Returned) -> Result<Datum, Cause> {
    Ok(match returned {
        Returned::Tensor(tensor) => Datum::Tensor(tensor),
        Returned::Tensors(list) => Datum::Sequence(list.into_iter().map(Datum::Tensor).collect()),
        Returned::Nothing => Datum::Nothing,
        Returned::Int(number) => scalar(&[number])?,
        Returned::Float(number) => scalar(&[number])?,
        Returned::Bool(truth) => scalar(&[truth])?,
    })
}

/// Returns a tensor without dimensions.
fn scalar<T: tch::kind::Element>(value: &[T; 1]) -> Result<Datum, Cause> {
    let tensor = Tensor::f_from_slice(value)?.f_reshape([0_i64; 0])?;
    Ok(Datum::Tensor(tensor))
}
