//! Conservation: clients with numbered inputs and known answers around the running program, while everything that may happen to it
//! does, in random order. However it goes,
//!
//! 1. every request is answered once;
//! 2. every answer belongs to its request;
//! 3. every answer was made by exactly one configuration, which was valid at that time;
//! 4. once the faults stop, everything is served again without help;
//! 5. memory, descriptors and processes return to where they were.
//!
//! `ORACLE_SEED` repeats a run's choices; `ORACLE_SECONDS` makes it a longer one.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blockflow::types::lock;

use crate::processes::workers;
use crate::support::files::{Files, chain_text, mock_text};
use crate::support::server::{Response, Server, infer_request, signal};
use crate::support::{Finally, from_environment, until};

const SECONDS: u64 = 60;
/// Lengths of the chain. No sum of parts of two of them is a third, so that a mix shows.
const LENGTHS: [usize; 3] = [2, 5, 9];
const CHAIN_CLIENTS: usize = 3;
const SLOW_CLIENTS_MAX: usize = 4;
/// Descriptors that connections which are being closed may hold still.
const DESCRIPTORS_SLACK: usize = 16;
/// What an allocator may keep.
const GROWTH_KIB_MAX: u64 = 96 << 10;

/// A configuration that may be served: from when it was written until another had taken its place.
struct Window {
    length: usize,
    from: Instant,
    until: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    right: AtomicU64,
    refused: AtomicU64,
}

/// What clients and faults know of each other.
struct World {
    files: Files,
    server: Server,
    windows: Mutex<Vec<Window>>,
    over: AtomicBool,
    chain: Counts,
    shaky: Counts,
    model: Counts,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Reload,
    BadReload,
    KillWorker,
    PauseWorker,
    Hangups,
    SlowClient,
    ConfigurationInPieces,
    TruncatedModel,
}

const FAULTS: [Fault; 8] = [
    Fault::Reload,
    Fault::BadReload,
    Fault::KillWorker,
    Fault::PauseWorker,
    Fault::Hangups,
    Fault::SlowClient,
    Fault::ConfigurationInPieces,
    Fault::TruncatedModel,
];

/// A chain whose first block has a process, a block that panics, and a real model.
fn configuration(length: usize) -> String {
    let restart =
        "restart = { budget = 1000, window_s = 1, backoff_min_ms = 1, backoff_max_ms = 20 }";
    let keys = |place| {
        let isolation = if place == 0 { "process" } else { "thread" };
        let beside = format!("{restart}\nisolation = \"{isolation}\"");
        [String::new(), beside]
    };
    let rest = format!(
        "{}[pipelines.shaky]\nflow = [\"shaky\"]\n\
         [blocks.model]\nmodel = \"model.onnx\"\n\
         [pipelines.model]\nflow = [\"model\"]\ndeadline_ms = 20000\n",
        mock_text(
            "shaky",
            ["x", "y"],
            "failure = { panic_every = 11 }",
            restart
        )
    );
    chain_text(length, &format!("t{length}"), keys, &rest)
}

fn model() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/digits/digits.onnx");
    fs::read(path).unwrap()
}

/// Returns the input of a request of the model, FP32 [1, 1, 8, 8].
fn image(number: u8) -> Vec<u8> {
    let pixels = (0..64_u32).map(|pixel| ((pixel * 7 + u32::from(number) * 13) % 17) as f32);
    pixels.flat_map(f32::to_le_bytes).collect()
}

/// The refusals that a client may get while blocks and processes fail.
fn check_refusal(response: &Response, counts: &Counts, allowed: &[u16]) {
    let told = response.text();
    assert!(
        allowed.contains(&response.status),
        "{}: {told}",
        response.head
    );
    let value: serde_json::Value = serde_json::from_str(&told).expect("a refusal says why");
    assert!(value["error"].as_str().is_some_and(|text| !text.is_empty()));
    counts.refused.fetch_add(1, Ordering::Relaxed);
}

impl World {
    fn over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Asks the chain once and checks the answer.
    fn ask_chain(&self, client: u8, number: u8) -> bool {
        let began = Instant::now();
        let input = [client, number, number.wrapping_mul(3), 200];
        let response = self.server.infer("p", "t0", "UINT8", &[1, 4], &input);
        let ended = Instant::now();
        if response.status != 200 {
            check_refusal(&response, &self.chain, &[503]);
            return false;
        }
        let answer: [u8; 4] = response.binary().try_into().unwrap();
        let length = answer[0].wrapping_sub(client);
        assert_eq!(
            answer,
            input.map(|byte| byte.wrapping_add(length)),
            "an answer to {input:?} that belongs to another request"
        );
        let windows = lock(&self.windows);
        let valid = |window: &&Window| {
            window.from <= ended && window.until.is_none_or(|until| until >= began)
        };
        let lengths: Vec<_> = windows
            .iter()
            .filter(valid)
            .map(|window| window.length)
            .collect();
        assert!(
            lengths.contains(&length.into()),
            "{length} blocks answered, valid were {lengths:?}"
        );
        self.chain.right.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn ask_shaky(&self, number: u8) -> bool {
        let response = self
            .server
            .infer("shaky", "x", "UINT8", &[1, 4], &[number, 0, 1, 2]);
        if response.status != 200 {
            check_refusal(&response, &self.shaky, &[500, 503]);
            return false;
        }
        let expected = [number.wrapping_add(1), 1, 2, 3];
        assert_eq!(response.binary(), expected);
        self.shaky.right.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn ask_model(&self, number: u8) -> Vec<u8> {
        let response = self
            .server
            .infer("model", "image", "FP32", &[1, 1, 8, 8], &image(number));
        assert_eq!(response.status, 200, "{}", response.text());
        self.model.right.fetch_add(1, Ordering::Relaxed);
        response.binary().to_vec()
    }

    /// Has the server look at its files, and waits until it has.
    fn settle(&self) -> Response {
        self.server.load("p")
    }

    /// Has another configuration served, by one of the ways that lead there.
    fn change(&self, random: &mut fastrand::Rng, write: impl FnOnce(&str)) {
        self.change_to(random.choice(LENGTHS).unwrap(), |text| {
            write(text);
            if random.bool() {
                self.server.signal("HUP");
            }
        });
    }

    fn change_to(&self, length: usize, write: impl FnOnce(&str)) {
        lock(&self.windows).push(Window {
            length,
            from: Instant::now(),
            until: None,
        });
        write(&configuration(length));
        let settled = self.settle();
        assert_eq!(settled.status, 200, "{}", settled.text());
        let now = Instant::now();
        let mut windows = lock(&self.windows);
        let last = windows.len() - 1;
        for window in &mut windows[..last] {
            window.until.get_or_insert(now);
        }
    }

    /// Returns the length of the chain that is served.
    fn length(&self) -> usize {
        let windows = lock(&self.windows);
        windows.last().expect("there is one from the start").length
    }

    fn worker(&self, random: &mut fastrand::Rng) -> Option<u32> {
        random.choice(workers(self.server.id()))
    }

    fn inflict(&self, fault: Fault, random: &mut fastrand::Rng, slow: &mut Vec<TcpStream>) {
        match fault {
            Fault::Reload => {
                self.change(random, |text| {
                    self.files.put("blocks.toml", text.as_bytes())
                });
            }
            Fault::BadReload => {
                let good = fs::read(self.files.path()).unwrap();
                let bad = random.choice([
                    "",
                    "[blocks",
                    "[pipelines.p]\nflow = [\"nowhere\"]\n",
                    "[blocks.b0]\nmodel = \"nowhere.onnx\"\n[pipelines.p]\nflow = [\"b0\"]\n",
                ]);
                self.files.put("blocks.toml", bad.unwrap().as_bytes());
                assert_eq!(self.settle().status, 400);
                self.files.put("blocks.toml", &good);
                assert_eq!(self.settle().status, 200);
            }
            Fault::KillWorker => {
                if let Some(worker) = self.worker(random) {
                    signal(worker, "KILL");
                }
            }
            Fault::PauseWorker => {
                if let Some(worker) = self.worker(random) {
                    signal(worker, "STOP");
                    thread::sleep(Duration::from_millis(random.u64(1..300)));
                    signal(worker, "CONT");
                }
            }
            Fault::Hangups => (0..30).for_each(|_| self.server.signal("HUP")),
            Fault::SlowClient => {
                if slow.len() == SLOW_CLIENTS_MAX {
                    slow.swap_remove(random.usize(..SLOW_CLIENTS_MAX));
                }
                let request = infer_request("p", "t0", "UINT8", &[1, 4], &[1; 4]);
                let mut stream = self.server.connect();
                let part = random.usize(1..request.len());
                stream.write_all(&request[..part]).unwrap();
                slow.push(stream);
            }
            Fault::ConfigurationInPieces => self.change(random, |text| {
                let path = self.files.path();
                let (half, _) = text.split_at(text.len() / 2);
                fs::write(&path, half).unwrap();
                thread::sleep(Duration::from_millis(300));
                fs::write(&path, text).unwrap();
            }),
            Fault::TruncatedModel => {
                let whole = model();
                self.files.put("model.onnx", &whole[..whole.len() / 2]);
                assert_eq!(self.settle().status, 400);
                self.files.put("model.onnx", &whole);
                assert_eq!(self.settle().status, 200);
            }
        }
    }

    fn descriptors(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.server.id()));
        files.unwrap().count()
    }
}

#[test]
fn whatever_happens_requests_are_conserved() {
    let seed = from_environment("ORACLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = from_environment("ORACLE_SECONDS").unwrap_or(SECONDS);
    println!("ORACLE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let files = Files::new(&configuration(LENGTHS[0]));
    files.put("model.onnx", &model());
    let server = Server::start(&files.path());
    let world = World {
        windows: Mutex::new(vec![Window {
            length: LENGTHS[0],
            from: Instant::now(),
            until: None,
        }]),
        files,
        server,
        over: AtomicBool::new(false),
        chain: Counts::default(),
        shaky: Counts::default(),
        model: Counts::default(),
    };
    let known: Vec<_> = (0..8).map(|number| world.ask_model(number)).collect();
    let (mut warm, mut done) = (None, String::new());
    thread::scope(|scope| {
        let _guard = Finally(&world.over);
        let (world, known) = (&world, &known);
        for client in 0..CHAIN_CLIENTS {
            scope.spawn(move || {
                for number in (0..=u8::MAX).cycle().take_while(|_| !world.over()) {
                    world.ask_chain(client as u8, number);
                }
            });
        }
        scope.spawn(move || {
            for number in (0..=u8::MAX).cycle().take_while(|_| !world.over()) {
                world.ask_shaky(number);
            }
        });
        scope.spawn(move || {
            for number in (0..8).cycle().take_while(|_| !world.over()) {
                assert_eq!(world.ask_model(number), known[usize::from(number)]);
            }
        });
        let started = Instant::now();
        let mut slow = Vec::new();
        while started.elapsed().as_secs() < seconds {
            let fault = random.choice(FAULTS).unwrap();
            write!(done, "{fault:?} ").unwrap();
            world.inflict(fault, &mut random, &mut slow);
            thread::sleep(Duration::from_millis(random.u64(0..120)));
            if warm.is_none() && started.elapsed().as_secs() * 3 > seconds {
                let (descriptors, resident) = (world.descriptors(), world.server.resident_kib());
                warm = Some((world.length(), descriptors, resident));
            }
        }
    });
    println!("{done}");
    for (name, counts) in [
        ("chain", &world.chain),
        ("shaky", &world.shaky),
        ("model", &world.model),
    ] {
        let [right, refused] =
            [&counts.right, &counts.refused].map(|count| count.load(Ordering::Relaxed));
        println!("{name}: {right} answered, {refused} refused");
        assert!(
            right > refused,
            "{name}: {right} answered, {refused} refused"
        );
    }
    until("everything is served again", || {
        world.server.get("/v2/health/ready").status == 200
            && world.ask_chain(1, 1)
            && world.ask_shaky(1)
    });
    assert_eq!(world.ask_model(3), known[3]);
    let (length, descriptors, resident) = warm.expect("a third of the time has passed");
    // A longer chain has more of them.
    world.change_to(length, |text| {
        world.files.put("blocks.toml", text.as_bytes());
    });
    until("descriptors are back", || {
        world.descriptors() <= descriptors + DESCRIPTORS_SLACK
    });
    until("one worker is left", || {
        workers(world.server.id()).len() == 1
    });
    let now = world.server.resident_kib();
    println!("descriptors {descriptors}, resident {resident} KiB, then {now} KiB");
    assert!(
        now < resident + GROWTH_KIB_MAX,
        "{resident} KiB, then {now} KiB"
    );
    world.server.stop();
}
