//! Writes small ONNX files for the tests of the graph room: a writer of its own, so that the reader is tested against
//! the format and not against itself.

use std::path::PathBuf;

use prost::Message;
use tempfile::TempDir;

use blockflow::graph::{Graph, GraphError, Op, ValueOrigin};
use blockflow::types::Tensor;

pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<GraphPart>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opsets: Vec<Opset>,
    #[prost(message, repeated, tag = "25")]
    pub(crate) functions: Vec<FunctionPart>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FunctionPart {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) inputs: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(crate) outputs: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) attributes: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) nodes: Vec<NodePart>,
    #[prost(string, tag = "10")]
    pub(crate) domain: String,
    #[prost(message, repeated, tag = "11")]
    pub(crate) defaults: Vec<AttributePart>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opset {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphPart {
    #[prost(message, repeated, tag = "1")]
    pub(crate) nodes: Vec<NodePart>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) weights: Vec<TensorPart>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) inputs: Vec<Info>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) outputs: Vec<Info>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) infos: Vec<Info>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodePart {
    #[prost(string, repeated, tag = "1")]
    pub(crate) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) operator: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attributes: Vec<AttributePart>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributePart {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, tag = "2")]
    pub(crate) float: f32,
    #[prost(int64, tag = "3")]
    pub(crate) int: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) text: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub(crate) tensor: Option<TensorPart>,
    #[prost(message, optional, tag = "6")]
    pub(crate) graph: Option<GraphPart>,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
    #[prost(string, tag = "21")]
    pub(crate) reference: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorPart {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) kind: i32,
    #[prost(float, repeated, tag = "4")]
    pub(crate) floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(crate) int32s: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64s: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub(crate) doubles: Vec<f64>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(crate) location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Info {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Kind {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<TensorKind>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorKind {
    #[prost(int32, tag = "1")]
    pub(crate) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<ShapePart>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ShapePart {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dims: Vec<DimPart>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DimPart {
    #[prost(oneof = "DimValue", tags = "1, 2")]
    pub(crate) value: Option<DimValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum DimValue {
    #[prost(int64, tag = "1")]
    Size(i64),
    #[prost(string, tag = "2")]
    Symbol(String),
}

/// Declares a tensor; its shape is written `batch,3,?`, where `?` is a dimension without size and name.
pub(crate) fn info(name: &str, element: i32, shape: &str) -> Info {
    let dim = |text: &str| match (text, text.parse()) {
        ("?", _) => None,
        (_, Ok(size)) => Some(DimValue::Size(size)),
        (symbol, Err(_)) => Some(DimValue::Symbol(symbol.to_owned())),
    };
    let dims = shape.split(',').filter(|text| !text.is_empty());
    let dims = dims.map(|text| DimPart { value: dim(text) }).collect();
    let tensor = TensorKind {
        element,
        shape: Some(ShapePart { dims }),
    };
    Info {
        name: name.to_owned(),
        kind: Some(Kind {
            tensor: Some(tensor),
        }),
    }
}

/// Declares a tensor of which nothing is known.
pub(crate) fn untyped(name: &str) -> Info {
    Info {
        name: name.to_owned(),
        kind: None,
    }
}

pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodePart {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodePart {
        inputs: owned(inputs),
        outputs: owned(outputs),
        name: format!("{}_node", outputs.first().unwrap_or(&"no")),
        operator: operator.to_owned(),
        ..NodePart::default()
    }
}

impl NodePart {
    fn with(mut self, attribute: AttributePart) -> Self {
        self.attributes.push(attribute);
        self
    }

    pub(crate) fn int(self, name: &str, int: i64) -> Self {
        self.with(AttributePart {
            name: name.to_owned(),
            int,
            kind: 2,
            ..AttributePart::default()
        })
    }

    pub(crate) fn float(self, name: &str, float: f32) -> Self {
        self.with(AttributePart {
            name: name.to_owned(),
            float,
            kind: 1,
            ..AttributePart::default()
        })
    }

    pub(crate) fn ints(self, name: &str, ints: &[i64]) -> Self {
        let ints = ints.to_vec();
        self.with(AttributePart {
            name: name.to_owned(),
            ints,
            kind: 7,
            ..AttributePart::default()
        })
    }

    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        let text = text.as_bytes().to_vec();
        self.with(AttributePart {
            name: name.to_owned(),
            text,
            kind: 3,
            ..AttributePart::default()
        })
    }

    pub(crate) fn graph(self, name: &str, graph: GraphPart) -> Self {
        let graph = Some(graph);
        self.with(AttributePart {
            name: name.to_owned(),
            graph,
            kind: 5,
            ..AttributePart::default()
        })
    }

    /// Adds an attribute that takes the value of one of the function that the node is in.
    pub(crate) fn of_function(self, name: &str, kind: i32, reference: &str) -> Self {
        self.with(AttributePart {
            name: name.to_owned(),
            kind,
            reference: reference.to_owned(),
            ..AttributePart::default()
        })
    }

    pub(crate) fn tensor(self, name: &str, tensor: TensorPart) -> Self {
        let tensor = Some(tensor);
        self.with(AttributePart {
            name: name.to_owned(),
            tensor,
            kind: 4,
            ..AttributePart::default()
        })
    }
}

pub(crate) fn floats(name: &str, dims: &[i64]) -> TensorPart {
    let count = usize::try_from(dims.iter().product::<i64>()).unwrap();
    let (name, dims, floats) = (name.to_owned(), dims.to_vec(), vec![0.5; count]);
    TensorPart {
        name,
        dims,
        floats,
        kind: FLOAT,
        ..TensorPart::default()
    }
}

pub(crate) fn integers(name: &str, values: &[i64]) -> TensorPart {
    let dims = vec![i64::try_from(values.len()).unwrap()];
    TensorPart {
        name: name.to_owned(),
        dims,
        int64s: values.to_vec(),
        kind: INT64,
        ..TensorPart::default()
    }
}

pub(crate) fn scalar(name: &str, value: i64) -> TensorPart {
    TensorPart {
        dims: Vec::new(),
        ..integers(name, &[value])
    }
}

/// A file with one input `x` of the given shape and one output `y`, of which nothing is declared.
pub(crate) fn model(opset: i64, x: &str, nodes: Vec<NodePart>, weights: Vec<TensorPart>) -> Model {
    let graph = GraphPart {
        nodes,
        weights,
        name: "test".to_owned(),
        inputs: vec![info("x", FLOAT, x)],
        outputs: vec![untyped("y")],
        infos: Vec::new(),
    };
    let opsets = vec![Opset {
        domain: String::new(),
        version: opset,
    }];
    Model {
        ir_version: 8,
        graph: Some(graph),
        opsets,
        functions: Vec::new(),
    }
}

/// A graph for an attribute. Of what it is given and computes nothing is declared.
pub(crate) fn body(inputs: &[&str], nodes: Vec<NodePart>, outputs: &[&str]) -> GraphPart {
    GraphPart {
        nodes,
        name: "body".to_owned(),
        inputs: inputs.iter().copied().map(untyped).collect(),
        outputs: outputs.iter().copied().map(untyped).collect(),
        ..GraphPart::default()
    }
}

/// A function of the domain `own`.
pub(crate) fn function(
    name: &str,
    inputs: &[&str],
    nodes: Vec<NodePart>,
    outputs: &[&str],
) -> FunctionPart {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FunctionPart {
        name: name.to_owned(),
        inputs: owned(inputs),
        outputs: owned(outputs),
        nodes,
        domain: "own".to_owned(),
        ..FunctionPart::default()
    }
}

/// A node that calls a function of the domain `own`.
pub(crate) fn call(function: &str, inputs: &[&str], outputs: &[&str]) -> NodePart {
    NodePart {
        domain: "own".to_owned(),
        ..node(function, inputs, outputs)
    }
}

impl Model {
    pub(crate) fn graph_mut(&mut self) -> &mut GraphPart {
        self.graph.as_mut().unwrap()
    }

    /// Writes the file and reads it back through the library.
    pub(crate) fn read(&self) -> Result<Graph, GraphError> {
        read_bytes(&self.encode_to_vec())
    }

    /// Reads the file back and returns its inputs and outputs, as `name: DTYPE[shape]`.
    pub(crate) fn signature(&self) -> (Vec<String>, Vec<String>) {
        signature(&self.read().unwrap_or_else(|error| panic!("{error}")))
    }

    /// Returns the shape of the output `y`, or the message why there is none.
    pub(crate) fn y(&self) -> String {
        match self.read().and_then(|graph| graph.signature()) {
            Ok(signature) => signature.outputs[0].to_string(),
            Err(error) => error
                .to_string()
                .rsplit_once(".onnx: ")
                .unwrap()
                .1
                .to_owned(),
        }
    }
}

pub(crate) fn signature(graph: &Graph) -> (Vec<String>, Vec<String>) {
    let signature = graph.signature().unwrap();
    let shown =
        |specs: &[blockflow::types::TensorSpec]| specs.iter().map(ToString::to_string).collect();
    (shown(&signature.inputs), shown(&signature.outputs))
}

pub(crate) fn read_bytes(bytes: &[u8]) -> Result<Graph, GraphError> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    Graph::read(&path)
}

/// A file of the repository's test data.
pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(name)
}

/// Returns the shape of the output of a model of the given parts, or the message why there is none.
pub(crate) fn y_of(opset: i64, x: &str, nodes: Vec<NodePart>, weights: Vec<TensorPart>) -> String {
    model(opset, x, nodes, weights).y()
}

/// Returns a weight of a graph.
pub(crate) fn weight<'a>(graph: &'a Graph, name: &str) -> &'a Tensor {
    match &graph.value(graph.find(name).unwrap()).origin {
        ValueOrigin::Initializer(initializer) => &initializer.tensor,
        other => panic!("{name} is {other:?}"),
    }
}

/// Returns the operators of a graph in order, without their parameters.
pub(crate) fn operators(graph: &Graph) -> Vec<String> {
    let name = |op: &Op| format!("{op:?}");
    let until = |text: String| {
        text.split([' ', '{', '('])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    graph
        .nodes
        .iter()
        .map(|node| until(name(&node.op)))
        .collect()
}
