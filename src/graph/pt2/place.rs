//! Operators that write to their first argument, read as what they compute.
//!
//! That is the same as long as nobody sees the tensor that is written to but through the result. It has to be computed by
//! an operator that makes memory of its own, and be read once: by the operator that writes to it.

use std::collections::{HashMap, HashSet};

use super::schema::{
    Argument, Graph, GraphSignature, Name, OptionalTensor, OutputSpec, SymIntArgument,
};

/// Operators with a canonical counterpart whose result may be a view of an argument.
const VIEWS: [&str; 27] = [
    "_unsafe_view",
    "alias",
    "alpha_dropout",
    "chunk",
    "contiguous",
    "detach",
    "dropout",
    "expand",
    "feature_dropout",
    "flatten",
    "lift_fresh",
    "narrow",
    "native_dropout",
    "permute",
    "reshape",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "to",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "view",
];

/// How often each tensor is read, by nodes and as an output.
pub(super) fn reads<'a>(
    graph: &'a Graph,
    signature: &'a GraphSignature,
) -> HashMap<&'a str, usize> {
    let mut reads = HashMap::new();
    let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
    let outputs = signature
        .output_specs
        .iter()
        .filter_map(|output| match output {
            OutputSpec::UserOutput { arg } => Some(arg),
            _ => None,
        });
    for argument in inputs.map(|input| &input.arg).chain(outputs) {
        each_name(argument, |name| *reads.entry(name).or_insert(0) += 1);
    }
    reads
}

/// Calls `each` with the names that an argument refers to.
pub(super) fn each_name<'a>(argument: &'a Argument, mut each: impl FnMut(&'a str)) {
    match argument {
        Argument::Tensor(Name { name })
        | Argument::OptionalTensor(OptionalTensor::Tensor(Name { name }))
        | Argument::SymInt(SymIntArgument::Name(name)) => each(name),
        Argument::Tensors(list) => list.iter().for_each(|tensor| each(&tensor.name)),
        Argument::OptionalTensors(list) => {
            for tensor in list {
                if let OptionalTensor::Tensor(tensor) = tensor {
                    each(&tensor.name);
                }
            }
        }
        Argument::SymInts(list) => {
            for size in list {
                if let SymIntArgument::Name(name) = size {
                    each(name);
                }
            }
        }
        _ => {}
    }
}

/// Returns the operator whose result one that writes to its first argument leaves there: `relu` of `relu_`.
pub(super) fn functional(operator: &str) -> Option<&str> {
    let base = operator.strip_suffix('_')?;
    (!base.is_empty() && !base.ends_with('_')).then_some(base)
}

/// Tensors in memory of their own.
#[derive(Default)]
pub(super) struct Owned<'a>(HashSet<&'a str>);

impl<'a> Owned<'a> {
    /// Notes the results of an operator that has a canonical counterpart.
    pub(super) fn computed(&mut self, operator: &str, outputs: &[&'a str]) {
        if !VIEWS.contains(&operator) {
            self.0.extend(outputs);
        }
    }

    pub(super) fn has(&self, tensor: &str) -> bool {
        self.0.contains(tensor)
    }
}
