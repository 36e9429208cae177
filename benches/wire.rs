//! What narrowing and compressing payloads saves, what it takes, and below which rate of a link that pays. Writes JSON to
//! stdout.
//!
//! Payloads are activations of a ResNet-50 at tensors where one edge cuts it, from 0.8 to 3.2 MB, and random numbers of such
//! sizes. The weights are random too, so that how many of the activations are zero is a little more like chance than in a
//! trained network. Encodings take turns in every round; times are medians, of encoding and decoding on one thread each.
//! A second saved on the wire is worth a second of both: an encoding pays on a link of fewer Mbit/s than the bits it
//! saves, divided by the time that it takes. A stage that is not the bottleneck of a pipeline pays less.
//!
//! `cargo bench --bench wire -- --model FILE [--rounds N]`; scripts/bench makes the model and keeps the result.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use blockflow::engine::{BlockSource, Session, prepare};
use blockflow::graph::Graph;
use blockflow::tensormq::{PayloadEncoder, decode_payload};
use blockflow::types::{DType, Device, Encoding, GraphEngine, HostMemory, Passes, Tensor};
use serde_json::{Value, json};

const CUTS: [&str; 4] = ["stem_relu", "layer1_out", "layer2_out", "layer3_out"];
const RANDOM: [usize; 2] = [200 << 10, 800 << 10];

type Failed = Box<dyn std::error::Error>;

struct Options {
    model: PathBuf,
    rounds: usize,
}

fn options() -> Result<Options, Failed> {
    let mut options = Options {
        model: PathBuf::new(),
        rounds: 101,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--model" => options.model = value()?.into(),
            "--rounds" => options.rounds = value()?.parse()?,
            // Cargo says so to every benchmark.
            "--bench" => {}
            _ => return Err(format!("unknown argument {word}").into()),
        }
    }
    if !options.model.is_file() {
        let model = &options.model;
        return Err(format!("no model at {model:?}; run scripts/bench, which makes one").into());
    }
    options.rounds = options.rounds.max(1);
    Ok(options)
}

fn session(graph: &Graph) -> Result<Box<dyn Session>, Failed> {
    let source = BlockSource::Graph {
        graph,
        signature: graph.signature()?,
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    Ok(prepare(source, 1, Device::Cpu)?.session()?)
}

/// Returns the activations at the cuts, for an image that is smooth with some noise.
fn activations(options: &Options) -> Result<Vec<(String, Tensor)>, Failed> {
    let mut random = fastrand::Rng::with_seed(3);
    let pixel = |index: usize| {
        let (row, column) = (index / 224 % 224, index % 224);
        let smooth = (row as f32 / 30.0).sin() + (column as f32 / 17.0).cos();
        (smooth + random.f32() / 4.0).to_le_bytes()
    };
    let pixels: Vec<u8> = (0..3 * 224 * 224).flat_map(pixel).collect();
    let mut tensor = Tensor::copy_of(DType::F32, vec![1, 3, 224, 224], &pixels)?;
    let graph = Graph::read(&options.model)?;
    let segments = graph.chain(&CUTS.map(str::to_owned))?;
    let mut found = Vec::new();
    for (name, segment) in CUTS.into_iter().zip(&segments) {
        let outputs = session(segment)?.run(&[tensor])?;
        tensor = outputs
            .into_iter()
            .next()
            .ok_or("a segment without output")?;
        found.push((format!("resnet50 {name}"), tensor.clone()));
    }
    Ok(found)
}

/// Normally distributed numbers, none of them alike.
fn noise(elements: usize) -> Result<Tensor, Failed> {
    let mut random = fastrand::Rng::with_seed(5);
    let number = |_| {
        let (radius, angle) = (1.0 - random.f64(), random.f64() * std::f64::consts::TAU);
        (((-2.0 * radius.ln()).sqrt() * angle.cos()) as f32).to_le_bytes()
    };
    let bytes: Vec<u8> = (0..elements).flat_map(number).collect();
    Ok(Tensor::copy_of(DType::F32, vec![1, elements], &bytes)?)
}

/// One encoding of one payload.
struct Side {
    encoding: Encoding,
    encoder: PayloadEncoder,
    payload: Vec<u8>,
    encode: Vec<f64>,
    decode: Vec<f64>,
}

impl Side {
    fn turn(&mut self, tensor: &Tensor) -> Result<(), Failed> {
        let began = Instant::now();
        let payload = self.encoder.encode(tensor, self.encoding);
        self.encode.push(began.elapsed().as_secs_f64());
        self.payload = payload.ok_or("an encoding that does not fit")?;
        let began = Instant::now();
        let (dtype, shape) = (tensor.dtype(), tensor.shape());
        let decoded = decode_payload(&self.payload, dtype, shape, self.encoding)?;
        black_box(decoded.bytes());
        self.decode.push(began.elapsed().as_secs_f64());
        Ok(())
    }

    fn told(mut self, tensor: &Tensor) -> Value {
        let [encode, decode] = [&mut self.encode[..], &mut self.decode].map(median);
        let (plain, encoded) = (tensor.byte_count() as f64, self.payload.len() as f64);
        let saved = plain - encoded;
        let pays_below = (saved > 0.0).then(|| saved * 8.0 / (encode + decode) / 1e6);
        json!({
            "encoding": self.encoding.to_string(),
            "ratio": rounded(encoded / plain, 1e3),
            "encode_us": rounded(encode * 1e6, 1.0),
            "decode_us": rounded(decode * 1e6, 1.0),
            "pays_below_mbit_s": pays_below.map(|rate| rounded(rate, 1.0)),
        })
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn rounded(value: f64, places: f64) -> f64 {
    (value * places).round() / places
}

fn measure(name: &str, tensor: &Tensor, rounds: usize) -> Result<Value, Failed> {
    // The elements are put in order when somebody first asks, which is not to count.
    let (elements, _) = tensor.bytes().as_chunks();
    let zeros = elements
        .iter()
        .filter(|element| **element == [0; 4])
        .count();
    let encodings = Encoding::ALL.into_iter().filter(|one| !one.is_plain());
    let mut sides: Vec<_> = encodings
        .map(|encoding| Side {
            encoding,
            encoder: PayloadEncoder::default(),
            payload: Vec::new(),
            encode: Vec::new(),
            decode: Vec::new(),
        })
        .collect();
    for round in 0..=rounds {
        for side in &mut sides {
            side.turn(tensor)?;
            if round == 0 {
                // It was for the caches.
                side.encode.clear();
                side.decode.clear();
            }
        }
    }
    let sides: Vec<_> = sides.into_iter().map(|side| side.told(tensor)).collect();
    Ok(json!({
        "tensor": name,
        "bytes": tensor.byte_count(),
        "zeros": rounded(zeros as f64 / elements.len().max(1) as f64, 1e2),
        "encodings": sides,
    }))
}

fn main() -> Result<(), Failed> {
    let options = options()?;
    let mut tensors = activations(&options)?;
    for elements in RANDOM {
        tensors.push(("random".to_owned(), noise(elements)?));
    }
    let told: Result<Vec<_>, Failed> = tensors
        .iter()
        .map(|(name, tensor)| measure(name, tensor, options.rounds))
        .collect();
    let page = json!({ "rounds": options.rounds, "payloads": told? });
    println!("{}", serde_json::to_string_pretty(&page)?);
    Ok(())
}
