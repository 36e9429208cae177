//! ResNet-50 in five blocks against the same engine unsplit: latency, throughput, memory. Writes JSON to stdout.
//!
//! All sides of a comparison take turns in one run, because machines are shared and noisy; read the ratios. A ratio is the
//! median of those of all rounds, with the order statistics that hold it between them 95 times in 100. `whole` is
//! one session called directly, with no actor in between. `row` is the five sessions called one after the other on
//! one thread: what splitting costs by itself. `split` is the pipeline, through the gateway, an actor per block. `apart` is the
//! same with a process per block.
//!
//! `cargo bench --bench pipeline -- --model FILE [--latency-rounds N] [--throughput-rounds N] [--latency-only]`; scripts/bench
//! makes the model and keeps the result.

mod split;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use blockflow::actors::{Gateway, InferReply, InferRequest, Ticket};
use blockflow::app::{Loaded, Part, Runtime, WorkerCommand};
use blockflow::engine::{BlockSource, Prepared, prepare};
use blockflow::graph::Graph;
use blockflow::types::{
    BatchSpec, BlockSpec, CudaSpec, DType, Device, DeviceChoice, FlowSpec, GraphEngine, LimitsSpec,
    LogFormat, LogSpec, Passes, PipelineSpec, ProofSpec, ReloadSpec, RestartSpec, ServerSpec,
    SourceSpec, Spec, StuckSpec, Tensor,
};
use serde_json::{Value, json};
use split::{CUTS, PROGRAM, Server, configuration};

/// Whole, row, split, apart.
const SIDES: usize = 4;
const IN_FLIGHT: usize = 8;
const REQUESTS_PER_ROUND: usize = 64;
const WARM_UP: usize = 3;
const DEFAULT_ALLOCATOR: &str = "BLOCKFLOW_BENCH_DEFAULT_ALLOCATOR";

type Failed = Box<dyn std::error::Error>;

struct Options {
    model: PathBuf,
    latency_rounds: usize,
    throughput_rounds: usize,
    latency_only: bool,
}

fn options() -> Result<Options, Failed> {
    let mut options = Options {
        model: PathBuf::new(),
        latency_rounds: 150,
        throughput_rounds: 12,
        latency_only: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--model" => options.model = value()?.into(),
            "--latency-rounds" => options.latency_rounds = value()?.parse()?,
            "--latency-only" => options.latency_only = true,
            "--throughput-rounds" => options.throughput_rounds = value()?.parse()?,
            // Cargo says so to every benchmark.
            "--bench" => {}
            _ => return Err(format!("unknown argument {word}").into()),
        }
    }
    if !options.model.is_file() {
        return Err(format!(
            "no model at {:?}; run scripts/bench, which makes one",
            options.model
        )
        .into());
    }
    Ok(options)
}

fn block(model: &Path, index: usize, apart: bool) -> BlockSpec {
    let second = Duration::from_secs(1);
    let cut = |at: usize| CUTS.get(at).map(|&name| vec![name.to_owned()]);
    BlockSpec {
        name: format!("stage{index}"),
        process: apart.then(|| format!("stage{index}")),
        source: SourceSpec::Graph {
            path: model.to_owned(),
            inputs: index.checked_sub(1).and_then(cut),
            outputs: cut(index),
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        },
        host: None,
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
        queue_max: IN_FLIGHT,
    }
}

fn split_spec(model: &Path, apart: bool) -> Spec {
    let blocks: Vec<_> = (0..=CUTS.len())
        .map(|index| block(model, index, apart))
        .collect();
    let flow = FlowSpec::Chain(blocks.iter().map(|block| block.name.clone()).collect());
    let deadline = Duration::from_secs(60);
    Spec {
        server: ServerSpec {
            http: ([127, 0, 0, 1], 0).into(),
            host: None,
            workers: 1,
            body_bytes_max: 1 << 24,
            drain: Duration::from_secs(1),
        },
        limits: LimitsSpec {
            in_flight_max: IN_FLIGHT,
        },
        log: LogSpec {
            filter: "off".into(),
            format: LogFormat::Text,
        },
        devices: Vec::new(),
        reload: ReloadSpec::default(),
        hosts: Vec::new(),
        blocks,
        pipelines: vec![PipelineSpec {
            name: "resnet50".into(),
            flow,
            deadline,
            wire: Vec::new(),
        }],
    }
}

fn prepared(graph: &Graph) -> Result<Arc<dyn Prepared>, Failed> {
    let signature = graph.signature()?;
    Ok(prepare(
        BlockSource::Graph {
            graph,
            signature,
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        },
        1,
        Device::Cpu,
    )?)
}

fn input() -> Result<Tensor, Failed> {
    let values: Vec<u8> = (0..3 * 224 * 224)
        .flat_map(|index| ((index % 255) as f32 / 255.0 - 0.5).to_le_bytes())
        .collect();
    Ok(Tensor::copy_of(DType::F32, vec![1, 3, 224, 224], &values)?)
}

fn request(input: &Tensor) -> InferRequest {
    InferRequest {
        pipeline: 0,
        inputs: vec![input.clone()],
        deadline: None,
    }
}

fn timed<T>(run: impl FnOnce() -> Result<T, Failed>) -> Result<(Duration, T), Failed> {
    let started = Instant::now();
    let value = run()?;
    Ok((started.elapsed(), value))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn summary(samples: &[Duration]) -> Value {
    let mut millis: Vec<_> = samples
        .iter()
        .map(|sample| sample.as_secs_f64() * 1e3)
        .collect();
    millis.sort_by(f64::total_cmp);
    let at = |share: f64| millis[((millis.len() - 1) as f64 * share).round() as usize];
    json!({ "median_ms": at(0.5), "p10_ms": at(0.1), "p90_ms": at(0.9) })
}

/// Returns how much longer one side took than the other in the same round.
fn ratio(over: &[Duration], under: &[Duration]) -> Value {
    let mut ratios: Vec<f64> = over
        .iter()
        .zip(under)
        .map(|(over, under)| over.as_secs_f64() / under.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    // Of n samples, n/2 ± √n are below the median but for 5 in 100 times: two deviations of the binomial distribution.
    let (middle, spread) = (ratios.len() / 2, (ratios.len() as f64).sqrt() as usize);
    let last = ratios.len() - 1;
    json!({
        "median": ratios[middle],
        "from": ratios[middle.saturating_sub(spread)],
        "to": ratios[(middle + spread).min(last)],
    })
}

struct Bench {
    whole: Arc<dyn Prepared>,
    stages: Vec<Arc<dyn Prepared>>,
    split: Runtime,
    apart: Runtime,
    input: Tensor,
}

fn start(model: &Path, apart: bool) -> Result<Runtime, Failed> {
    let loaded =
        Loaded::from_spec(&split_spec(model, apart)).map_err(|problems| format!("{problems:?}"))?;
    let part = Part {
        worker: WorkerCommand {
            program: PROGRAM.into(),
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

impl Bench {
    fn new(model: &Path) -> Result<Self, Failed> {
        let graph = Graph::read(model)?;
        let cuts: Vec<_> = CUTS.iter().map(|&name| name.to_owned()).collect();
        let stages = graph
            .chain(&cuts)?
            .iter()
            .map(prepared)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            whole: prepared(&graph)?,
            stages,
            split: start(model, false)?,
            apart: start(model, true)?,
            input: input()?,
        })
    }

    fn latency(&self, rounds: usize) -> Result<Value, Failed> {
        let mut whole = self.whole.session()?;
        let mut stages = self
            .stages
            .iter()
            .map(|stage| stage.session())
            .collect::<Result<Vec<_>, _>>()?;
        let waiter = waiter();
        let mut samples: [Vec<Duration>; SIDES] = Default::default();
        let inputs = [self.input.clone()];
        for round in 0..rounds + WARM_UP {
            let mut outputs: [Vec<Tensor>; SIDES] = Default::default();
            for turn in 0..SIDES {
                let side = (round + turn) % SIDES;
                let (took, output) = timed(|| match side {
                    0 => Ok(whole.run(&inputs)?),
                    1 => stages
                        .iter_mut()
                        .try_fold(inputs.to_vec(), |tensors, stage| Ok(stage.run(&tensors)?)),
                    _ => {
                        let runtime = if side == 2 { &self.split } else { &self.apart };
                        let ticket = gateway(runtime).submit(request(&self.input))?;
                        Ok(waiter.block_on(ticket)?.outputs)
                    }
                })?;
                outputs[side] = output;
                if round >= WARM_UP {
                    samples[side].push(took);
                }
            }
            if outputs
                .iter()
                .any(|output| output[0].bytes() != outputs[0][0].bytes())
            {
                return Err("split and whole disagree".into());
            }
        }
        let [whole, row, split, apart] = samples;
        Ok(json!({
            "rounds": rounds,
            "whole": summary(&whole),
            "row": summary(&row),
            "split": summary(&split),
            "apart": summary(&apart),
            "row_over_whole": ratio(&row, &whole),
            "split_over_whole": ratio(&split, &whole),
            "split_over_row": ratio(&split, &row),
            "apart_over_whole": ratio(&apart, &whole),
        }))
    }

    fn throughput(&self, rounds: usize) -> Result<Value, Failed> {
        let cores = thread::available_parallelism()?.get();
        let mut samples: [Vec<Duration>; 2] = Default::default();
        for round in 0..rounds + 1 {
            for turn in 0..2 {
                let side = (round + turn) % 2;
                let (took, ()) = timed(|| match side {
                    0 => whole_on_all(&self.whole, &self.input, cores),
                    _ => in_flight(gateway(&self.split), &self.input),
                })?;
                if round > 0 {
                    samples[side].push(took);
                }
            }
        }
        let [whole, split] = samples;
        let per_second = |samples: &[Duration]| {
            REQUESTS_PER_ROUND as f64 / median(samples.iter().map(Duration::as_secs_f64).collect())
        };
        Ok(json!({
            "rounds": rounds,
            "requests_per_round": REQUESTS_PER_ROUND,
            "in_flight": IN_FLIGHT,
            "whole_sessions": cores,
            "whole_per_second": per_second(&whole),
            "split_per_second": per_second(&split),
            "split_over_whole": ratio(&whole, &split),
        }))
    }
}

/// Runs a round on as many sessions of the whole model as there are cores.
fn whole_on_all(whole: &Arc<dyn Prepared>, input: &Tensor, cores: usize) -> Result<(), Failed> {
    let run = |share: usize| -> Result<(), String> {
        let mut session = whole.session().map_err(|error| error.to_string())?;
        for _ in 0..share {
            session
                .run(std::slice::from_ref(input))
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| (REQUESTS_PER_ROUND + core) / cores)
            .map(|share| scope.spawn(move || run(share)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a session panicked".to_owned())?)
    })?;
    Ok(())
}

fn waiter() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers")
}

/// Runs a round with a fixed number of requests in flight.
fn in_flight(gateway: &Gateway, input: &Tensor) -> Result<(), Failed> {
    waiter().block_on(async {
        let mut open: VecDeque<Ticket> = VecDeque::new();
        for _ in 0..REQUESTS_PER_ROUND {
            if open.len() == IN_FLIGHT
                && let Some(oldest) = open.pop_front()
            {
                let _: InferReply = oldest.await?;
            }
            open.push_back(gateway.submit(request(input))?);
        }
        for ticket in open {
            ticket.await?;
        }
        Ok(())
    })
}

/// Serves the five blocks, together or each from a process of its own, and returns the memory of all processes after some
/// requests.
fn memory(model: &Path, apart: bool) -> Result<Value, Failed> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("resnet50.toml");
    std::fs::write(&config, configuration(&model.canonicalize()?, apart))?;
    let server = Server::start(&config)?;
    let url = format!("http://{}", server.address);
    let started = Memory::of(server.id())?;
    let load = Command::new(PROGRAM)
        .args([
            "bench",
            "--url",
            &url,
            "--pipeline",
            "resnet50",
            "--requests",
            "64",
            "--concurrency",
            "1",
        ])
        .stdout(Stdio::null())
        .status()?;
    if !load.success() {
        return Err("the load on the server failed".into());
    }
    let served = Memory::of(server.id())?;
    Ok(json!({
        "processes": served.processes,
        "started_mb": started.resident / 1e6,
        "after_64_requests_mb": served.resident / 1e6,
        "after_64_requests_proportional_mb": served.proportional / 1e6,
    }))
}

/// What a process and those it started take, in bytes.
struct Memory {
    processes: usize,
    /// Sum of the resident sets: pages that several share count once for each.
    resident: f64,
    /// Pages that several share count once.
    proportional: f64,
}

impl Memory {
    fn of(process: u32) -> Result<Self, Failed> {
        let mut all = vec![process.to_string()];
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let children = std::fs::read_to_string(task?.path().join("children"))?;
            all.extend(children.split_whitespace().map(str::to_owned));
        }
        let mut sums = [0.0; 2];
        for process in &all {
            let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
            for (sum, field) in sums.iter_mut().zip(["Rss:", "Pss:"]) {
                let line = rollup.lines().find(|line| line.starts_with(field));
                let value = line.and_then(|line| line.split_whitespace().nth(1));
                *sum += value.ok_or("no such field")?.parse::<f64>()? * 1024.0;
            }
        }
        Ok(Self {
            processes: all.len(),
            resident: sums[0],
            proportional: sums[1],
        })
    }
}

/// Runs this benchmark's latency part again in a process with the platform's allocator settings.
fn with_default_allocator(options: &Options) -> Result<Value, Failed> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--model")
        .arg(&options.model)
        .args(["--latency-rounds", &options.latency_rounds.to_string()])
        .env(DEFAULT_ALLOCATOR, "1")
        .stderr(Stdio::inherit())
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn main() -> Result<(), Failed> {
    let options = options()?;
    let default_allocator = std::env::var_os(DEFAULT_ALLOCATOR).is_some();
    if !default_allocator {
        blockflow::engine::torch::tune_allocator();
    }
    let bench = Bench::new(&options.model)?;
    let latency = bench.latency(options.latency_rounds)?;
    if default_allocator || options.latency_only {
        println!("{latency}");
        return Ok(());
    }
    let throughput = bench.throughput(options.throughput_rounds)?;
    bench.split.stop(Duration::from_secs(1));
    bench.apart.stop(Duration::from_secs(1));
    let result = json!({
        "network": "resnet50, batch 1, FP32, 5 blocks, 1 thread per block",
        "cores": thread::available_parallelism()?.get(),
        "latency_concurrency_1": latency,
        "throughput": throughput,
        "latency_with_default_allocator_settings": with_default_allocator(&options)?,
        "memory_of_the_server": memory(&options.model, false)?,
        "memory_of_the_server_apart": memory(&options.model, true)?,
    });
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
