//! What can be wrong with a model file or a cut.
//!
//! Every message names the file, and the node or tensor it is about, in the words of the model.

use std::fmt;
use std::path::PathBuf;

use crate::types::{DType, Shape, ShapeSpec};

use super::Container;

/// A model that cannot be read, or a cut that it does not allow.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is no ONNX model, or is damaged: {source}", path = path.display())]
    Decode {
        path: PathBuf,
        source: prost::DecodeError,
    },
    #[error("{path} is no ONNX tensor, or is damaged: {source}", path = path.display())]
    DecodeTensor {
        path: PathBuf,
        source: prost::DecodeError,
    },
    #[error("{path}: {source}", path = path.display())]
    Model { path: PathBuf, source: Box<Defect> },
    #[error("{path} has no tensor {name:?}{}", did_you_mean(near.as_deref()), path = path.display())]
    UnknownTensor {
        path: PathBuf,
        name: String,
        near: Option<String>,
    },
    #[error("{path}: tensor {name:?} is a weight, cut at a tensor that is computed", path = path.display())]
    CutAtInitializer { path: PathBuf, name: String },
    #[error("{path}: tensor {name:?} is an input of the model, cut at a tensor that is computed", path = path.display())]
    CutAtInput { path: PathBuf, name: String },
    #[error("{path}: tensor {name:?} is named twice in one cut", path = path.display())]
    RepeatedTensor { path: PathBuf, name: String },
    #[error("{path}: a segment without outputs computes nothing, name at least one", path = path.display())]
    NoOutputs { path: PathBuf },
    #[error(
        "{path}: output {output:?} cannot be computed from {inputs:?} alone, it also needs input {missing:?}",
        path = path.display()
    )]
    MissingInput {
        path: PathBuf,
        output: String,
        inputs: Vec<String>,
        missing: String,
    },
    #[error("{path}: no output among {outputs:?} depends on input {input:?}, leave it out", path = path.display())]
    UnusedInput {
        path: PathBuf,
        input: String,
        outputs: Vec<String>,
    },
    #[error("{path}: cut {cut:?} is computed before cut {before:?}, list cuts in the order of the model", path = path.display())]
    CutOrder {
        path: PathBuf,
        cut: String,
        before: String,
    },
    #[error("{path}: nothing is computed after cut {cut:?}, leave it out", path = path.display())]
    NothingAfterCut { path: PathBuf, cut: String },
    #[error(
        "{path} cannot be cut into {parts} parts at single tensors, only into up to {most}; name tensors to cut at",
        path = path.display()
    )]
    TooFewCuts {
        path: PathBuf,
        parts: usize,
        most: usize,
    },
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: node {node:?} cannot be written: this version has no ONNX form for {operator}", path = path.display())]
    Unwritable {
        path: PathBuf,
        node: String,
        operator: &'static str,
    },
    #[error("{path}: tensor {tensor:?} has an unknown datatype, no signature can be given", path = path.display())]
    UnknownDType { path: PathBuf, tensor: String },
    #[error("{path}: tensor {tensor:?} has an unknown number of dimensions, no signature can be given", path = path.display())]
    UnknownRank { path: PathBuf, tensor: String },
    #[error("{path}: {bytes} bytes of weights do not fit one ONNX message, which holds {most}; cut the model", path = path.display())]
    TooLarge {
        path: PathBuf,
        bytes: u64,
        most: u64,
    },
    #[error("{path}: {value:?} is a sequence or an optional value, and only tensors enter and leave a block; cut the model elsewhere", path = path.display())]
    NoTensor { path: PathBuf, value: String },
    /// A defect of this program, not of the model.
    #[error("{path}: broken graph: {invariant}", path = path.display())]
    Invariant { path: PathBuf, invariant: String },
}

/// Something wrong inside a model file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Defect {
    #[error("the file holds no graph")]
    NoGraph,
    #[error(
        "the model is of ONNX opset {seen}, supported are {lowest} to {highest}, export it for one of them"
    )]
    Opset {
        seen: i64,
        lowest: i64,
        highest: i64,
    },
    #[error("the model has no outputs")]
    NoOutputs,
    #[error("unsupported operators: {}", list(operators))]
    Operators { operators: Vec<UnsupportedOperator> },
    #[error("tensor {tensor:?} is defined twice")]
    DefinedTwice { tensor: String },
    #[error("{kind} without a name")]
    Unnamed { kind: &'static str },
    #[error("node {node:?} reads tensor {tensor:?}, which nothing defines")]
    Undefined { node: String, tensor: String },
    #[error("output {tensor:?} of the model is not computed by any node")]
    UndefinedOutput { tensor: String },
    #[error("nodes depend on each other in a circle: {}", nodes.join(" → "))]
    Cycle { nodes: Vec<String> },
    #[error("tensor {tensor:?} has ONNX element type {seen}, which is not supported")]
    ElementType { tensor: String, seen: String },
    #[error("tensor {tensor:?} has the dimensions {seen:?}, expected sizes of at least 0")]
    Dimensions { tensor: String, seen: Vec<i64> },
    #[error("tensor {tensor:?} has {seen} dimensions, supported are up to {most}")]
    Rank {
        tensor: String,
        seen: usize,
        most: usize,
    },
    #[error("the graph has {seen} names and nodes, supported are up to {most}")]
    Size { seen: usize, most: usize },
    #[error("tensor {tensor:?} of shape {shape:?} is larger than this machine can address")]
    Oversized { tensor: String, shape: Shape },
    #[error(
        "{dtype} tensor {tensor:?} of shape {shape:?} needs {expected} {unit}, its data holds {seen}"
    )]
    Data {
        tensor: String,
        dtype: DType,
        shape: Shape,
        unit: &'static str,
        expected: usize,
        seen: usize,
    },
    #[error("{dtype} tensor {tensor:?} holds {seen}, which is no {dtype}")]
    Element {
        tensor: String,
        dtype: DType,
        seen: i64,
    },
    #[error("graphs and functions are nested {most} deep and deeper, supported is less")]
    Depth { most: usize },
    #[error("the graphs and functions inside of nodes come to more than {most} nodes")]
    Expanded { most: usize },
    #[error("the graph has {seen} inputs, expected {expected}")]
    BodyInputs { seen: usize, expected: usize },
    #[error("function {function} calls itself: {}", calls.join(" → "))]
    Recursion {
        function: String,
        calls: Vec<String>,
    },
    #[error("function {function} is defined twice")]
    FunctionTwice { function: String },
    #[error("tensor {tensor:?} is sparse, which is not supported")]
    Sparse { tensor: String },
    #[error(
        "tensor {tensor:?} keeps its data in another file: {key} is {seen:?}, expected {expected}"
    )]
    External {
        tensor: String,
        key: String,
        seen: String,
        expected: &'static str,
    },
    #[error("tensor {tensor:?} keeps its data in {file}, which cannot be read: {cause}", file = file.display())]
    ExternalFile {
        tensor: String,
        file: PathBuf,
        cause: String,
    },
    #[error("tensor {tensor:?} is bytes {offset}..{end} of {file}, which has {size}", file = file.display())]
    ExternalRange {
        tensor: String,
        file: PathBuf,
        offset: u64,
        end: u64,
        size: u64,
    },
    #[error("tensor {tensor:?} is declared as {declared}, but the model computes {inferred}")]
    DeclaredDType {
        tensor: String,
        declared: DType,
        inferred: DType,
    },
    #[error(
        "tensor {tensor:?} is declared with shape {declared}, but the model computes {inferred}"
    )]
    DeclaredShape {
        tensor: String,
        declared: ShapeSpec,
        inferred: ShapeSpec,
    },
    #[error("the file is no archive of torch.export, or is damaged: {cause}")]
    Archive { cause: String },
    #[error("the archive holds no program: {hint}")]
    NoProgram { hint: &'static str },
    #[error("the archive holds several programs, expected one: {}", models.join(", "))]
    Programs { models: Vec<String> },
    #[error("entry {entry:?} of the archive is {seen}, expected {expected}")]
    Entry {
        entry: String,
        seen: String,
        expected: &'static str,
    },
    #[error("entry {entry:?} of the archive is not as the schema has it: {cause}")]
    Json { entry: String, cause: String },
    #[error(
        "the program is of schema version {major}.{minor}, supported is major version {supported}: export it with another PyTorch"
    )]
    Schema {
        major: i64,
        minor: i64,
        supported: i64,
    },
    #[error(
        "the program writes to {kind} {name:?}, and blocks keep no state: export it in evaluation mode, without what it updates"
    )]
    Mutation { kind: &'static str, name: String },
    #[error("weight {tensor:?} is {seen}, expected {expected}")]
    Payload {
        tensor: String,
        seen: String,
        expected: &'static str,
    },
    #[error("tensor {tensor:?} has the scalar type {seen} of PyTorch, which is not supported")]
    ScalarType { tensor: String, seen: i64 },
    #[error("input {tensor:?} is of a datatype or shape that the file does not tell")]
    Undeclared { tensor: String },
    #[error("{place} of the program is {seen}, and only tensors enter and leave a block")]
    NotTensor { place: String, seen: String },
    #[error("node {node:?} ({operator}): {fault}")]
    Node {
        node: String,
        operator: String,
        fault: Fault,
    },
}

/// Something wrong with one use of an operator.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("attribute {attribute} is {seen}, expected {expected}")]
    Attribute {
        attribute: String,
        seen: String,
        expected: String,
    },
    #[error("attribute {attribute} is not supported, it is {seen}")]
    UnknownAttribute { attribute: String, seen: String },
    #[error("attribute {attribute} is missing, expected {expected}")]
    NoAttribute {
        attribute: String,
        expected: &'static str,
    },
    #[error("got {seen} inputs, expected {expected}")]
    InputCount { seen: usize, expected: String },
    #[error("got {seen} outputs, expected {expected}")]
    OutputCount { seen: usize, expected: String },
    #[error("output {output} is used, supported is only output 0")]
    Output { output: usize },
    #[error("input {input} is missing")]
    NoInput { input: usize },
    #[error("input {input} is {seen}, expected {expected}")]
    DType {
        input: usize,
        seen: DType,
        expected: String,
    },
    #[error("input {input} has shape {seen}, expected {expected}")]
    Shape {
        input: usize,
        seen: ShapeSpec,
        expected: String,
    },
    #[error("inputs have the shapes {} and {}, which do not match: {rule}", .seen.0, .seen.1)]
    Mismatch {
        seen: Box<(ShapeSpec, ShapeSpec)>,
        rule: String,
    },
    #[error("input {input} is {seen}, expected {expected}")]
    Container {
        input: usize,
        seen: Container,
        expected: Container,
    },
    #[error("output {output} is {seen} or {other}, expected one of them")]
    Alternatives {
        output: usize,
        seen: String,
        other: String,
    },
    #[error("in {body}: {defect}")]
    Body { body: String, defect: Box<Defect> },
    #[error("{parameter} is {seen}, expected {expected}")]
    Parameter {
        parameter: &'static str,
        seen: String,
        expected: String,
    },
    #[error(
        "the number of dimensions of input {input} is unknown, and has to be known to read {parameter}"
    )]
    UnknownRank {
        input: usize,
        parameter: &'static str,
    },
    #[error("the datatype of input {input} is unknown, and has to be known to read {parameter}")]
    UnknownDType {
        input: usize,
        parameter: &'static str,
    },
    #[error("the output would have shape {shape}, larger than this machine can address")]
    Oversized { shape: String },
    #[error("the output would have {seen} dimensions, supported are up to {most}")]
    Rank { seen: usize, most: usize },
    #[error("argument {argument} is {seen}, expected {expected}")]
    Argument {
        argument: String,
        seen: String,
        expected: &'static str,
    },
    #[error("argument {argument} is missing")]
    NoArgument { argument: String },
    #[error("it reads {tensor:?}, which nothing before it defines")]
    UndefinedTensor { tensor: String },
    #[error(
        "it writes to {tensor:?}, which others read or which is a view of another tensor: export the program with run_decompositions(), which leaves no such writing"
    )]
    InPlace { tensor: String },
    #[error("attribute {attribute}: {defect}")]
    Tensor {
        attribute: String,
        defect: Box<Defect>,
    },
}

/// An operator that the model uses and this program does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedOperator {
    /// With its domain, unless that is the default one.
    pub operator: String,
    pub count: usize,
    /// One of the nodes.
    pub node: String,
}

impl Fault {
    /// Says of which node this fault is.
    pub(super) fn of(self, node: &str, operator: &str) -> Defect {
        Defect::Node {
            node: node.to_owned(),
            operator: operator.to_owned(),
            fault: self,
        }
    }
}

impl fmt::Display for UnsupportedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operator,
            count,
            node,
        } = self;
        match count {
            1 => write!(f, "{operator} (1 node, {node:?})"),
            _ => write!(f, "{operator} ({count} nodes, first {node:?})"),
        }
    }
}

fn list(operators: &[UnsupportedOperator]) -> String {
    operators
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|name| format!(", did you mean {name:?}?"))
        .unwrap_or_default()
}
