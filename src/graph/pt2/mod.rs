//! Reads the archives of `torch.export` (`.pt2`): maps weights, normalises operators of ATen, infers shapes.
//!
//! The format is that of `torch/_export/serde/schema.py` and `torch/export/pt2_archive/constants.py` in PyTorch 2.11: a
//! ZIP file of stored entries, one of them the graph as JSON of a versioned schema, one for each weight. Its authors
//! promise nothing beyond a major version, so any other is refused by number.
//!
//! An archive is never believed: every length is checked before it is used, no content makes the reader panic or recurse
//! without bound, and memory grows with the file alone. Nothing is executed: what is kept as a pickle is refused where the
//! graph needs it and not looked at elsewhere. Weights stay in the mapped file.
//!
//! An operator with a canonical counterpart becomes that. Any other functional operator of ATen becomes
//! [`Op::Aten`](crate::graph::Op), which runs by name and cannot be written to ONNX. What writes to its arguments is read as
//! what it computes where nothing else can see the difference, and refused elsewhere.

mod archive;
mod argument;
mod call;
mod dtype;
mod escape;
mod input;
mod normalise;
mod place;
mod program;
mod read;
mod schema;
mod size;
mod target;
mod weights;

pub(super) use read::read;
