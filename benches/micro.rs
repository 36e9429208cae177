//! Cost of the parts: one inproc hop, envelope encoding, a gateway round trip.
//!
//! A hop is half a round trip between two threads that each wait in their reactor, as actors do. The crossbeam channel and the
//! plain inproc sockets beside it, whose threads block, are what any hand-over between two threads costs on the machine.

use std::thread;
use std::time::Duration;

use blockflow::actors::InferRequest;
use blockflow::app::{Loaded, Part, Runtime};
use blockflow::tensormq::{
    Addressed, Body, Context, Digest, Edges, Envelope, Form, Inbound, Outbound, Party, Payload,
    Window, decode, encode,
};
use blockflow::types::{
    BatchSpec, BlockSpec, CudaSpec, DType, Device, DeviceChoice, Endpoint, Epoch, FlowSpec,
    LimitsSpec, LogFormat, LogSpec, MockSpec, PipelineId, PipelineSpec, ProofSpec, ReloadSpec,
    RequestId, RestartSpec, ServerSpec, ShapeSpec, Signature, SourceSpec, Spec, StepId, StuckSpec,
    Tensor, TensorSpec,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAYLOADS: [usize; 4] = [1 << 10, 1 << 16, 1 << 22, 1 << 28];

fn envelope(bytes: usize) -> Envelope {
    let tensor =
        Tensor::copy_of(DType::U8, vec![1, bytes], &vec![1; bytes]).expect("a valid tensor");
    Envelope {
        address: Addressed {
            request: RequestId(1),
            epoch: Epoch(1),
            pipeline: PipelineId(0),
            step: StepId(0),
            time_left: Duration::from_secs(1),
        },
        body: Body::Tensors(vec![(0, tensor)]),
    }
}

/// One side of the ping-pong: receives through the reactor, releases the credit.
struct Side {
    inbound: Inbound,
    outbound: Outbound,
}

impl Side {
    fn open(context: &Context, own: &str, other: &str) -> Self {
        let endpoint = |name: &str| Endpoint::Inproc(name.to_owned());
        let inbound = Inbound::bind(context, &[endpoint(own)], Window(8)).expect("a free name");
        let outbound = Outbound::connect(context, &endpoint(other), own).expect("an endpoint");
        Self { inbound, outbound }
    }

    fn edges(&self) -> [Edges; 2] {
        [self.inbound.edges(), self.outbound.edges()].map(|edges| edges.expect("a runtime"))
    }

    /// Returns the next envelope; `None` is the order to end.
    async fn receive(&mut self, edges: &[Edges; 2]) -> Option<Envelope> {
        loop {
            while self.outbound.poll().expect("a sound link").progress {}
            if let Some(received) = self.inbound.try_receive().expect("a sound link") {
                let received = received.expect("a readable message");
                if matches!(received.envelope.body, Body::Cancel) {
                    return None;
                }
                self.inbound.release(received.peer).expect("a sound link");
                return Some(received.envelope);
            }
            // Credits come on the one socket, envelopes on the other.
            tokio::select! {
                edge = edges[0].next() => edge?,
                edge = edges[1].next() => edge?,
            }
        }
    }
}

fn reactor() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inproc_round_trip_is_two_hops");
    group.sample_size(50);
    for bytes in PAYLOADS {
        let context = Context::new(Party::new(Digest([0; Digest::BYTES])));
        let (ping, pong) = (format!("ping-{bytes}"), format!("pong-{bytes}"));
        let mut near = Side::open(&context, &ping, &pong);
        let far_context = context.clone();
        let far = thread::spawn(move || {
            reactor().block_on(async {
                let mut far = Side::open(&far_context, &pong, &ping);
                let edges = far.edges();
                while let Some(envelope) = far.receive(&edges).await {
                    far.outbound.send(envelope).expect("a sound link");
                }
            });
        });
        let runtime = reactor();
        let edges = runtime.block_on(async { near.edges() });
        let message = envelope(bytes);
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    near.outbound.send(message.clone()).expect("a sound link");
                    near.receive(&edges).await.expect("an echo")
                })
            });
        });
        near.outbound
            .send(Envelope {
                body: Body::Cancel,
                ..message
            })
            .expect("a sound link");
        // A filter may have left the link without a message, and so without its first credit yet.
        while !far.is_finished() {
            while near.outbound.poll().expect("a sound link").progress {}
            thread::sleep(Duration::from_millis(1));
        }
        far.join().expect("the echo thread ends");
    }
    group.finish();
}

fn channel(criterion: &mut Criterion) {
    let (to_far, far_inbox) = crossbeam::channel::bounded::<Envelope>(8);
    let (to_near, near_inbox) = crossbeam::channel::bounded::<Envelope>(8);
    let far = thread::spawn(move || {
        far_inbox
            .iter()
            .try_for_each(|message| to_near.send(message))
    });
    let message = envelope(1 << 10);
    criterion.bench_function("crossbeam_round_trip_is_two_hops", |bencher| {
        bencher.iter(|| {
            to_far.send(message.clone()).expect("the echo thread lives");
            near_inbox.recv().expect("an echo")
        });
    });
    drop(to_far);
    far.join()
        .expect("the echo thread ends")
        .expect("the channel is open");
}

/// The same with plain inproc sockets of one context, each message moved from one to the other.
fn libzmq(criterion: &mut Criterion) {
    let context = zmq::Context::new();
    let socket = || context.socket(zmq::PAIR).expect("a socket");
    let (near, far) = (socket(), socket());
    near.bind("inproc://echo").expect("a free name");
    far.connect("inproc://echo").expect("an endpoint");
    let far = thread::spawn(move || {
        loop {
            let message = far.recv_msg(0).expect("a message");
            let is_last = message.is_empty();
            far.send(message, 0).expect("a sound socket");
            if is_last {
                return;
            }
        }
    });
    let mut message = zmq::Message::from(vec![1; 1 << 10]);
    criterion.bench_function("libzmq_round_trip_is_two_hops", |bencher| {
        bencher.iter(|| {
            let sent = std::mem::replace(&mut message, zmq::Message::new());
            near.send(sent, 0).expect("a sound socket");
            message = near.recv_msg(0).expect("an echo");
        });
    });
    near.send("", 0).expect("a sound socket");
    far.join().expect("the echo thread ends");
}

/// What waking a sleeping thread through its reactor costs on this machine, with nothing around it: the floor of a hop.
fn wake(criterion: &mut Criterion) {
    let (to_far, mut far_inbox) = tokio::sync::mpsc::channel::<()>(1);
    let (to_near, mut near_inbox) = tokio::sync::mpsc::channel::<()>(1);
    let far = thread::spawn(move || {
        reactor().block_on(async {
            while far_inbox.recv().await.is_some() {
                to_near.send(()).await.expect("the other side waits");
            }
        });
    });
    let runtime = reactor();
    criterion.bench_function("wake_up_round_trip", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                to_far.send(()).await.expect("the echo thread lives");
                near_inbox.recv().await.expect("an echo")
            })
        });
    });
    drop(to_far);
    far.join().expect("the echo thread ends");
}

fn codec(criterion: &mut Criterion) {
    let message = envelope(1 << 10);
    let header = encode(&message, 7, Form::Handle).expect("a valid envelope");
    let Body::Tensors(tensors) = &message.body else {
        return;
    };
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(_, tensor)| Payload::Handle(tensor.clone()))
        .collect();
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Elements(1));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| encode(&message, 7, Form::Handle))
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode(&header, tensors.clone()))
    });
    group.finish();
}

/// A pipeline of one mock block that takes no time.
fn idle_pipeline() -> Spec {
    let shape = ShapeSpec::fixed(&[1, 1024]);
    let tensor = |name: &str| TensorSpec::new(name, DType::U8, shape.clone());
    let signature = Signature {
        inputs: vec![tensor("in")],
        outputs: vec![tensor("out")],
    };
    let second = Duration::from_secs(1);
    let block = BlockSpec {
        name: "mock".into(),
        source: SourceSpec::Mock(MockSpec {
            weight_bytes: 0,
            signature,
            latency: Duration::ZERO,
            failure: None,
        }),
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
            budget: 0,
            window: second,
            backoff_min: second,
            backoff_max: second,
        },
        proof: ProofSpec::default(),
        stuck: StuckSpec::default(),
        queue_max: 8,
    };
    Spec {
        server: ServerSpec {
            http: ([127, 0, 0, 1], 0).into(),
            host: None,
            workers: 1,
            body_bytes_max: 1 << 20,
            drain: second,
        },
        limits: LimitsSpec { in_flight_max: 64 },
        log: LogSpec {
            filter: "off".into(),
            format: LogFormat::Text,
        },
        devices: Vec::new(),
        reload: ReloadSpec::default(),
        hosts: Vec::new(),
        blocks: vec![block],
        pipelines: vec![PipelineSpec {
            name: "idle".into(),
            flow: FlowSpec::Chain(vec!["mock".into()]),
            deadline: Duration::from_secs(10),
            wire: Vec::new(),
        }],
    }
}

fn gateway(criterion: &mut Criterion) {
    let loaded = Loaded::from_spec(&idle_pipeline()).expect("a valid specification");
    let runtime = Runtime::start(loaded, Part::default()).expect("a mock starts");
    let gateway = runtime.gateway().cloned().expect("the gateway lives here");
    let waiter = reactor();
    let input = Tensor::copy_of(DType::U8, vec![1, 1024], &[0; 1024]).expect("a valid tensor");
    criterion.bench_function("gateway_round_trip", |bencher| {
        bencher.iter(|| {
            let request = InferRequest {
                pipeline: 0,
                inputs: vec![input.clone()],
                deadline: None,
            };
            waiter
                .block_on(gateway.submit(request).expect("room"))
                .expect("a reply")
        });
    });
    runtime.stop(Duration::from_secs(1));
}

criterion_group!(benches, wake, hop, channel, libzmq, codec, gateway);
criterion_main!(benches);
