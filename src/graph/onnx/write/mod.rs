//! Writes graphs as ONNX files that this reader, onnxruntime and other tools read.
//!
//! Every file is of one operator set, whatever the model was read from. Canonical operators are written under their ONNX
//! names, and as several nodes where ONNX has no single one. A file appears whole under its name or not at all.

mod attribute;
mod file;
mod model;
mod operator;
mod several;
mod tensor;
mod types;

pub use file::WriteOptions;
