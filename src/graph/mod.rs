//! Our own model graph: read from ONNX or an archive of `torch.export`, checked, shapes inferred, cut into segments, weighed, hashed, compared,
//! written back.
//!
//! A graph is a value: it is never edited in place, a pass returns a new one. Nothing here runs a model or knows an
//! engine. Invariants, checked by [`Graph::verify`]: ids point into their arenas; a value is an input, an
//! initialiser, or the output of exactly one node; nodes stand in topological order; names are unique. They hold for the
//! bodies of nodes as well.

mod build;
mod chain;
mod cost;
mod cut;
mod error;
mod hash;
mod infer;
mod ir;
mod onnx;
mod op;
mod parts;
mod pass;
mod pt2;
mod read;
mod share;
mod signature;
mod subgraph;
mod verify;

pub use cost::{Cost, Costs, Extent};
pub use error::{Defect, Fault, GraphError, UnsupportedOperator};
pub use hash::{Digest, Hashes};
pub use ir::{Container, Graph, Initializer, Node, NodeId, Value, ValueId, ValueOrigin};
pub use onnx::{WriteOptions, read_tensor};
pub use op::{
    Activation, Aggregate, Aspect, AtenArgument, AtenOp, AtenOutput, AtenPlace, Attention, AutoPad,
    Binary, Body, Branch, Case, Cell, CellFunction, Col2Im, Combine, ContainerOp, Control, Conv,
    ConvTranspose, Coordinates, DeformConv, Direction, Distribution, Equation, FusedConv, GridMode,
    GridSample, Heads, Index, Interpolation, Leaf, LinearAttention, LossReduction, MaxRoiPool,
    MaxUnpool, MemoryFormat, Narrowing, NgramCount, Normalization, Op, Outside, PadMode,
    PixelFormat, Pool, PoolKind, Quantised, Random, Recurrent, Reduce, Resize, RoiAlign,
    RotaryEmbedding, RoundMode, Rounding, ScaledDotProduct, Scaling, Scan, Scanned, Scores, Signal,
    Split, Subscript, Term, Test, Text, TreeEnsemble, Unary, Weighting,
};
pub use parts::{CutPoint, Part};
pub use pass::Evaluate;
pub use share::{Segment, SharedPrefix, SharedSegment, Sharing, share};
