//! Blocks on one device, part by part: right answers, the cost of a hop, five blocks against PyTorch, heads on one backbone,
//! processes, swaps. Each part writes one JSON object to stdout.
//!
//! Runs on `cuda:N`, and on `cpu` and `sim:N`, where only the numbers mean less. Sides of a comparison take turns in one run,
//! because machines are shared and noisy; read the ratios. An `overhead` is what a pipeline takes beyond its sessions called
//! one after the other on one thread.
//!
//! `cargo bench --bench cuda -- --part NAME --device DEVICE --models DIR [--rounds N] [--peer COMMAND …]`, where DIR is what
//! `benches/cuda.py export` made, and COMMAND serves a network of it in PyTorch; scripts/gpu-check does all of that.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blockflow::actors::{Gateway, InferRequest, Ticket};
use blockflow::app::{Loaded, Part, Runtime, WorkerCommand};
use blockflow::engine::{
    BlockSource, Ledger, Prepared, Session, Span, Timeline, cuda, prepare, read_npy, to_host,
};
use blockflow::graph::Graph;
use blockflow::telemetry::metrics;
use blockflow::types::{
    BatchSpec, Bindings, BlockSpec, CudaGraphs, CudaSpec, Device, DeviceChoice, EdgeSpec, FlowSpec,
    GraphEngine, GraphSpec, LimitsSpec, LogFormat, LogSpec, Passes, PipelineSpec, ProofSpec,
    ReloadSpec, RestartSpec, ServerSpec, SourceSpec, Spec, StuckSpec, Tensor,
};
use serde_json::{Value, json};

const WARM_UP: usize = 3;
const DEADLINE: Duration = Duration::from_secs(60);
/// How long an epoch that was replaced may take to go.
const SETTLING: Duration = Duration::from_secs(10);
const IN_FLIGHT: usize = 8;
/// Beside float32 arithmetic in another order.
const RELATIVE_MAX: f64 = 1e-4;
const PARTS: [&str; 7] = [
    "answers", "streams", "hop", "five", "heads", "apart", "swaps",
];

type Failed = Box<dyn std::error::Error>;

struct Options {
    part: String,
    device: Device,
    models: PathBuf,
    rounds: usize,
    program: PathBuf,
    peer: Vec<String>,
}

fn options() -> Result<Options, Failed> {
    let mut options = Options {
        part: String::new(),
        device: Device::Cpu,
        models: PathBuf::new(),
        rounds: 30,
        program: env!("CARGO_BIN_EXE_blockflow").into(),
        peer: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--part" => options.part = value()?,
            "--device" => options.device = value()?.parse()?,
            "--models" => options.models = value()?.into(),
            "--rounds" => options.rounds = value()?.parse::<NonZeroUsize>()?.get(),
            "--program" => options.program = value()?.into(),
            "--peer" => options.peer = words.by_ref().collect(),
            // Cargo says so to every benchmark.
            "--bench" => {}
            _ => return Err(format!("unknown argument {word}").into()),
        }
    }
    Ok(options)
}

/// A network that `benches/cuda.py` made.
struct Network {
    model: PathBuf,
    graph: Graph,
    input: Tensor,
    /// What PyTorch computed.
    expected: Tensor,
}

impl Network {
    fn read(models: &Path, name: &str) -> Result<Self, Failed> {
        let place = models.join(name);
        let model = place.join("model.pt2");
        Ok(Self {
            graph: Graph::read(&model)?,
            input: read_npy(&place.join("input.npy"))?,
            expected: read_npy(&place.join("torch.npy"))?,
            model,
        })
    }

    /// Returns cuts for so many blocks of equal work.
    fn cuts(&self, blocks: usize) -> Result<Vec<String>, Failed> {
        let costs = self.graph.costs(&Bindings::new());
        let cuts = self.graph.balanced_cuts(&costs, blocks)?;
        let names = cuts.into_iter().map(|id| self.graph.value(id).name.clone());
        Ok(names.collect())
    }

    fn block(&self, name: String, ends: [Option<Vec<String>>; 2], device: Device) -> BlockSpec {
        let second = Duration::from_secs(1);
        let [inputs, outputs] = ends;
        BlockSpec {
            name,
            source: SourceSpec::Graph {
                path: self.model.clone(),
                inputs,
                outputs,
                engine: GraphEngine::Aten,
                passes: Passes::default(),
            },
            host: None,
            process: None,
            device,
            device_choice: DeviceChoice::Named,
            cuda: CudaSpec::default(),
            threads: 1,
            instances: 1,
            batch: BatchSpec {
                rows_max: 1,
                wait: Duration::ZERO,
            },
            restart: RestartSpec {
                budget: 100,
                window: second,
                backoff_min: Duration::from_millis(1),
                backoff_max: second,
            },
            proof: ProofSpec {
                finite: false,
                ..ProofSpec::default()
            },
            stuck: StuckSpec::default(),
            queue_max: 2 * IN_FLIGHT,
        }
    }

    /// Returns the blocks between cuts.
    fn row(&self, prefix: &str, cuts: &[String], device: Device) -> Vec<BlockSpec> {
        let cut = |at: usize| cuts.get(at).map(|name| vec![name.clone()]);
        let blocks = (0..=cuts.len()).map(|index| {
            let ends = [index.checked_sub(1).and_then(cut), cut(index)];
            self.block(format!("{prefix}{index}"), ends, device)
        });
        blocks.collect()
    }

    /// Prepares the parts between cuts, and makes a session of each.
    fn sessions(&self, cuts: &[String], device: Device) -> Result<Sessions, Failed> {
        let parts = self.graph.chain(cuts)?;
        let prepared = parts.iter().map(|graph| {
            let source = BlockSource::Graph {
                graph,
                signature: graph.signature()?,
                engine: GraphEngine::Aten,
                passes: Passes::default(),
            };
            Ok(prepare(source, 1, device)?)
        });
        let prepared = prepared.collect::<Result<Vec<_>, Failed>>()?;
        let sessions = prepared.iter().map(|one| one.session());
        Ok(Sessions {
            sessions: sessions.collect::<Result<_, _>>()?,
            _prepared: prepared,
        })
    }
}

struct Sessions {
    sessions: Vec<Box<dyn Session>>,
    _prepared: Vec<Arc<dyn Prepared>>,
}

impl Sessions {
    /// Runs one after the other, and brings what comes of it to the host.
    fn run(&mut self, input: &Tensor) -> Result<Tensor, Failed> {
        let mut tensors = vec![input.clone()];
        for session in &mut self.sessions {
            tensors = session.run(&tensors)?;
        }
        let output = tensors.swap_remove(0);
        Ok(to_host(&output)?.unwrap_or(output))
    }
}

fn pipeline(name: &str, flow: FlowSpec) -> PipelineSpec {
    PipelineSpec {
        name: name.into(),
        flow,
        deadline: DEADLINE,
        wire: Vec::new(),
    }
}

fn chain(name: &str, blocks: &[BlockSpec]) -> PipelineSpec {
    let flow = blocks.iter().map(|block| block.name.clone()).collect();
    pipeline(name, FlowSpec::Chain(flow))
}

fn started(
    options: &Options,
    blocks: Vec<BlockSpec>,
    pipelines: Vec<PipelineSpec>,
) -> Result<Runtime, Failed> {
    let spec = Spec {
        server: ServerSpec {
            http: ([127, 0, 0, 1], 0).into(),
            host: None,
            workers: 1,
            body_bytes_max: 1 << 24,
            drain: Duration::from_secs(1),
        },
        limits: LimitsSpec {
            in_flight_max: 8 * IN_FLIGHT,
        },
        log: LogSpec {
            filter: "off".into(),
            format: LogFormat::Text,
        },
        devices: Vec::new(),
        reload: ReloadSpec::default(),
        hosts: Vec::new(),
        blocks,
        pipelines,
    };
    let problems = |problems: Vec<_>| format!("{problems:?}");
    let loaded = Loaded::from_spec(&spec).map_err(problems)?;
    let part = Part {
        worker: WorkerCommand {
            program: options.program.clone(),
            arguments: vec!["worker".into()],
            log: LogFormat::Text,
        },
        ..Part::default()
    };
    Ok(Runtime::start(loaded, part)?)
}

fn gateway(runtime: &Runtime) -> &Gateway {
    runtime.gateway().expect("the gateway lives here")
}

fn submit(runtime: &Runtime, pipeline: usize, input: &Tensor) -> Result<Ticket, Failed> {
    Ok(gateway(runtime).submit(InferRequest {
        pipeline,
        inputs: vec![input.clone()],
        deadline: None,
    })?)
}

fn waiter() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers")
}

fn ask(runtime: &Runtime, pipeline: usize, input: &Tensor) -> Result<Vec<Tensor>, Failed> {
    let ticket = submit(runtime, pipeline, input)?;
    Ok(waiter().block_on(ticket)?.outputs)
}

fn timed<T>(run: impl FnOnce() -> Result<T, Failed>) -> Result<(f64, T), Failed> {
    let started = Instant::now();
    let value = run()?;
    Ok((started.elapsed().as_secs_f64(), value))
}

/// Order statistics of times, in microseconds.
fn summary(seconds: &[f64]) -> Value {
    let mut sorted: Vec<f64> = seconds.iter().map(|one| one * 1e6).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    json!({ "median_us": at(0.5), "p10_us": at(0.1), "p90_us": at(0.9), "p99_us": at(0.99) })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median of the ratios of rounds, and the order statistics that hold it 95 times in 100.
fn ratio(over: &[f64], under: &[f64]) -> Value {
    let mut ratios: Vec<f64> = over.iter().zip(under).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    let (middle, spread) = (ratios.len() / 2, (ratios.len() as f64).sqrt() as usize);
    json!({
        "median": ratios[middle],
        "from": ratios[middle.saturating_sub(spread)],
        "to": ratios[(middle + spread).min(ratios.len() - 1)],
    })
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let numbers = tensor.bytes().chunks_exact(4);
    numbers
        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
        .collect()
}

/// The largest difference over the largest number.
fn relative_difference(seen: &Tensor, expected: &Tensor) -> f64 {
    let (seen, expected) = (floats(seen), floats(expected));
    if seen.len() != expected.len() {
        return f64::INFINITY;
    }
    let pairs = seen.iter().zip(&expected);
    let apart = pairs.map(|(a, b)| f64::from((a - b).abs()));
    // A NaN is no difference that `max` would notice.
    let apart = apart.fold(0.0_f64, |most, one| {
        if one.is_nan() {
            f64::INFINITY
        } else {
            most.max(one)
        }
    });
    let largest = expected.iter().map(|one| f64::from(one.abs()));
    apart / largest.fold(f64::MIN_POSITIVE, f64::max)
}

/// Whole and split into two to eight blocks, against PyTorch on the same device.
fn answers(options: &Options) -> Result<Value, Failed> {
    let mut networks = Vec::new();
    let (mut furthest, mut differ) = (0.0_f64, 0);
    for name in ["resnet50", "vit", "bert"] {
        let network = Network::read(&options.models, name)?;
        let whole = network.sessions(&[], options.device)?.run(&network.input)?;
        let relative = relative_difference(&whole, &network.expected);
        let mut equal = Vec::new();
        for blocks in 2..=8 {
            let cuts = network.cuts(blocks)?;
            let row = network.row("block", &cuts, options.device);
            let pipelines = vec![chain("split", &row)];
            let runtime = started(options, row, pipelines)?;
            let split = ask(&runtime, 0, &network.input)?;
            equal.push(split[0].bytes() == whole.bytes());
            runtime.stop(Duration::from_secs(1));
        }
        furthest = furthest.max(relative);
        differ += equal.iter().filter(|equal| !**equal).count();
        networks.push(json!({
            "network": name,
            "relative_difference_to_torch": relative,
            "relative_difference_allowed": RELATIVE_MAX,
            "split_into_2_to_8_is_bitwise_whole": equal,
        }));
    }
    Ok(json!({
        "passed": furthest <= RELATIVE_MAX && differ == 0,
        "relative_difference_max": furthest,
        "splits_that_differ_from_whole": differ,
        "networks": networks,
    }))
}

/// Requests of two pipelines at once, beside one that fills memory that it gives back with NaN: every answer has to be the
/// first, to the last bit.
fn streams(options: &Options) -> Result<Value, Failed> {
    let networks = ["resnet50", "vit", "spoil"];
    let networks = networks.map(|name| Network::read(&options.models, name));
    let (mut blocks, mut pipelines, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
    for (index, network) in networks.into_iter().enumerate() {
        let network = network?;
        let cuts = network.cuts(4)?;
        let row = network.row(&format!("n{index}_"), &cuts, options.device);
        pipelines.push(chain(&format!("p{index}"), &row));
        blocks.extend(row);
        inputs.push(network.input);
    }
    let runtime = started(options, blocks, pipelines)?;
    let first = [0, 1].map(|pipeline| ask(&runtime, pipeline, &inputs[pipeline]));
    let mut expected = Vec::new();
    for answer in first {
        expected.push(answer?[0].bytes().to_vec());
    }
    let requests = options.rounds;
    let (mut wrong, mut asked) = (0, 0);
    let mut open: VecDeque<(usize, Ticket)> = VecDeque::new();
    let waiter = waiter();
    while asked < requests || !open.is_empty() {
        while asked < requests && open.len() < 4 * IN_FLIGHT {
            let pipeline = asked % 3;
            open.push_back((pipeline, submit(&runtime, pipeline, &inputs[pipeline])?));
            asked += 1;
        }
        if let Some((pipeline, ticket)) = open.pop_front() {
            let reply = waiter.block_on(ticket)?;
            let right = expected.get(pipeline);
            wrong += usize::from(
                right.is_some_and(|right| reply.outputs[0].bytes() != right.as_slice()),
            );
        }
    }
    runtime.stop(Duration::from_secs(1));
    Ok(json!({ "passed": wrong == 0, "requests": requests, "wrong": wrong }))
}

/// Nine blocks with next to nothing to do, against the same sessions in a row.
fn hop(options: &Options) -> Result<Value, Failed> {
    let network = Network::read(&options.models, "ladder")?;
    let costs = network.graph.costs(&Bindings::new());
    let points = network.graph.cut_points(&costs);
    let cuts: Vec<String> = points
        .iter()
        .map(|point| network.graph.value(point.value).name.clone())
        .collect();
    let mut sessions = network.sessions(&cuts, options.device)?;
    let row = network.row("hop", &cuts, options.device);
    let (hops, names): (f64, Vec<_>) = (
        cuts.len() as f64,
        row.iter().map(|block| block.name.clone()).collect(),
    );
    let pipelines = vec![chain("hops", &row)];
    let runtime = started(options, row, pipelines)?;
    let copied = || {
        let inner = &names[1..names.len() - 1];
        let bytes = inner
            .iter()
            .map(|name| metrics::block(name).bytes_copied.get());
        bytes.sum::<u64>()
    };
    let (mut split, mut rows) = (Vec::new(), Vec::new());
    let mut before = 0;
    for round in 0..options.rounds * 10 + WARM_UP {
        if round == WARM_UP {
            split.clear();
            rows.clear();
            before = copied();
        }
        rows.push(timed(|| sessions.run(&network.input))?.0);
        split.push(timed(|| ask(&runtime, 0, &network.input))?.0);
    }
    let between = copied() - before;
    runtime.stop(Duration::from_secs(1));
    let usual = median(&rows);
    let each: Vec<f64> = split
        .iter()
        .map(|one| (one - usual).max(0.0) / hops)
        .collect();
    Ok(json!({
        "passed": between == 0,
        "hops": hops,
        "hop": summary(&each),
        "row": summary(&rows),
        "split": summary(&split),
        "host_bytes_between_blocks": between,
    }))
}

/// PyTorch, in a process of its own that answers lines.
struct Peer {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn start(options: &Options, network: &str) -> Result<Option<Self>, Failed> {
        let Some((program, arguments)) = options.peer.split_first() else {
            return Ok(None);
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("serve")
            .arg(options.models.join(network));
        command.args(["--device", &options.device.to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut peer = Self { child, lines };
        match peer.line()?.as_str() {
            "ready" => Ok(Some(peer)),
            other => Err(format!("PyTorch is not ready: {other:?}").into()),
        }
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Returns the times of some runs, and that of all of them together; `None`: this device has no such side.
    fn run(&mut self, side: &str, count: usize) -> Result<Option<(Vec<f64>, f64)>, Failed> {
        let stdin = self.child.stdin.as_mut().ok_or("no stdin")?;
        writeln!(stdin, "{side} {count}")?;
        let line = self.line()?;
        if line == "none" {
            return Ok(None);
        }
        let mut times = line
            .split(' ')
            .map(str::parse)
            .collect::<Result<Vec<f64>, _>>()?;
        let together = times.pop().ok_or("PyTorch ended")?;
        Ok(Some((times, together)))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a number of requests with several in flight.
fn in_flight(
    runtime: &Runtime,
    pipeline: usize,
    input: &Tensor,
    count: usize,
) -> Result<(), Failed> {
    let waiter = waiter();
    let mut open: VecDeque<Ticket> = VecDeque::new();
    for _ in 0..count {
        if open.len() == IN_FLIGHT
            && let Some(oldest) = open.pop_front()
        {
            waiter.block_on(oldest)?;
        }
        open.push_back(submit(runtime, pipeline, input)?);
    }
    for ticket in open {
        waiter.block_on(ticket)?;
    }
    Ok(())
}

/// ResNet-50 in five blocks, batch 1 and a larger one, against itself and PyTorch. Where its runs can be captured, `split` replays
/// them, and `launched` launches every kernel, as the sessions beside it do.
fn five(options: &Options) -> Result<Value, Failed> {
    const RUNS: usize = 5;
    const SIDES: [&str; 3] = ["eager", "graph", "naive"];
    const OVERHEAD_MIN: f64 = 1e-6;
    let mut results = Vec::new();
    for name in ["resnet50", "resnet50-batch"] {
        let network = Network::read(&options.models, name)?;
        let cuts = network.cuts(5)?;
        let mut whole = network.sessions(&[], options.device)?;
        let mut row = network.sessions(&cuts, options.device)?;
        let blocks = network.row("stage", &cuts, options.device);
        let pipelines = vec![chain("split", &blocks)];
        let mut kernels = network.row("launched", &cuts, options.device);
        for block in &mut kernels {
            block.proof.cuda_graphs = CudaGraphs::Off;
        }
        let alone = vec![chain("launched", &kernels)];
        let launched = started(options, kernels, alone)?;
        let runtime = started(options, blocks, pipelines)?;
        let mut peer = Peer::start(options, name)?;
        // Of each side by round: the median of its runs, and what a run takes among many.
        let mut times: Vec<(String, Vec<f64>, Vec<f64>)> = Vec::new();
        let mut note = |side: &str, latency: f64, share: f64| match times
            .iter_mut()
            .find(|(known, ..)| known == side)
        {
            Some((_, latencies, shares)) => {
                latencies.push(latency);
                shares.push(share);
            }
            None => times.push((side.to_owned(), vec![latency], vec![share])),
        };
        for round in 0..options.rounds + WARM_UP {
            for side in ["whole", "row", "launched", "split"] {
                let mut run = || match side {
                    "whole" => whole.run(&network.input).map(drop),
                    "row" => row.run(&network.input).map(drop),
                    "launched" => ask(&launched, 0, &network.input).map(drop),
                    _ => ask(&runtime, 0, &network.input).map(drop),
                };
                let latencies = (0..RUNS).map(|_| Ok(timed(&mut run)?.0));
                let latencies = latencies.collect::<Result<Vec<_>, Failed>>()?;
                let share = match side {
                    "split" => {
                        timed(|| in_flight(&runtime, 0, &network.input, 2 * IN_FLIGHT))?.0
                            / (2 * IN_FLIGHT) as f64
                    }
                    _ => latencies.iter().sum::<f64>() / RUNS as f64,
                };
                if round >= WARM_UP {
                    note(side, median(&latencies), share);
                }
            }
            for side in SIDES {
                let Some(peer) = &mut peer else { break };
                if let Some((latencies, together)) = peer.run(side, RUNS)?
                    && round >= WARM_UP
                {
                    note(side, median(&latencies), together / RUNS as f64);
                }
            }
        }
        runtime.stop(Duration::from_secs(1));
        launched.stop(Duration::from_secs(1));
        let of = |side: &str| times.iter().find(|(known, ..)| known == side);
        let (_, split, split_share) = of("split").ok_or("no rounds")?;
        let (_, kernels, _) = of("launched").ok_or("no rounds")?;
        let mut result = serde_json::Map::new();
        for (side, latencies, shares) in &times {
            result.insert(
                side.clone(),
                json!({
                    "latency": summary(latencies),
                    "split_over_it": ratio(split, latencies),
                    "launched_over_it": ratio(kernels, latencies),
                    "throughput_of_split_over_it": ratio(shares, split_share),
                }),
            );
        }
        if let (Some((_, eager, _)), Some((_, naive, _)), Some((_, row, _))) =
            (of("eager"), of("naive"), of("row"))
        {
            let ours = median(kernels) - median(row);
            let theirs = median(naive) - median(eager);
            result.insert("overhead_us".into(), json!(ours * 1e6));
            result.insert("overhead_of_naive_us".into(), json!(theirs * 1e6));
            // Less than can be told from none counts as the least that can.
            let ours = ours.max(OVERHEAD_MIN);
            result.insert("overhead_of_naive_over_ours".into(), json!(theirs / ours));
        }
        result.insert("network".into(), json!(name));
        results.push(Value::Object(result));
    }
    Ok(json!({
        "passed": true,
        "rounds": options.rounds,
        "networks": results,
    }))
}

/// Bytes that blocks hold on a device.
fn held(device: Device) -> u64 {
    let memory = Ledger::of(device).memory();
    memory.weights + memory.workspace
}

/// What the heads take, added up, over the time from the first that begins to the last that ends: 1 if they run one after
/// the other, at most as many as there are.
fn overlap_of(spans: &[Span]) -> Result<f64, Failed> {
    let heads = spans.iter().filter(|span| span.block.starts_with("head"));
    let heads: Vec<_> = heads.collect();
    let sum: Duration = heads.iter().map(|span| span.end - span.start).sum();
    let first = heads.iter().map(|span| span.start).min();
    let last = heads.iter().map(|span| span.end).max();
    let (first, last) = first.zip(last).ok_or("no head was noted")?;
    // Nothing takes no time at all.
    let whole = (last - first).max(Duration::from_nanos(1));
    Ok(sum.as_secs_f64() / whole.as_secs_f64())
}

/// A timeline in microseconds, from its first beginning on.
fn drawn(spans: &[Span]) -> Value {
    let first = spans.first().map_or(Duration::ZERO, |span| span.start);
    let since = |time: Duration| (time - first).as_secs_f64() * 1e6;
    let drawn = spans.iter().map(|span| {
        json!({ "block": span.block, "start_us": since(span.start), "end_us": since(span.end) })
    });
    drawn.collect()
}

/// Four heads on one backbone, against the same heads each with a backbone of its own.
fn heads(options: &Options) -> Result<Value, Failed> {
    let network = Network::read(&options.models, "heads")?;
    let costs = network.graph.costs(&Bindings::new());
    let points = network.graph.cut_points(&costs);
    let last = points.last().ok_or("the heads have no backbone")?;
    let features = network.graph.value(last.value).name.clone();
    let signature = network.graph.signature()?;
    let input = signature.inputs[0].name.clone();
    let outputs: Vec<String> = signature
        .outputs
        .iter()
        .map(|one| one.name.clone())
        .collect();
    let edge = |from: (Option<&str>, &str), to: (Option<&str>, &str)| EdgeSpec {
        from: (from.0.map(str::to_owned), from.1.to_owned()),
        to: (to.0.map(str::to_owned), to.1.to_owned()),
    };
    let name = |kind: &str, index: usize| format!("{kind}{index}");
    let (mut shared, mut apart) = (
        vec![edge((None, &input), (Some("backbone"), &input))],
        Vec::new(),
    );
    let cut = Some(vec![features.clone()]);
    let (mut blocks, mut full) = (
        vec![network.block("backbone".into(), [None, cut.clone()], options.device)],
        Vec::new(),
    );
    for (index, output) in outputs.iter().enumerate() {
        let (head, whole) = (name("head", index), name("full", index));
        let ends = Some(vec![output.clone()]);
        blocks.push(network.block(head.clone(), [cut.clone(), ends.clone()], options.device));
        full.push(network.block(whole.clone(), [None, ends], options.device));
        shared.push(edge(
            (Some("backbone"), &features),
            (Some(&head), &features),
        ));
        shared.push(edge((Some(&head), output), (None, output)));
        apart.push(edge((None, &input), (Some(&whole), &input)));
        apart.push(edge((Some(&whole), output), (None, output)));
    }
    let graph = |name: &str, edges| {
        let steps = Vec::new();
        pipeline(name, FlowSpec::Graph(GraphSpec { steps, edges }))
    };
    let before = held(options.device);
    let one = {
        let runtime = started(
            options,
            vec![full[0].clone()],
            vec![chain("one", &full[..1])],
        )?;
        let bytes = held(options.device) - before;
        runtime.stop(Duration::from_secs(1));
        bytes
    };
    let shared = started(options, blocks, vec![graph("shared", shared)])?;
    let together = held(options.device).saturating_sub(before);
    let apart = started(options, full, vec![graph("apart", apart)])?;
    let equal = {
        let [a, b] = [
            ask(&shared, 0, &network.input)?,
            ask(&apart, 0, &network.input)?,
        ];
        a.iter().zip(&b).all(|(a, b)| a.bytes() == b.bytes())
    };
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..options.rounds + WARM_UP {
        for (side, runtime) in [&shared, &apart].into_iter().enumerate() {
            let latency = timed(|| ask(runtime, 0, &network.input))?.0;
            let rate = timed(|| in_flight(runtime, 0, &network.input, 2 * IN_FLIGHT))?.0;
            if round >= WARM_UP {
                times[side].push(latency);
                times[2 + side].push(rate);
            }
        }
    }
    let mut overlaps = Vec::new();
    for _ in 0..options.rounds {
        let timeline = Timeline::begin(options.device)?;
        ask(&shared, 0, &network.input)?;
        let spans = timeline.end()?;
        overlaps.push((overlap_of(&spans)?, spans));
    }
    shared.stop(Duration::from_secs(1));
    apart.stop(Duration::from_secs(1));
    overlaps.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let typical = overlaps
        .get(overlaps.len() / 2)
        .map(|(_, spans)| drawn(spans));
    let overlaps: Vec<f64> = overlaps.into_iter().map(|(overlap, _)| overlap).collect();
    let [shared, apart, shared_rate, apart_rate] = times;
    Ok(json!({
        "passed": equal,
        "shared": summary(&shared),
        "four_full": summary(&apart),
        "latency_of_shared_over_four_full": ratio(&shared, &apart),
        "throughput_of_shared_over_four_full": ratio(&apart_rate, &shared_rate),
        "memory_of_one_full_bytes": one,
        "memory_of_shared_bytes": together,
        "memory_of_shared_over_four_full": together as f64 / (4 * one.max(1)) as f64,
        "overlap_of_heads": { "median": median(&overlaps), "from": overlaps[0], "to": overlaps[overlaps.len() - 1] },
        "timeline": typical,
    }))
}

/// Free memory of a CUDA device, else what the ledger lacks.
fn free(device: Device) -> i64 {
    match device {
        Device::Cuda(ordinal) => {
            let all = cuda::devices().unwrap_or_default();
            let found = all.into_iter().find(|one| one.ordinal == ordinal);
            found.and_then(|one| one.memory_free_bytes).unwrap_or(0) as i64
        }
        Device::Cpu | Device::Sim(_) => -(held(device) as i64),
    }
}

fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<String> = lists.collect();
    let ids = all.iter().flat_map(|list| list.split_whitespace());
    ids.filter_map(|id| id.parse().ok()).collect()
}

/// A process per block: the cost of a hop, and what is left after one was killed.
fn apart(options: &Options) -> Result<Value, Failed> {
    let network = Network::read(&options.models, "resnet50")?;
    let cuts = network.cuts(3)?;
    let mut sessions = network.sessions(&cuts, options.device)?;
    let expected = sessions.run(&network.input)?;
    let before = free(options.device);
    let mut row = network.row("apart", &cuts, options.device);
    for block in &mut row {
        block.process = Some(block.name.clone());
    }
    let names: Vec<String> = row.iter().map(|block| block.name.clone()).collect();
    let pipelines = vec![chain("apart", &row)];
    let runtime = started(options, row, pipelines)?;
    let (mut rows, mut split) = (Vec::new(), Vec::new());
    for round in 0..options.rounds + WARM_UP {
        let alone = timed(|| sessions.run(&network.input))?.0;
        let through = timed(|| ask(&runtime, 0, &network.input))?.0;
        if round >= WARM_UP {
            rows.push(alone);
            split.push(through);
        }
    }
    let (mut killed, mut right) = (0, true);
    for _ in 0..3 {
        let Some(child) = children().first().copied() else {
            break;
        };
        Command::new("kill")
            .args(["-s", "KILL", &child.to_string()])
            .status()?;
        killed += 1;
        let began = Instant::now();
        // Refused until it is there again.
        let answer = loop {
            match ask(&runtime, 0, &network.input) {
                Ok(answer) => break Some(answer),
                Err(_) if began.elapsed() < DEADLINE => std::thread::yield_now(),
                Err(_) => break None,
            }
        };
        right &= answer.is_some_and(|answer| answer[0].bytes() == expected.bytes());
    }
    // What the last of each has told until now.
    let counts = names.iter().map(|name| metrics::block(name));
    let (pooled, fallen_back) = counts.fold((0, 0), |(pooled, fallen_back), block| {
        let more = (block.bytes_pooled.get(), block.pool_fallbacks.get());
        (pooled + more.0, fallen_back + more.1)
    });
    let devices = cuda::devices().unwrap_or_default();
    let is = |one: &cuda::DeviceProperties| Device::Cuda(one.ordinal) == options.device;
    let shares = devices.iter().any(|one| is(one) && one.can_ipc);
    runtime.stop(Duration::from_secs(1));
    let leaked = (before - free(options.device)).max(0);
    let usual = median(&rows);
    let each: Vec<f64> = split
        .iter()
        .map(|one| (one - usual).max(0.0) / 4.0)
        .collect();
    Ok(json!({
        "passed": right && killed > 0 && (pooled > 0 || !shares),
        "hop_between_processes": summary(&each),
        "bytes_between_blocks_in_pools": pooled,
        "tensors_between_blocks_through_the_host": fallen_back,
        "killed": killed,
        "answered_rightly_after_each": right,
        "device_bytes_missing_after_stop": leaked,
    }))
}

/// Ends the server however the part ends.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(options: &Options, config: &Path, state: &Path) -> Result<Self, Failed> {
        let mut command = Command::new(&options.program);
        command
            .arg("run")
            .arg(config)
            .args(["--http", "127.0.0.1:0", "--no-watch", "--state"]);
        command
            .arg(state)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let first = lines
            .next()
            .ok_or("the server ended before it listened")??;
        let mut words = first.split_whitespace();
        let url = words.find_map(|word| word.strip_prefix("http://"));
        let address = url.ok_or(first.clone())?.trim_end_matches('/').to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self(child, address))
    }

    fn send(&self, request: &[u8]) -> Result<(u16, String), Failed> {
        let mut stream = TcpStream::connect(&self.1)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok((status, text))
    }

    fn post(&self, path: &str, body: &str) -> Result<(u16, String), Failed> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send(format!("{head}{body}").as_bytes())
    }

    /// Bytes that the ledger of a device has.
    fn held(&self, device: Device) -> Result<u64, Failed> {
        let request = b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        let (_, page) = self.send(request)?;
        let begins = format!("blockflow_device_memory_bytes{{device=\"{device}\"");
        let lines = page.lines().filter(|line| line.starts_with(&begins));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(values.sum())
    }

    /// What the server holds once the epoch before has gone: that is waited for until the ledger is at most what it `was`.
    fn settled(&self, device: Device, was: Option<&Held>) -> Result<Held, Failed> {
        let began = Instant::now();
        loop {
            let ledger = self.held(device)?;
            let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kibibytes =
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            let held = Held {
                ledger,
                device: -free(device),
                resident: kibibytes.ok_or("no resident memory")? * 1024,
            };
            let patient = began.elapsed() < SETTLING;
            if !patient || was.is_none_or(|was| held.ledger <= was.ledger) {
                return Ok(held);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Bytes at one moment.
struct Held {
    ledger: u64,
    /// Of all processes; up to a constant.
    device: i64,
    resident: u64,
}

/// How far the least of the last third lies over that of the first.
fn grown(bytes: impl Iterator<Item = i64>) -> i64 {
    let all: Vec<i64> = bytes.collect();
    let third = all.len().div_ceil(3);
    let first = all.iter().take(third).min();
    let last = all.iter().rev().take(third).min();
    first
        .zip(last)
        .map_or(0, |(first, last)| (last - first).max(0))
}

/// ResNet-50 in two blocks, replaced again and again while requests are asked.
fn swaps(options: &Options) -> Result<Value, Failed> {
    let network = Network::read(&options.models, "resnet50")?;
    let cut = network.cuts(2)?.remove(0);
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("blocks.toml");
    let write = |round: usize| {
        let model = network.model.display().to_string();
        let device = options.device;
        // A block of another kind each time, so that it is prepared anew.
        let optimize = if round.is_multiple_of(2) {
            "exact"
        } else {
            "off"
        };
        let block = |name: &str, end: &str| {
            format!(
                "[blocks.{name}]\nmodel = {model:?}\n{end} = [{cut:?}]\ndevice = \"{device}\"\noptimize = \"{optimize}\"\n"
            )
        };
        let pipeline = "[pipelines.p]\nflow = [\"a\", \"b\"]\ndeadline_ms = 60000\n";
        let text = format!(
            "{}{}{pipeline}",
            block("a", "outputs"),
            block("b", "inputs")
        );
        fs::write(&config, text)
    };
    write(0)?;
    let server = Server::start(options, &config, &directory.path().join("state"))?;
    let signature = network.graph.signature()?;
    let spec = &signature.inputs[0];
    let numbers = vec!["0.5"; network.input.bytes().len() / 4].join(",");
    let shape = network.input.shape();
    let body = format!(
        "{{\"inputs\":[{{\"name\":{:?},\"datatype\":\"FP32\",\"shape\":{shape:?},\"data\":[{numbers}]}}]}}",
        spec.name
    );
    let stop = std::sync::atomic::AtomicBool::new(false);
    // Blocks are of the same kind at each look, and both kinds have been there before the first.
    let step = (options.rounds / 10).max(2).next_multiple_of(2);
    let (mut looks, mut failed) = (Vec::<Held>::new(), Vec::new());
    let (asked, lost) = std::thread::scope(|scope| -> Result<(usize, usize), Failed> {
        let client = scope.spawn(|| {
            let (mut asked, mut lost) = (0, 0);
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                let answer = server.post("/v2/models/p/infer", &body);
                asked += 1;
                lost += usize::from(!matches!(answer, Ok((200, _))));
            }
            (asked, lost)
        });
        let mut swap = |round: usize| -> Result<(), Failed> {
            write(round)?;
            let (status, text) = server.post("/v2/repository/models/p/load", "")?;
            if status != 200 {
                failed.push(text);
            }
            if round.is_multiple_of(step) {
                looks.push(server.settled(options.device, looks.first())?);
            }
            Ok(())
        };
        let swapped = (1..=options.rounds).try_for_each(&mut swap);
        stop.store(true, std::sync::atomic::Ordering::Release);
        let told = client.join().map_err(|_| "the client panicked")?;
        swapped?;
        Ok(told)
    })?;
    Ok(json!({
        "passed": lost == 0 && failed.is_empty() && looks.len() > 1,
        "swaps": options.rounds,
        "requests": asked,
        "lost": lost,
        "refused_swaps": failed.len(),
        "refused": failed.first(),
        "ledger_bytes": looks.iter().map(|held| held.ledger).collect::<Vec<_>>(),
        "ledger_bytes_grown": grown(looks.iter().map(|held| held.ledger as i64)),
        "device_bytes_grown": grown(looks.iter().map(|held| held.device)),
        "resident_bytes": looks.iter().map(|held| held.resident).collect::<Vec<_>>(),
        "resident_bytes_grown": grown(looks.iter().map(|held| held.resident as i64)),
    }))
}

fn main() -> Result<(), Failed> {
    blockflow::engine::torch::tune_allocator();
    let options = options()?;
    let part = match options.part.as_str() {
        "answers" => answers(&options)?,
        "streams" => streams(&options)?,
        "hop" => hop(&options)?,
        "five" => five(&options)?,
        "heads" => heads(&options)?,
        "apart" => apart(&options)?,
        "swaps" => swaps(&options)?,
        other => {
            let known = PARTS.join(", ");
            return Err(format!("--part {other:?}: expected one of {known}").into());
        }
    };
    let mut result = json!({ "part": options.part, "device": options.device.to_string() });
    if let (Some(result), Value::Object(part)) = (result.as_object_mut(), part) {
        result.extend(part);
    }
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
