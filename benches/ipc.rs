//! Cost of one hop between processes of a host, by payload: through the arena and as bytes, beside what moves the same bytes at
//! least: one copy in memory, and libzmq alone. And over tcp, beside libzmq with messages that are made beforehand.
//!
//! A round is a payload one way and an empty answer back, between two threads that each wait in their reactor and whose
//! sockets are of contexts of their own, as in two processes. The arena's rounds end when the slot is back, so that
//! each round that copies does copy. iceoryx2 makes the same rounds in a program of its own, which `scripts/bench` builds.
//! The anchors are measured again behind the rest of each size: what differs between
//! the two is the noise of the machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use blockflow::tensormq::{
    ARENA_BYTES, Addressed, Arena, Body, Context, Digest, Edges, Envelope, Inbound, Outbound,
    Party, Window,
};
use blockflow::types::{DType, Endpoint, Epoch, PipelineId, RequestId, StepId, Tensor};
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};

const PAYLOADS: [usize; 5] = [64 << 10, 600 << 10, 4 << 20, 32 << 20, 256 << 20];
const TCP_PAYLOADS: [usize; 3] = [4 << 20, 16 << 20, 64 << 20];
/// Makes the rounds of iceoryx2: `benches/iceoryx2`.
const ICEORYX2: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/iceoryx2/release/iceoryx2-rounds"
);

fn envelope(tensors: Vec<(u16, Tensor)>) -> Envelope {
    Envelope {
        address: Addressed {
            request: RequestId(1),
            epoch: Epoch(1),
            pipeline: PipelineId(0),
            step: StepId(0),
            time_left: Duration::from_secs(1),
        },
        body: Body::Tensors(tensors),
    }
}

fn end() -> Envelope {
    Envelope {
        body: Body::Cancel,
        ..envelope(Vec::new())
    }
}

/// One end of a pair of links, in a context of its own.
struct Side {
    inbound: Inbound,
    outbound: Outbound,
}

impl Side {
    fn open(own: &Endpoint, other: &Endpoint, arena: Option<&Arena>) -> Self {
        let party = Party::new(Digest([0; Digest::BYTES]));
        let context = Context::new(party);
        let inbound =
            Inbound::bind(&context, std::slice::from_ref(own), Window(4)).expect("a free name");
        let outbound = Outbound::connect(&context, other, "bench").expect("an endpoint");
        let outbound = match arena {
            Some(arena) => outbound.with_arena(arena),
            None => outbound,
        };
        Self { inbound, outbound }
    }

    fn edges(&self) -> [Edges; 2] {
        [self.inbound.edges(), self.outbound.edges()].map(|edges| edges.expect("a runtime"))
    }

    fn try_receive(&mut self) -> Option<Envelope> {
        while self.outbound.poll().expect("a sound link").progress {}
        let received = self.inbound.try_receive().expect("a sound link")?;
        let received = received.expect("a readable message");
        if matches!(received.envelope.body, Body::Tensors(_)) {
            self.inbound.release(received.peer).expect("a sound link");
        }
        Some(received.envelope)
    }

    async fn until<T>(
        &mut self,
        edges: &[Edges; 2],
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        loop {
            if let Some(result) = done(self) {
                return result;
            }
            tokio::select! {
                edge = edges[0].next() => edge.expect("a runtime"),
                edge = edges[1].next() => edge.expect("a runtime"),
            }
        }
    }

    async fn receive(&mut self, edges: &[Edges; 2]) -> Envelope {
        self.until(edges, Self::try_receive).await
    }

    /// Sends a payload, and waits for the answer and for the slot.
    async fn round(&mut self, edges: &[Edges; 2], tensor: Tensor) {
        let message = envelope(vec![(0, tensor)]);
        self.outbound.send(message).expect("a sound link");
        self.receive(edges).await;
        let back = |side: &mut Self| {
            while side.outbound.poll().expect("a sound link").progress {}
            (side.outbound.leases() == 0).then_some(())
        };
        self.until(edges, back).await;
    }
}

fn reactor() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Measures rounds whose payload `tensor` makes.
fn link(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    [ping, pong]: [Endpoint; 2],
    arena: Option<&Arena>,
    mut tensor: impl FnMut() -> Tensor,
) {
    let ends = [pong.clone(), ping.clone()];
    let far = thread::spawn(move || {
        reactor().block_on(async {
            let mut far = Side::open(&ends[0], &ends[1], None);
            let edges = far.edges();
            while let Body::Tensors(tensors) = far.receive(&edges).await.body {
                drop(tensors);
                let answer = envelope(Vec::new());
                far.outbound.send(answer).expect("a sound link");
            }
        });
    });
    let runtime = reactor();
    let mut near = Side::open(&ping, &pong, arena);
    let edges = runtime.block_on(async { near.edges() });
    // The connection is made, and the memory of both sides has been touched.
    runtime.block_on(near.round(&edges, tensor()));
    group.bench_function(name, |bencher| {
        bencher.iter(|| runtime.block_on(near.round(&edges, tensor())));
    });
    near.outbound.send(end()).expect("a sound link");
    far.join().expect("the far thread ends");
}

fn copy(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bytes: &[u8]) {
    let mut copied = vec![0; bytes.len()];
    group.bench_function(name, |bencher| {
        bencher.iter(|| std::hint::black_box(&mut copied).copy_from_slice(bytes));
    });
}

/// Where two ends listen on ports that are free.
fn ports() -> [Endpoint; 2] {
    let free = [(), ()].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    free.map(|listener| Endpoint::Tcp {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().expect("an address").port(),
    })
}

/// The same round over plain sockets of two contexts, with a message of `message` for each, which is made beforehand.
fn libzmq<M: Into<zmq::Message>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    endpoint: &Endpoint,
    mut message: impl FnMut() -> M,
) {
    let endpoint = endpoint.to_string();
    let open = || zmq::Context::new().socket(zmq::PAIR).expect("a socket");
    let near = open();
    near.bind(&endpoint).expect("a free name");
    let far = thread::spawn(move || {
        let far = open();
        far.connect(&endpoint).expect("an endpoint");
        while !far.recv_msg(0).expect("a message").is_empty() {
            far.send("", 0).expect("a sound socket");
        }
    });
    let round = |message: M| {
        near.send(message, 0).expect("a sound socket");
        near.recv_msg(0).expect("an answer")
    };
    round(message());
    group.bench_function(name, |bencher| {
        bencher.iter_batched(&mut message, round, BatchSize::PerIteration);
    });
    near.send("", 0).expect("a sound socket");
    far.join().expect("the far thread ends");
}

/// Has the other program make its rounds.
fn iceoryx2(group: &mut BenchmarkGroup<'_, WallTime>, mode: &str, bytes: usize) {
    let name = format!("iceoryx2_{mode}");
    if !Path::new(ICEORYX2).exists() {
        println!("{name} left out: there is no {ICEORYX2}");
        return;
    }
    let mut program = Command::new(ICEORYX2)
        .args([mode, &bytes.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a program");
    let mut ask = program.stdin.take().expect("a pipe");
    let mut answers = BufReader::new(program.stdout.take().expect("a pipe")).lines();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            writeln!(ask, "{rounds}").expect("the program reads");
            let took = answers.next().expect("an answer").expect("a readable one");
            Duration::from_nanos(took.parse().expect("nanoseconds"))
        });
    });
    drop(ask);
    program.wait().expect("the program ends");
}

fn hop(criterion: &mut Criterion) {
    for bytes in PAYLOADS {
        let mut group = criterion.benchmark_group(format!("ipc_{}_kib", bytes >> 10));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.sample_size(20);
        let arena = Arena::new(ARENA_BYTES, 0).expect("shared memory");
        let content = vec![1; bytes];
        let shape = vec![1, bytes];
        let sent = Tensor::copy_of(DType::U8, shape.clone(), &content).expect("a valid tensor");
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| Endpoint::Ipc(folder.path().join(name));
        copy(&mut group, "memcpy", &content);
        // What its I/O threads and wake-ups take of every round.
        libzmq(&mut group, "libzmq_byte", &at("z"), || &content[..1]);
        libzmq(&mut group, "libzmq", &at("a"), || content.as_slice());
        let ends = [at("b"), at("c")];
        link(&mut group, "arena_copied", ends, Some(&arena), || {
            sent.clone()
        });
        let ends = [at("d"), at("e")];
        link(
            &mut group,
            "arena_written_in_place",
            ends,
            Some(&arena),
            || {
                let buffer = arena.allocate(DType::U8, shape.clone());
                buffer.expect("room in the arena").into_tensor()
            },
        );
        for mode in ["copied", "loaned"] {
            iceoryx2(&mut group, mode, bytes);
        }
        let ends = [at("f"), at("g")];
        link(&mut group, "bytes", ends, None, || sent.clone());
        libzmq(&mut group, "libzmq_again", &at("h"), || content.as_slice());
        copy(&mut group, "memcpy_again", &content);
        group.finish();
    }
}

fn tcp(criterion: &mut Criterion) {
    for bytes in TCP_PAYLOADS {
        let mut group = criterion.benchmark_group(format!("tcp_{}_kib", bytes >> 10));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.sample_size(20);
        let content = vec![1; bytes];
        let shape = vec![1, bytes];
        let sent = Tensor::copy_of(DType::U8, shape, &content).expect("a valid tensor");
        libzmq(&mut group, "libzmq_prepared", &ports()[0], || {
            content.clone()
        });
        link(&mut group, "link", ports(), None, || sent.clone());
        libzmq(&mut group, "libzmq_prepared_again", &ports()[0], || {
            content.clone()
        });
        group.finish();
    }
}

criterion_group!(benches, hop, tcp);
criterion_main!(benches);
