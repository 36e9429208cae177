//! Our own model graph: read from ONNX, checked, shapes inferred, cut into segments.
//!
//! A graph is a value: it is never edited in place, a pass returns a new one. Nothing here runs a model or knows an
//! engine. Invariants, checked by [`Graph::verify`]: ids point into their arenas; a value is an input, an
//! initialiser, or the output of exactly one node; nodes stand in topological order; names are unique.

mod chain;
mod cut;
mod error;
mod infer;
mod ir;
mod onnx;
mod op;
mod signature;
mod subgraph;
mod verify;

pub use error::{Defect, Fault, GraphError, UnsupportedOperator};
pub use ir::{Container, Graph, Initializer, Node, NodeId, Value, ValueId, ValueOrigin};
pub use onnx::read_tensor;
pub use op::{AutoPad, Binary, Conv, Op, PadMode, Pool, PoolKind, Reduce, Unary};
