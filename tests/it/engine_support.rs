//! Small graphs, tensors and engines for the tests of the engine room.

use std::path::PathBuf;
use std::sync::Arc;

use blockflow::engine::{BlockSource, EngineError, Prepared, prepare};
use blockflow::graph::{
    Container, Graph, Initializer, Node, NodeId, Op, Value, ValueId, ValueOrigin,
};
use blockflow::types::{
    DType, Device, Dim, GraphEngine, Passes, ShapeSpec, Signature, Tensor, TensorSpec,
};

/// Builds a graph value by value.
pub(crate) struct Builder {
    graph: Graph,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let graph = Graph {
            name: "test".into(),
            path: PathBuf::from("test.onnx"),
            data_files: Default::default(),
            nodes: Vec::new(),
            values: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        Self { graph }
    }

    fn value(&mut self, origin: ValueOrigin) -> ValueId {
        let id = ValueId(self.graph.values.len() as u32);
        self.graph.values.push(Value {
            name: format!("v{}", id.0),
            dtype: None,
            shape: None,
            container: Container::Tensor,
            origin,
        });
        id
    }

    pub(crate) fn input(&mut self) -> ValueId {
        let id = self.value(ValueOrigin::Input(self.graph.inputs.len()));
        self.graph.inputs.push(id);
        id
    }

    pub(crate) fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.value(ValueOrigin::Initializer(Arc::new(Initializer { tensor })))
    }

    pub(crate) fn node_of(
        &mut self,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Vec<ValueId> {
        let node = NodeId(self.graph.nodes.len() as u32);
        let outputs: Vec<ValueId> = (0..outputs)
            .map(|index| self.value(ValueOrigin::Node(node, index)))
            .collect();
        self.graph.nodes.push(Node {
            name: format!("n{}", node.0),
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.iter().copied().map(Some).collect(),
        });
        outputs
    }

    pub(crate) fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        self.node_of(op, &inputs, 1)[0]
    }

    pub(crate) fn finish(mut self, outputs: &[ValueId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }
}

/// A signature of one spec per input and output: dtype and dimensions.
pub(crate) fn signature(inputs: &[(DType, &[Dim])], outputs: &[(DType, &[Dim])]) -> Signature {
    let specs = |prefix: &str, list: &[(DType, &[Dim])]| {
        let spec = |(index, (dtype, dims)): (usize, &(DType, &[Dim]))| {
            TensorSpec::new(format!("{prefix}{index}"), *dtype, ShapeSpec(dims.to_vec()))
        };
        list.iter().enumerate().map(spec).collect()
    };
    Signature {
        inputs: specs("in", inputs),
        outputs: specs("out", outputs),
    }
}

pub(crate) fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().copied().map(Dim::Fixed).collect()
}

pub(crate) fn prepare_graph(
    graph: &Graph,
    signature: Signature,
) -> Result<Arc<dyn Prepared>, EngineError> {
    prepare_with(graph, signature, GraphEngine::Aten, Passes::default())
}

pub(crate) fn prepare_with(
    graph: &Graph,
    signature: Signature,
    engine: GraphEngine,
    passes: Passes,
) -> Result<Arc<dyn Prepared>, EngineError> {
    let source = BlockSource::Graph {
        graph,
        signature,
        engine,
        passes,
    };
    prepare(source, 1, Device::Cpu)
}

/// Runs a graph of known signature once.
pub(crate) fn run_graph(
    graph: &Graph,
    engine: GraphEngine,
    passes: Passes,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, String> {
    let signature = graph.signature().map_err(|error| error.to_string())?;
    prepare_with(graph, signature, engine, passes)
        .and_then(|prepared| prepared.session()?.run(inputs))
        .map_err(|error| error.to_string())
}

/// Returns the tensors that alone carry all that follows.
pub(crate) fn cuts(graph: &Graph) -> Vec<String> {
    let computed = graph
        .nodes
        .iter()
        .flat_map(|node| node.outputs.iter().flatten())
        .map(|&id| graph.value(id))
        .filter(|value| matches!(value.origin, ValueOrigin::Node(..)));
    let names = computed.map(|value| value.name.clone());
    names
        .filter(|name| {
            let segments = graph.chain(std::slice::from_ref(name));
            // Nothing is left to compute after the last tensor.
            segments.is_ok_and(|segments| segments[0].outputs.len() == 1)
        })
        .collect()
}

/// Runs one operator over `inputs`; `constant[i]` says whether input `i` is an initialiser. `None` is an absent input.
/// The signature is made to fit `expected`, so that a result of another shape or dtype is an error.
pub(crate) fn run_op(
    op: &Op,
    inputs: &[Option<Tensor>],
    constant: &[bool],
    expected: &[Tensor],
) -> Result<Vec<Tensor>, EngineError> {
    let mut builder = Builder::new();
    let mut given = Vec::new();
    let values: Vec<Option<ValueId>> = inputs
        .iter()
        .zip(constant)
        .map(|(tensor, constant)| {
            let tensor = tensor.clone()?;
            Some(if *constant {
                builder.constant(tensor)
            } else {
                given.push(tensor);
                builder.input()
            })
        })
        .collect();
    let outputs = builder.node_of(op.clone(), &values, expected.len());
    let graph = builder.finish(&outputs);
    let spec = |prefix: &str, list: &[Tensor]| {
        let spec = |(index, tensor): (usize, &Tensor)| {
            TensorSpec::new(
                format!("{prefix}{index}"),
                tensor.dtype(),
                ShapeSpec::fixed(tensor.shape()),
            )
        };
        list.iter().enumerate().map(spec).collect::<Vec<_>>()
    };
    let signature = Signature {
        inputs: spec("in", &given),
        outputs: spec("out", expected),
    };
    prepare_graph(&graph, signature)?.session()?.run(&given)
}

macro_rules! tensor_of {
    ($name:ident, $type:ty, $dtype:expr) => {
        pub(crate) fn $name(shape: &[usize], values: &[$type]) -> Tensor {
            Tensor::copy_of($dtype, shape.to_vec(), bytemuck::cast_slice(values)).unwrap()
        }
    };
}

tensor_of!(f32s, f32, DType::F32);
tensor_of!(f64s, f64, DType::F64);
tensor_of!(i64s, i64, DType::I64);
tensor_of!(i32s, i32, DType::I32);
tensor_of!(u8s, u8, DType::U8);
tensor_of!(bools, u8, DType::Bool);

/// A one-dimensional INT64 tensor: a list of axes, sizes, …
pub(crate) fn list(values: &[i64]) -> Tensor {
    i64s(&[values.len()], values)
}

pub(crate) fn values_f32(tensor: &Tensor) -> Vec<f32> {
    assert_eq!(tensor.dtype(), DType::F32);
    bytemuck::pod_collect_to_vec(tensor.bytes())
}

/// Some reproducible numbers in −1..1.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state as f32 / u32::MAX as f32) * 2.0 - 1.0
        })
        .collect()
}

pub(crate) fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(path)
}

/// Two convolutions with a residual, pooling and a linear layer: `image` [batch,2,6,6] → [batch,3], [batch,4,6,6].
pub(crate) fn small_network() -> (Graph, Signature) {
    use blockflow::graph::{Binary, Conv, PoolKind, Unary};
    let conv = || {
        Op::Conv(Conv {
            pads: vec![1, 1, 1, 1],
            groups: 1,
            ..Conv::default()
        })
    };
    let mut builder = Builder::new();
    let image = builder.input();
    let stem_weight = builder.constant(f32s(&[4, 2, 3, 3], &noise(72, 1)));
    let body_weight = builder.constant(f32s(&[4, 4, 3, 3], &noise(144, 2)));
    let head_weight = builder.constant(f32s(&[3, 4], &noise(12, 3)));
    let head_bias = builder.constant(f32s(&[3], &noise(3, 4)));
    let stem = builder.node(conv(), &[image, stem_weight]);
    let stem = builder.node(Op::Unary(Unary::Relu), &[stem]);
    let body = builder.node(conv(), &[stem, body_weight]);
    let sum = builder.node(Op::Binary(Binary::Add), &[body, stem]);
    let pooled = builder.node(Op::GlobalPool(PoolKind::Average), &[sum]);
    let flat = builder.node(Op::Flatten { axis: 1 }, &[pooled]);
    let gemm = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let head = builder.node(gemm, &[flat, head_weight, head_bias]);
    let graph = builder.finish(&[head, sum]);
    let batch = || Dim::symbol("batch");
    let [two, three, four, six] = [2, 3, 4, 6].map(Dim::Fixed);
    let signature = signature(
        &[(DType::F32, &[batch(), two, six.clone(), six.clone()])],
        &[
            (DType::F32, &[batch(), three]),
            (DType::F32, &[batch(), four, six.clone(), six]),
        ],
    );
    (graph, signature)
}
