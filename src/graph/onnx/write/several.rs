//! Canonical operators that ONNX, at the operator set written, has only in several steps.

use crate::graph::onnx::proto::NodeProto;
use crate::graph::{Node, Op};

use super::attribute::{flag, int};

/// A node whose tensors have names already.
pub(super) struct Named<'a> {
    pub(super) node: &'a Node,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

/// Returns the nodes that do the work of one, in topological order; `None` if its operator has no such form. `fresh`
/// makes names for the tensors between them.
pub(super) fn several(
    named: &Named<'_>,
    fresh: &mut dyn FnMut(&str) -> String,
) -> Option<Vec<NodeProto>> {
    match named.node.op {
        Op::FlatSoftmax { axis, log } => Some(flat_softmax(named, axis, log, fresh)),
        _ => None,
    }
}

/// Softmax over all dimensions from `axis` on: of the matrix that the tensor is when flattened there.
fn flat_softmax(
    named: &Named<'_>,
    axis: i64,
    log: bool,
    fresh: &mut dyn FnMut(&str) -> String,
) -> Vec<NodeProto> {
    let (matrix, along) = (fresh("matrix"), fresh("softmax"));
    let shape = fresh("shape");
    let input = &named.inputs[0];
    let softmax = if log { "LogSoftmax" } else { "Softmax" };
    let mut flatten = node("Flatten", &[input], &matrix);
    flatten.attribute.push(int("axis", axis));
    let mut normalise = node(softmax, &[&matrix], &along);
    normalise.attribute.push(int("axis", 1));
    let sizes = node("Shape", &[input], &shape);
    let mut restore = node("Reshape", &[&along, &shape], &named.outputs[0]);
    // A dimension of size 0 is meant as such.
    restore.attribute.push(flag("allowzero", true));
    restore.name.clone_from(&named.node.name);
    vec![flatten, normalise, sizes, restore]
}

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}
