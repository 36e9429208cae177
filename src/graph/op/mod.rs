//! Canonical operators. Their semantics are those of the ONNX operator of the same name at opset 17 unless said
//! otherwise; older and newer forms are normalised into these by the reader.
//!
//! Parameters that ONNX passes as tensors (`shape`, `axes`, `starts`, `min`, …) are inputs here too, in ONNX order,
//! also where an older opset had an attribute: the reader turns that into an initialiser. An operator that ONNX defines
//! by a short formula of others is read as those others, unless running it in one step is worth having.

mod aten;
mod attention;
mod container;
mod control;
mod einsum;
mod elementwise;
mod fused;
mod index;
mod linear_attention;
mod moves;
mod name;
mod normalisation;
mod operator;
mod pooling;
mod quantised;
mod random;
mod recurrent;
mod repeatable;
mod sampling;
mod signal;
mod spatial;
mod text;
mod trees;

pub use aten::{AtenArgument, AtenOp, AtenOutput, AtenPlace, MemoryFormat};
pub use attention::{Attention, Heads, RotaryEmbedding, Scores};
pub use container::ContainerOp;
pub use control::{Body, Control, Scan, Scanned};
pub use einsum::{Equation, Subscript, Term};
pub use elementwise::{Binary, Narrowing, Reduce, RoundMode, Unary};
pub use fused::{Activation, FusedConv, ScaledDotProduct};
pub use index::{Combine, Index};
pub use linear_attention::LinearAttention;
pub use normalisation::Normalization;
pub use operator::{LossReduction, Op};
pub use pooling::{MaxRoiPool, MaxUnpool, Pool, PoolKind};
pub use quantised::{Quantised, Scaling};
pub use random::{Distribution, Random};
pub use recurrent::{Cell, CellFunction, Direction, Recurrent};
pub use sampling::{
    Aspect, Coordinates, GridMode, GridSample, Interpolation, Outside, PixelFormat, Resize,
    RoiAlign, Rounding,
};
pub use signal::Signal;
pub use spatial::{AutoPad, Col2Im, Conv, ConvTranspose, DeformConv, PadMode};
pub use text::{Case, NgramCount, Text, Weighting};
pub use trees::{Aggregate, Branch, Leaf, Split, Test, TreeEnsemble};
