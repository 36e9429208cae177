//! Operators that run graphs: what a body of ours is given from around it, one of ONNX reads by name.

use std::ops::Range;

use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{Body, Control, GraphError, Scan, Scanned};

use super::attribute::{graph, ints, size};
use super::call::{Call, Written};
use super::graph::body;

pub(super) fn control<'a>(call: &mut Call<'a, '_>, op: &'a Control) -> Written {
    match op {
        Control::If { then, otherwise } => {
            let middle = 1 + then.inputs.len();
            let branches = [
                inner(call, "then_branch", then, 1..middle)?,
                inner(call, "else_branch", otherwise, middle..call.inputs.len())?,
            ];
            call.inputs.truncate(1);
            call.plain(branches.into())
        }
        Control::Loop { body, states } => {
            let own = 2 + states;
            // Absent inputs at the end are not listed.
            call.inputs
                .resize(call.inputs.len().max(own), String::new());
            let body = inner(call, "body", body, own..call.inputs.len())?;
            call.inputs.truncate(own);
            call.plain(vec![body])
        }
        Control::Scan(op) => scan(call, op),
        Control::SequenceMap { body, mapped } => {
            let body = inner(call, "body", body, *mapped..call.inputs.len())?;
            call.inputs.truncate(*mapped);
            call.plain(vec![body])
        }
    }
}

/// Writes a body whose values from around it are some inputs of the node.
fn inner<'a>(
    call: &mut Call<'a, '_>,
    name: &str,
    of: &'a Body,
    from_around: Range<usize>,
) -> Result<AttributeProto, GraphError> {
    let captured = call.inputs.get(from_around).unwrap_or_default();
    Ok(graph(name, body(of, captured, call.scope)?))
}

/// Since opset 9 a scan has no batch; what was read of an earlier one has no form.
fn scan<'a>(call: &mut Call<'a, '_>, op: &'a Scan) -> Written {
    if op.batched {
        return Err(call.refused());
    }
    let own = op.states + op.inputs.len();
    let body = inner(call, "body", &op.body, own..call.inputs.len())?;
    call.inputs.truncate(own);
    let mut attributes = vec![body, size("num_scan_inputs", op.inputs.len())];
    attributes.extend(ways("scan_input", &op.inputs));
    attributes.extend(ways("scan_output", &op.outputs));
    call.plain(attributes)
}

fn ways(role: &str, ways: &[Scanned]) -> [AttributeProto; 2] {
    let axes = ways.iter().map(|way| way.axis);
    let directions = ways.iter().map(|way| way.reverse.into());
    [
        ints(&format!("{role}_axes"), axes),
        ints(&format!("{role}_directions"), directions),
    ]
}
