//! Canonical operators. Their semantics are those of the ONNX operator of the same name at opset 17 unless said
//! otherwise; older and newer forms are normalised into these by the reader.
//!
//! Parameters that ONNX passes as tensors (`shape`, `axes`, `starts`, `min`, …) are inputs here too, in ONNX order,
//! also where an older opset had an attribute: the reader turns that into an initialiser. An operator that ONNX defines
//! by a short formula of others is read as those others, unless running it in one step is worth having.

mod elementwise;
mod name;
mod operator;
mod spatial;

pub use elementwise::{Binary, Reduce, Unary};
pub use operator::Op;
pub use spatial::{AutoPad, Conv, PadMode, Pool, PoolKind};
