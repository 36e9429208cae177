//! Writes graphs as ONNX files that this reader, onnxruntime and other tools read.
//!
//! A file is of the lowest operator set that has all it uses, whatever the model was read from. Canonical operators are
//! written under their ONNX names, and as several nodes where ONNX has no single one: one rule for each, in the file of
//! its family, found in `operator.rs`. A body, which is a graph that stands alone here, reads what it takes from around
//! it by name there. No two tensors and no two nodes of a file have one name. A file appears whole under its name or not
//! at all.

mod attention;
mod attribute;
mod call;
mod container;
mod control;
mod convolution;
mod elementwise;
mod extent;
mod file;
mod fill;
mod graph;
mod index;
mod linear;
mod model;
mod normalisation;
mod operator;
mod opset;
mod pooling;
mod quantised;
mod recurrent;
mod reduce;
mod sampling;
mod scope;
mod shape;
mod signal;
mod tensor;
mod text;
mod trees;
mod types;

pub use file::WriteOptions;
