//! Versions that a file needs: the lowest that have all it uses, as programs that run models know those best.

use crate::graph::onnx::proto::{NodeProto, OperatorSetIdProto};
use crate::graph::onnx::scope::bodies;
use crate::graph::{Graph, Op};
use crate::types::DType;

use super::call::CLASSICAL;

/// The operator set of files that need none of a later one.
const OPSET: i64 = 21;

/// Operators that came later, or in the form in which they are written.
const LATER: [(&str, i64); 11] = [
    ("Attention", 24),
    ("BitCast", 26),
    ("CausalConvWithState", 27),
    ("CumProd", 26),
    ("DequantizeLinear", 23),
    ("LinearAttention", 27),
    ("QuantizeLinear", 23),
    ("RMSNormalization", 23),
    ("RotaryEmbedding", 23),
    ("Swish", 24),
    ("TensorScatter", 24),
];

/// The operator set of classical machine learning.
const CLASSICAL_OPSET: i64 = 5;

/// The version since which operators in general know a type.
fn since(dtype: DType) -> i64 {
    match dtype {
        DType::F4E2M1 => 23,
        DType::BF16 | DType::F8E8M0 => 24,
        DType::I2 | DType::U2 => 25,
        _ => OPSET,
    }
}

/// Returns the operator sets that the nodes of a graph are of, the default one first.
pub(super) fn imports(graph: &Graph, nodes: &[NodeProto]) -> Vec<OperatorSetIdProto> {
    let mut version = since_types(graph);
    let mut classical = false;
    let mut lists = vec![nodes];
    while let Some(nodes) = lists.pop() {
        for node in nodes {
            classical |= node.domain == CLASSICAL;
            let later = LATER.iter().find(|(name, _)| *name == node.op_type);
            version = version.max(later.map_or(OPSET, |(_, since)| *since));
            lists.extend(bodies(node).map(|body| body.node.as_slice()));
        }
    }
    let of = |domain: &str, version| OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    let mut imports = vec![of("", version)];
    if classical {
        imports.push(of(CLASSICAL, CLASSICAL_OPSET));
    }
    imports
}

fn since_types(graph: &Graph) -> i64 {
    let mut version = OPSET;
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        let dtypes = graph.values.iter().filter_map(|value| value.dtype);
        version = dtypes.map(since).fold(version, i64::max);
        for node in &graph.nodes {
            if let Op::Control(control) = &node.op {
                graphs.extend(control.bodies().into_iter().map(|body| &**body));
            }
        }
    }
    version
}

/// Returns the version of the file format that came with the default operator set.
pub(super) fn file_version(imports: &[OperatorSetIdProto]) -> i64 {
    match imports.first().map_or(OPSET, |default| default.version) {
        ..=22 => 10,
        23 => 11,
        24 => 12,
        25.. => 13,
    }
}
