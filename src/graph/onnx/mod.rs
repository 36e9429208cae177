//! Reads ONNX files into graphs: decodes, maps weights, normalises operators, infers shapes.
//!
//! A file is never believed: every length is checked before it is used, and no content makes the reader panic or
//! recurse without bound. Weights stay in the mapped file, so a model that is read may be replaced, but must not be
//! overwritten in place while it is in use.

mod attributes;
mod builder;
mod dtype;
mod external;
mod literal;
mod map;
mod normalise;
mod order;
mod packed;
mod proto;
mod read;
mod rewrite;
mod tensor;
mod tensor_file;
mod value_info;

pub use tensor_file::read_tensor;
