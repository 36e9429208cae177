//! Which nodes get a kernel over packed weights.

use crate::graph::Op;

use super::super::super::cause::Cause;
use super::super::args::Kernel;
use super::super::context::NodeContext;
use super::super::layout::Layout;
use super::super::recurrent;
use super::{convolution, linear};

/// A kernel with what preparation has to know of it.
pub(in super::super) struct Packed {
    pub(in super::super) kernel: Kernel,
    pub(in super::super) layout: Layout,
    /// Inputs that the kernel has in it, and is not given.
    pub(in super::super) absorbed: Vec<usize>,
}

impl Packed {
    /// A kernel that has nothing in it.
    pub(in super::super) fn plain(kernel: Kernel, layout: Layout) -> Self {
        Self {
            kernel,
            layout,
            absorbed: Vec::new(),
        }
    }
}

/// Makes the kernel of a node over packed weights; `None` where the plain one is faster, or the only one.
pub(in super::super) fn kernel(
    context: &NodeContext<'_>,
    threads: usize,
) -> Result<Option<Packed>, Cause> {
    match &context.node().op {
        Op::Conv(conv) => convolution::kernel(context, conv, None, threads),
        Op::FusedConv(op) => convolution::kernel(context, &op.conv, op.activation, threads),
        Op::MatMul => linear::kernel(context, None, threads),
        Op::Linear { activation } => linear::kernel(context, *activation, threads),
        Op::Recurrent(op) if recurrent::absorbs_weights(context, op) => Ok(Some(Packed {
            kernel: recurrent::recurrent(context, op)?,
            layout: Layout::Dimensions,
            absorbed: vec![1, 2, 3],
        })),
        _ => Ok(None),
    }
}
