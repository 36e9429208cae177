//! ResNet-50, MobileNetV2 and BERT-base in the engines of this program beside PyTorch and onnxruntime. Writes JSON to
//! stdout.
//!
//! Batch 1, FP32, one thread. All sides take turns in one run, because machines are shared and noisy; read the ratios. The
//! peers are Python processes that are told over a pipe when it is their turn and do their own timing. A turn is one run
//! that does not count, for the caches, and some that do; the median of those is the side's figure of the round.
//!
//! Loading is timed in a process of its own: from the entry of its `main` to the first answer, the file in the page cache.
//!
//! `cargo bench --bench models -- --models DIR --python FILE [--rounds N]`; scripts/bench makes the models and keeps the
//! result.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blockflow::engine::{BlockSource, Prepared, Session, prepare, read_npy};
use blockflow::graph::Graph;
use blockflow::types::{Device, GraphEngine, Optimize, Passes, Tensor};
use serde_json::{Map, Value, json};

const MODELS: [&str; 3] = ["resnet50", "mobilenet_v2", "bert_base"];
/// How long the runs of one turn take together, roughly, and how many they are at most.
const TURN: Duration = Duration::from_millis(200);
const RUNS_MAX: usize = 12;
const LOADS: usize = 3;
/// Of the largest element of an output.
const TOLERANCE: f32 = 1e-3;

type Failed = Box<dyn std::error::Error>;

/// What of this program is compared.
const OWN: [(&str, GraphEngine, Optimize); 5] = [
    ("aten", GraphEngine::Aten, Optimize::Exact),
    ("aten_fast", GraphEngine::Aten, Optimize::Fast),
    ("onnxruntime", GraphEngine::OnnxRuntime, Optimize::Exact),
    ("auto", GraphEngine::Auto, Optimize::Exact),
    ("auto_fast", GraphEngine::Auto, Optimize::Fast),
];
const PEERS: [(&str, &str); 2] = [
    ("torch_eager", "torch"),
    ("onnxruntime_python", "onnxruntime"),
];

struct Options {
    models: PathBuf,
    python: PathBuf,
    rounds: usize,
    only: Option<String>,
    /// Name of the side that this process is to load, and nothing else.
    load: Option<String>,
}

fn options() -> Result<Options, Failed> {
    let mut options = Options {
        models: PathBuf::new(),
        python: PathBuf::new(),
        rounds: 16,
        only: None,
        load: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--models" => options.models = value()?.into(),
            "--python" => options.python = value()?.into(),
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => options.only = Some(value()?),
            "--load" => options.load = Some(value()?),
            // Cargo says so to every benchmark.
            "--bench" => {}
            _ => return Err(format!("unknown argument {word}").into()),
        }
    }
    if !options.models.is_dir() {
        let folder = &options.models;
        return Err(format!("no models in {folder:?}; run scripts/bench models").into());
    }
    Ok(options)
}

fn prepared(file: &Path, side: &str) -> Result<Arc<dyn Prepared>, Failed> {
    let own = OWN.iter().find(|(name, ..)| *name == side);
    let &(_, engine, optimize) = own.ok_or(format!("no side {side}"))?;
    let graph = &Graph::read(file)?;
    let source = BlockSource::Graph {
        graph,
        signature: graph.signature()?,
        engine,
        passes: Passes::of(optimize),
    };
    Ok(prepare(source, 1, Device::Cpu)?)
}

/// Something that runs a model when it is its turn.
enum Side {
    Own {
        session: Box<dyn Session>,
        input: Tensor,
    },
    Peer {
        process: Child,
        requests: ChildStdin,
        answers: BufReader<ChildStdout>,
    },
}

impl Side {
    fn peer(python: &Path, framework: &str, model: &Path) -> Result<Self, Failed> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench-peer");
        let mut process = Command::new(python)
            .args([script.as_path(), framework.as_ref(), model])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = process.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        let mut side = Self::Peer {
            process,
            requests,
            answers,
        };
        match side.answer()?.as_str() {
            "ready" => Ok(side),
            other => Err(format!("{framework} said {other:?} in place of ready").into()),
        }
    }

    fn answer(&mut self) -> Result<String, Failed> {
        let Self::Peer { answers, .. } = self else {
            return Err("no process to ask".into());
        };
        let mut line = String::new();
        answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Returns the median time of some runs, after one that does not count.
    fn turn(&mut self, runs: usize) -> Result<f64, Failed> {
        let times = match self {
            Self::Own { session, input } => {
                let inputs = std::slice::from_ref(input);
                session.run(inputs)?;
                let mut times = Vec::new();
                for _ in 0..runs {
                    let began = Instant::now();
                    session.run(inputs)?;
                    times.push(began.elapsed().as_secs_f64());
                }
                times
            }
            Self::Peer { requests, .. } => {
                writeln!(requests, "{runs}")?;
                let answer = self.answer()?;
                let times: Result<Vec<f64>, _> = answer.split(' ').map(str::parse).collect();
                times.map_err(|_| format!("a peer answered {answer:?} in place of times"))?
            }
        };
        Ok(median(&times))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if let Self::Peer { process, .. } = self {
            // Already gone is as good as killed.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}

fn summary(seconds: &[f64]) -> Value {
    let seconds = sorted(seconds);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize] * 1e3;
    json!({ "median_ms": at(0.5), "p10_ms": at(0.1), "p90_ms": at(0.9) })
}

/// Returns the median of the ratios of the rounds.
fn ratio(over: &[f64], under: &[f64]) -> f64 {
    let ratios: Vec<f64> = over.iter().zip(under).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// Compares an answer with PyTorch's; returns the largest difference, as a share of the largest element.
fn difference(seen: &Tensor, expected: &Tensor) -> Result<f32, Failed> {
    let numbers = |tensor: &Tensor| -> Vec<f32> {
        let (elements, _) = tensor.bytes().as_chunks::<4>();
        elements.iter().copied().map(f32::from_le_bytes).collect()
    };
    let (seen, expected) = (numbers(seen), numbers(expected));
    let largest = expected.iter().fold(0_f32, |most, x| most.max(x.abs()));
    let pairs = seen.iter().zip(&expected);
    let error = pairs.fold(0_f32, |most, (a, b)| most.max((a - b).abs()));
    if seen.len() == expected.len() && error <= TOLERANCE * largest {
        return Ok(error / largest);
    }
    Err(format!("an answer is off by {error} of {largest}").into())
}

fn speed(options: &Options, model: &Path) -> Result<Map<String, Value>, Failed> {
    let input = read_npy(&model.join("input.npy"))?;
    let expected = read_npy(&model.join("torch.npy"))?;
    let mut sides: Vec<(&str, Side)> = Vec::new();
    for (name, framework) in PEERS {
        sides.push((name, Side::peer(&options.python, framework, model)?));
    }
    let mut differences = Map::new();
    let mut chosen = Map::new();
    for (name, engine, _) in OWN {
        let prepared = prepared(&model.join("model.onnx"), name)?;
        let mut session = prepared.session()?;
        let answer = session.run(std::slice::from_ref(&input))?;
        differences.insert(name.into(), difference(&answer[0], &expected)?.into());
        if engine == GraphEngine::Auto {
            let text = format!("{prepared:?}");
            let engine = text.split("Prepared").next().unwrap_or_default();
            chosen.insert(name.into(), engine.to_lowercase().into());
        }
        let input = input.clone();
        sides.push((name, Side::Own { session, input }));
    }
    let first = sides[0].1.turn(1)?;
    let runs = ((TURN.as_secs_f64() / first) as usize).clamp(1, RUNS_MAX);
    let mut times = vec![Vec::new(); sides.len()];
    for round in 0..options.rounds {
        for turn in 0..sides.len() {
            let side = (round + turn) % sides.len();
            times[side].push(sides[side].1.turn(runs)?);
        }
    }
    let mut result = Map::new();
    result.insert("rounds".into(), options.rounds.into());
    result.insert("runs_per_turn".into(), runs.into());
    let mut over_eager = Map::new();
    let mut over_runtime = Map::new();
    let mut over_best = Map::new();
    let best = usize::from(median(&times[1]) < median(&times[0]));
    for ((name, _), own) in sides.iter().zip(&times) {
        result.insert((*name).into(), summary(own));
        over_eager.insert((*name).into(), ratio(own, &times[0]).into());
        over_runtime.insert((*name).into(), ratio(own, &times[1]).into());
        over_best.insert((*name).into(), ratio(own, &times[best]).into());
    }
    result.insert("over_torch_eager".into(), over_eager.into());
    result.insert("over_onnxruntime_python".into(), over_runtime.into());
    result.insert("over_the_faster_peer".into(), over_best.into());
    result.insert("auto_runs_on".into(), chosen.into());
    result.insert("difference_from_torch".into(), differences.into());
    Ok(result)
}

/// Loads one side in this process, and prints the milliseconds until its first answer.
fn load(model: &Path, side: &str, began: Instant) -> Result<(), Failed> {
    let input = read_npy(&model.join("input.npy"))?;
    let prepared = prepared(&model.join("model.onnx"), side)?;
    prepared.session()?.run(&[input])?;
    println!("{}", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Returns the median of several loads in milliseconds, each in a process of its own.
fn ready(options: &Options, model: &str) -> Result<Value, Failed> {
    let mut result = Map::new();
    for (side, engine, _) in OWN {
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for _ in 0..LOADS {
            let cache = tempfile::tempdir()?;
            first.push(ready_once(options, model, side, cache.path())?);
            if engine == GraphEngine::Auto {
                again.push(ready_once(options, model, side, cache.path())?);
            }
        }
        if engine == GraphEngine::Auto {
            result.insert(format!("{side}_remembered"), median(&again).into());
        }
        result.insert(side.into(), median(&first).into());
    }
    Ok(result.into())
}

fn ready_once(options: &Options, model: &str, side: &str, cache: &Path) -> Result<f64, Failed> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--models")
        .arg(&options.models)
        .args(["--only", model, "--load", side])
        .env("XDG_CACHE_HOME", cache)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let time = text.trim().parse();
    Ok(time.map_err(|_| format!("loading {model} in {side} failed"))?)
}

fn main() -> Result<(), Failed> {
    let began = Instant::now();
    let options = options()?;
    blockflow::engine::torch::tune_allocator();
    if let (Some(side), Some(model)) = (&options.load, &options.only) {
        return load(&options.models.join(model), side, began);
    }
    let mut result = Map::new();
    let wanted = |model: &&str| options.only.as_deref().is_none_or(|only| only == *model);
    for model in MODELS.into_iter().filter(wanted) {
        let mut figures = speed(&options, &options.models.join(model))?;
        figures.insert("ready_ms".into(), ready(&options, model)?);
        result.insert(model.into(), figures.into());
    }
    println!("{}", serde_json::to_string_pretty(&Value::from(result))?);
    Ok(())
}
