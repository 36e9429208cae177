//! Reads ONNX files into graphs: decodes, maps weights, normalises operators, infers shapes. And writes graphs back.
//!
//! A file is never believed: every length is checked before it is used, and no content makes the reader panic or
//! recurse without bound. Weights stay in the mapped file, so a model that is read may be replaced, but must not be
//! overwritten in place while it is in use.

mod attributes;
mod dtype;
mod external;
mod function;
mod graph;
mod normalise;
mod opset;
mod order;
mod packed;
mod proto;
mod read;
mod scope;
mod tensor;
mod tensor_file;
mod value_info;
mod windows;
mod write;

pub(super) use read::read;
pub use tensor_file::read_tensor;
pub use write::WriteOptions;
