//! What several test modules need: specifications made of mock blocks, and waiting under a watchdog.

pub(crate) mod cuda;
pub(crate) mod files;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blockflow::actors::{Gateway, InferReply, InferRequest, Ticket};
use blockflow::app::{Loaded, Part, Runtime, StopReport, WorkerCommand};
use blockflow::engine::Usage;
use blockflow::graph::{Graph, ValueId};
use blockflow::types::{
    BatchSpec, BlockSpec, CudaSpec, DType, Device, DeviceChoice, EdgeSpec, Failure, FlowSpec,
    GraphEngine, GraphSpec, LimitsSpec, LogFormat, LogSpec, MockFailure, MockSpec, Passes,
    PipelineSpec, ProofSpec, ReloadSpec, RestartSpec, ServerSpec, ShapeSpec, Signature, SourceSpec,
    Spec, StuckSpec, Tensor, TensorSpec,
};

/// No wait of a test lasts longer.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(30);

/// A mock block over UINT8 tensors of one shape, with inputs `in0`, `in1`, … and one output `out`.
pub(crate) fn mock(name: &str, inputs: usize, shape: ShapeSpec) -> BlockSpec {
    let spec = |name: String| TensorSpec::new(name, DType::U8, shape.clone());
    mock_of(
        name,
        Signature {
            inputs: (0..inputs)
                .map(|index| spec(format!("in{index}")))
                .collect(),
            outputs: vec![spec("out".into())],
        },
    )
}

pub(crate) fn mock_of(name: &str, signature: Signature) -> BlockSpec {
    let mock = MockSpec {
        signature,
        latency: Duration::ZERO,
        weight_bytes: 0,
        failure: None,
    };
    block(name, SourceSpec::Mock(mock))
}

/// A block that runs one request at a time and is rebuilt at once, as often as it fails.
pub(crate) fn block(name: &str, source: SourceSpec) -> BlockSpec {
    BlockSpec {
        name: name.into(),
        source,
        host: None,
        process: None,
        device: Device::Cpu,
        device_choice: DeviceChoice::Named,
        cuda: CudaSpec::default(),
        threads: 1,
        instances: 1,
        batch: BatchSpec {
            rows_max: 1,
            wait: Duration::ZERO,
        },
        restart: RestartSpec {
            budget: 10_000,
            window: Duration::from_secs(60),
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(2),
        },
        proof: ProofSpec::default(),
        stuck: StuckSpec::default(),
        queue_max: 8,
    }
}

pub(crate) fn behaving(
    mut block: BlockSpec,
    latency: Duration,
    failure: Option<MockFailure>,
) -> BlockSpec {
    if let SourceSpec::Mock(mock) = &mut block.source {
        mock.latency = latency;
        mock.failure = failure;
    }
    block
}

pub(crate) fn chain(name: &str, blocks: &[&str], deadline: Duration) -> PipelineSpec {
    let flow = blocks.iter().map(|&block| block.to_owned()).collect();
    PipelineSpec {
        name: name.into(),
        flow: FlowSpec::Chain(flow),
        deadline,
        wire: Vec::new(),
    }
}

/// A pipeline of edges as a configuration writes them: `x -> a.in0`, `a.out -> y`.
pub(crate) fn graph(name: &str, edges: &[&str], deadline: Duration) -> PipelineSpec {
    let end = |text: &str| match text.split_once('.') {
        Some((step, tensor)) => (Some(step.to_owned()), tensor.to_owned()),
        None => (None, text.to_owned()),
    };
    let edge = |text: &&str| {
        let (from, to) = text.split_once(" -> ").expect("an arrow");
        EdgeSpec {
            from: end(from),
            to: end(to),
        }
    };
    let flow = FlowSpec::Graph(GraphSpec {
        steps: Vec::new(),
        edges: edges.iter().map(edge).collect(),
    });
    PipelineSpec {
        name: name.into(),
        flow,
        deadline,
        wire: Vec::new(),
    }
}

/// The model at `path`, which `graph` was read from, as a pipeline `model` of one block per segment between `cuts`.
pub(crate) fn cut(path: &Path, graph: &Graph, cuts: &[String], deadline: Duration) -> Spec {
    let segments = graph.chain(cuts).unwrap_or_else(|error| panic!("{error}"));
    let blocks: Vec<_> = segments
        .iter()
        .enumerate()
        .map(|(index, segment)| {
            let names = |ids: &[ValueId]| {
                let names = ids.iter().map(|&id| segment.value(id).name.clone());
                Some(names.collect())
            };
            let source = SourceSpec::Graph {
                path: path.to_owned(),
                inputs: names(&segment.inputs),
                outputs: names(&segment.outputs),
                engine: GraphEngine::Aten,
                passes: Passes::default(),
            };
            block(&format!("part_{index}"), source)
        })
        .collect();
    let names: Vec<_> = blocks.iter().map(|block| block.name.as_str()).collect();
    let pipeline = chain("model", &names, deadline);
    spec(blocks, vec![pipeline])
}

pub(crate) fn spec(blocks: Vec<BlockSpec>, pipelines: Vec<PipelineSpec>) -> Spec {
    Spec {
        server: ServerSpec {
            http: ([127, 0, 0, 1], 0).into(),
            host: None,
            workers: 1,
            body_bytes_max: 1 << 20,
            drain: Duration::from_secs(1),
        },
        limits: LimitsSpec { in_flight_max: 64 },
        log: LogSpec {
            filter: "off".into(),
            format: LogFormat::Text,
        },
        devices: Vec::new(),
        reload: ReloadSpec::default(),
        hosts: Vec::new(),
        blocks,
        pipelines,
    }
}

/// A runtime with its gateway.
pub(crate) struct Running(Runtime);

impl Running {
    pub(crate) fn gateway(&self) -> &Gateway {
        self.0.gateway().expect("the gateway lives here")
    }

    pub(crate) fn weights(&self) -> &BTreeMap<Device, Usage> {
        self.0.weights()
    }

    pub(crate) fn stop(self, drain: Duration) -> StopReport {
        self.0.stop(drain)
    }
}

pub(crate) fn start(spec: &Spec) -> Running {
    let loaded = Loaded::from_spec(spec).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let part = Part {
        worker: WorkerCommand {
            program: env!("CARGO_BIN_EXE_blockflow").into(),
            arguments: vec!["worker".into()],
            log: LogFormat::Text,
        },
        ..Part::default()
    };
    Running(Runtime::start(loaded, part).unwrap_or_else(|error| panic!("{error}")))
}

/// A UINT8 tensor of shape [1, n].
pub(crate) fn row(bytes: &[u8]) -> Tensor {
    Tensor::copy_of(DType::U8, vec![1, bytes.len()], bytes).unwrap()
}

pub(crate) fn submit(
    gateway: &Gateway,
    pipeline: usize,
    inputs: Vec<Tensor>,
) -> Result<Ticket, Failure> {
    gateway.submit(InferRequest {
        pipeline,
        inputs,
        deadline: None,
    })
}

/// Waits for a reply; panics if there is none in time.
pub(crate) fn wait(ticket: Ticket) -> Result<InferReply, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let reply = runtime.block_on(async { tokio::time::timeout(WATCHDOG, ticket).await });
    reply.expect("a request was never answered")
}

pub(crate) fn ask(
    gateway: &Gateway,
    pipeline: usize,
    inputs: Vec<Tensor>,
) -> Result<Vec<Tensor>, Failure> {
    wait(submit(gateway, pipeline, inputs)?).map(|reply| reply.outputs)
}

/// Sets a flag however a scope ends.
pub(crate) struct Finally<'a>(pub(crate) &'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Returns the number that a variable of the environment holds, where it is set.
pub(crate) fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{name} is {text:?}, expected a number")))
}

pub(crate) fn contains(told: &str, words: &[&str]) {
    for word in words {
        assert!(told.contains(word), "{word:?} not in {told}");
    }
}

/// Waits until `reached` holds; panics with `what` if it does not in time.
pub(crate) fn until(what: &str, reached: impl Fn() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < WATCHDOG, "never happened: {what}");
        std::thread::yield_now();
    }
}
