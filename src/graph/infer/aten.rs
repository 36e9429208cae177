//! Operators of ATen, of which nothing is known but what the model says.

use super::Fact;
use crate::graph::AtenOp;

pub(super) fn declared(op: &AtenOp, outputs: usize) -> Vec<Fact> {
    let declared = op.outputs.iter().cloned();
    declared
        .map(|output| Fact::new(output.dtype, output.shape))
        .chain(std::iter::repeat(Fact::default()))
        .take(outputs)
        .collect()
}
