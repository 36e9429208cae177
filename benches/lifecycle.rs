//! What clients notice while a model is replaced under them, and what a server does that nobody asks anything. Writes JSON to
//! stdout.
//!
//! ResNet-50 in five blocks, served by the program; one client asks again as soon as it has its answer. Quiet stretches and
//! swaps take turns: another version of the model is renamed over the one that is served, and either the server finds
//! it by itself or is asked to look at once. A request belongs to a swap if it was on its way between the rename and the
//! first answer of the new version, or in the settling after it.
//!
//! `cargo bench --bench lifecycle -- --model FILE --other FILE [--rounds N]`; scripts/bench makes the models and keeps the result.

mod split;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use split::{Server, configuration};

const INPUT_BYTES: usize = 3 * 224 * 224 * 4;
const QUIET: Duration = Duration::from_secs(3);
/// How long after the first answer of a new version the swap counts as going on: the old epoch is freed meanwhile.
const SETTLING: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(60);

type Failed = Box<dyn std::error::Error + Send + Sync>;

struct Options {
    versions: [PathBuf; 2],
    rounds: usize,
}

fn options() -> Result<Options, Failed> {
    let mut versions = [PathBuf::new(), PathBuf::new()];
    let mut rounds = 20;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--model" => versions[0] = fs::canonicalize(value()?)?,
            "--other" => versions[1] = fs::canonicalize(value()?)?,
            "--rounds" => rounds = value()?.parse()?,
            // Cargo says so to every benchmark.
            "--bench" => {}
            _ => return Err(format!("unknown argument {word}").into()),
        }
    }
    Ok(Options { versions, rounds })
}

/// A request that was answered.
struct Answer {
    began: Instant,
    ended: Instant,
    body: Vec<u8>,
}

/// One connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn post(&mut self, path: &str, extra: &str, body: &[u8]) -> Result<Vec<u8>, Failed> {
        self.ask("POST", path, extra, body)
    }

    /// Returns a sample of the metrics that has no labels.
    fn metric(&mut self, name: &str) -> Result<f64, Failed> {
        let page = String::from_utf8(self.ask("GET", "/metrics", "", b"")?)?;
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix("{} "));
        Ok(value.ok_or(format!("no {name}"))?.parse()?)
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        extra: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, Failed> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\n{extra}content-length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut status = String::new();
        self.0.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        if !status.contains(" 200 ") {
            return Err(format!("{}: {}", status.trim(), String::from_utf8_lossy(&answer)).into());
        }
        Ok(answer)
    }

    fn infer(&mut self, input: &[u8]) -> Result<Answer, Failed> {
        let json = format!(
            "{{\"inputs\":[{{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[1,3,224,224],\
             \"parameters\":{{\"binary_data_size\":{INPUT_BYTES}}}}}],\"parameters\":{{\"binary_data_output\":true}}}}"
        );
        let extra = format!("inference-header-content-length: {}\r\n", json.len());
        let began = Instant::now();
        let body = self.post(
            "/v2/models/resnet50/infer",
            &extra,
            &[json.as_bytes(), input].concat(),
        )?;
        // Numbers of requests differ; the tensor comes last.
        let body = body[body.len().saturating_sub(4000)..].to_vec();
        Ok(Answer {
            began,
            ended: Instant::now(),
            body,
        })
    }
}

impl Server {
    /// Seconds of processor time so far, of all its threads.
    fn processor(&self) -> Result<f64, Failed> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse().unwrap_or(0)).sum();
        // Linux counts in hundredths of a second for everybody, whatever its own clock.
        Ok(ticks as f64 / 100.0)
    }

    fn resident_mb(&self) -> Result<f64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kib.ok_or("no VmRSS")?.parse::<f64>()? * 1024.0 / 1e6)
    }
}

/// The value that so many of a hundred are not above.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

fn summary(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    json!({
        "count": values.len(),
        "median": percentile(&values, 50.0),
        "p90": percentile(&values, 90.0),
        "p99": percentile(&values, 99.0),
        "max": values.last(),
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Has another version take the place of the one that is served.
struct Swapper<'a> {
    served: &'a Path,
    versions: &'a [PathBuf; 2],
    answers: &'a Mutex<Vec<Answer>>,
    address: &'a str,
}

/// One swap, as it went.
struct Swap {
    began: Instant,
    ended: Instant,
    first_answer: Duration,
    /// How long the request for a reload took, where there was one.
    asked: Option<Duration>,
    /// How long having requests begin in it took, as the server says.
    switched: f64,
}

impl Swapper<'_> {
    fn swap(&self, version: usize, asking: bool) -> Result<Swap, Failed> {
        let beside = self.served.with_extension("new");
        fs::copy(&self.versions[version], &beside)?;
        let old = self.last().ok_or("no answer yet")?;
        let began = Instant::now();
        fs::rename(&beside, self.served)?;
        let mut asked = None;
        if asking {
            let mut client = Client::connect(self.address)?;
            client.post("/v2/repository/models/resnet50/load", "", b"")?;
            asked = Some(began.elapsed());
        }
        loop {
            let answers = lock(self.answers);
            let new = answers
                .iter()
                .rev()
                .take_while(|answer| answer.ended > began);
            let first = new.filter(|answer| answer.body != old).last();
            let first = first.map(|answer| answer.ended);
            drop(answers);
            if let Some(ended) = first {
                return Ok(Swap {
                    began,
                    ended: ended + SETTLING,
                    first_answer: ended - began,
                    asked,
                    switched: Client::connect(self.address)?
                        .metric("blockflow_reload_switch_seconds")?,
                });
            }
            if began.elapsed() > LIMIT {
                return Err("the new version is not served".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn last(&self) -> Option<Vec<u8>> {
        lock(self.answers).last().map(|answer| answer.body.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

fn main() -> Result<(), Failed> {
    let options = options()?;
    let folder = tempfile::tempdir()?;
    let served = folder.path().join("resnet50.onnx");
    let config = folder.path().join("blocks.toml");
    fs::copy(&options.versions[0], &served)?;
    fs::write(&config, configuration(&served, false))?;
    let server = Server::start(&config)?;
    let before = server.processor()?;
    thread::sleep(IDLE);
    let idle = (server.processor()? - before) / IDLE.as_secs_f64();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let over = Arc::new(AtomicBool::new(false));
    let asking = {
        let (answers, over, address) = (answers.clone(), over.clone(), server.address.clone());
        thread::spawn(move || -> Result<(), Failed> {
            let mut client = Client::connect(&address)?;
            let numbers = (0..INPUT_BYTES / 4).map(|index| (index % 255) as f32 / 255.0);
            let input: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
            while !over.load(Ordering::Relaxed) {
                let answer = client.infer(&input)?;
                lock(&answers).push(answer);
            }
            Ok(())
        })
    };
    let swapper = Swapper {
        served: &served,
        versions: &options.versions,
        answers: &answers,
        address: &server.address,
    };
    thread::sleep(QUIET);
    let resident_before = server.resident_mb()?;
    let started = Instant::now();
    let mut swaps = Vec::new();
    for round in 0..options.rounds {
        thread::sleep(QUIET);
        if asking.is_finished() {
            break;
        }
        swaps.push(swapper.swap((round + 1) % 2, round % 2 == 1)?);
        thread::sleep(SETTLING);
    }
    over.store(true, Ordering::Relaxed);
    asking.join().map_err(|_| "the client panicked")??;
    let resident_after = server.resident_mb()?;
    let (mut quiet, mut swapping) = (Vec::new(), Vec::new());
    for answer in lock(&answers)
        .iter()
        .filter(|answer| answer.began > started)
    {
        let took = milliseconds(answer.ended - answer.began);
        let meets = |swap: &Swap| answer.began < swap.ended && answer.ended > swap.began;
        let side = if swaps.iter().any(meets) {
            &mut swapping
        } else {
            &mut quiet
        };
        side.push(took);
    }
    let [quiet, swapping] = [quiet, swapping].map(summary);
    let over = |what: &str| {
        swapping[what]
            .as_f64()
            .zip(quiet[what].as_f64())
            .map(|(a, b)| a / b)
    };
    let found = swaps.iter().filter(|swap| swap.asked.is_none());
    let first = found.map(|swap| milliseconds(swap.first_answer)).collect();
    let asked = swaps
        .iter()
        .filter_map(|swap| swap.asked.map(milliseconds))
        .collect();
    let result = json!({
        "network": "resnet50, batch 1, FP32, 5 blocks, 1 thread per block, one client",
        "cores": thread::available_parallelism()?.get(),
        "latency_ms_quiet": quiet,
        "latency_ms_while_swapping": swapping,
        "swapping_over_quiet": { "median": over("median"), "p99": over("p99"), "max": over("max") },
        "rename_to_first_answer_ms": summary(first),
        "asked_to_applied_ms": summary(asked),
        "switch_ms": summary(swaps.iter().map(|swap| swap.switched * 1e3).collect()),
        "idle_share_of_a_core": idle,
        "resident_mb": { "before": resident_before, "after": resident_after },
    });
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
