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
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blockflow::types::lock;

use crate::processes::workers;
use crate::support::files::{Files, chain_text, mock_text};
use crate::support::server::{BINARY, Response, Server, infer_request, signal};
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
    /// In the order of [`SHAKY`].
    shaky: [Counts; SHAKY.len()],
    model: Counts,
    /// Configurations that were written.
    written: AtomicU64,
}

/// Pipelines of one block that fails now and then: it panics, its device has no memory, and its device is lost, which costs the
/// process that it lives in.
const SHAKY: [&str; 3] = ["panics", "full", "lost"];

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
    Rollback,
    Swap,
    Unload,
    BrokenHistory,
}

const FAULTS: [Fault; 12] = [
    Fault::Reload,
    Fault::BadReload,
    Fault::KillWorker,
    Fault::PauseWorker,
    Fault::Hangups,
    Fault::SlowClient,
    Fault::ConfigurationInPieces,
    Fault::TruncatedModel,
    Fault::Rollback,
    Fault::Swap,
    Fault::Unload,
    Fault::BrokenHistory,
];

/// A chain whose first block has a process, blocks that fail, and a real model. `number` is different from all others.
fn configuration(length: usize, number: u64) -> String {
    let restart =
        "restart = { budget = 1000, window_s = 1, backoff_min_ms = 1, backoff_max_ms = 20 }";
    let keys = |place| {
        let isolation = if place == 0 { "process" } else { "thread" };
        let beside = format!("{restart}\nisolation = \"{isolation}\"");
        [String::new(), beside]
    };
    let mut rest = format!(
        "[blocks.model]\nmodel = \"model.onnx\"\n\
         [pipelines.model]\nflow = [\"model\"]\ndeadline_ms = 20000\n\
         [limits]\nin_flight_max = {}\n\
         [devices.\"sim:0\"]\nfaults = [{{ at = \"run\", kind = \"out_of_memory\", every = 13 }}]\n",
        1000 + number
    );
    for (name, failure, place) in [
        (SHAKY[0], "failure = { panic_every = 11 }", ""),
        (SHAKY[1], "", "device = \"sim:0\""),
        (
            SHAKY[2],
            "failure = { lost_device_every = 97 }",
            "isolation = \"process\"",
        ),
    ] {
        let beside = format!("{restart}\n{place}");
        rest += &mock_text(name, ["x", "y"], failure, &beside);
        rest += &format!("[pipelines.{name}]\nflow = [\"{name}\"]\ndeadline_ms = 20000\n");
    }
    chain_text(length, &format!("t{length}"), keys, &rest)
}

/// Configurations that nobody can serve.
fn bad(good: &str, random: &mut fastrand::Rng) -> String {
    let warm = "warm = [{ x = [1, 4] }]";
    let panics = mock_text("b", ["x", "y"], "failure = { panic_every = 1 }", warm);
    let bad = random.choice([
        String::new(),
        "[blocks".to_owned(),
        "[pipelines.p]\nflow = [\"nowhere\"]\n".to_owned(),
        "[blocks.b0]\nmodel = \"nowhere.onnx\"\n[pipelines.p]\nflow = [\"b0\"]\n".to_owned(),
        format!("{good}{panics}[pipelines.b]\nflow = [\"b\"]\n"),
    ]);
    bad.unwrap()
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

    fn ask_shaky(&self, place: usize, number: u8) -> bool {
        let name = SHAKY[place];
        let input = [number, 0, 1, 2];
        let response = self.server.infer(name, "x", "UINT8", &[1, 4], &input);
        if response.status != 200 {
            if response.status == 404 {
                // It is unloaded.
                thread::sleep(Duration::from_millis(5));
            } else {
                check_refusal(&response, &self.shaky[place], &[500, 503]);
            }
            return false;
        }
        assert_eq!(response.binary(), [number.wrapping_add(1), 1, 2, 3]);
        self.shaky[place].right.fetch_add(1, Ordering::Relaxed);
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

    /// From now on a configuration may be served.
    fn open(&self, length: usize) {
        lock(&self.windows).push(Window {
            length,
            from: Instant::now(),
            until: None,
        });
    }

    /// Gives the server a command. Tells whether it was done.
    fn command(&self, words: &[&str]) -> bool {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(self.files.path());
        let output = command.arg("--state").arg(self.state()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        assert!(!told.contains("shutting down"), "{told}");
        output.status.success()
    }

    fn state(&self) -> PathBuf {
        self.files.at("state")
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
        self.open(length);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        write(&configuration(length, number));
        let settled = self.settle();
        assert_eq!(settled.status, 200, "{}", settled.text());
        let now = Instant::now();
        let mut windows = lock(&self.windows);
        let last = windows.len() - 1;
        for window in &mut windows[..last] {
            window.until.get_or_insert(now);
        }
    }

    /// Has the longest chain served, as what is held is compared between chains of one length only.
    fn stretch(&self) {
        self.change_to(LENGTHS[2], |text| {
            self.files.put("blocks.toml", text.as_bytes());
        });
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
                let good = fs::read_to_string(self.files.path()).unwrap();
                self.files.put("blocks.toml", bad(&good, random).as_bytes());
                let refused = self.settle();
                assert_eq!(refused.status, 400, "{}", refused.text());
                self.files.put("blocks.toml", good.as_bytes());
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
            Fault::Rollback => {
                // Whichever was served before.
                LENGTHS.iter().for_each(|&length| self.open(length));
                self.command(&["rollback"]);
                self.change(random, |text| {
                    self.files.put("blocks.toml", text.as_bytes())
                });
                // The epoch of before may have been one without it.
                for name in SHAKY {
                    assert_eq!(self.server.load(name).status, 200);
                }
            }
            Fault::Swap => {
                let file = self.files.at("other.onnx");
                assert!(self.command(&["swap", "model", file.to_str().unwrap(), "--pin"]));
                assert!(self.command(&["swap", "model", "--unpin"]));
            }
            Fault::Unload => {
                let name = random.choice(SHAKY).unwrap();
                let path = format!("/v2/repository/models/{name}/unload");
                let unloaded = self.server.post(&path, "");
                assert_eq!(unloaded.status, 200, "{}", unloaded.text());
                let loaded = self.server.load(name);
                assert_eq!(loaded.status, 200, "{}", loaded.text());
            }
            Fault::BrokenHistory => {
                let [epochs, away] = ["epochs", "away"].map(|name| self.state().join(name));
                fs::rename(&epochs, &away).unwrap();
                fs::write(&epochs, "no directory").unwrap();
                self.change(random, |text| {
                    self.files.put("blocks.toml", text.as_bytes())
                });
                fs::remove_file(&epochs).unwrap();
                fs::rename(&away, &epochs).unwrap();
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
    let files = Files::new(&configuration(LENGTHS[0], 0));
    files.put("model.onnx", &model());
    files.put("other.onnx", &model());
    let state = files.at("state").display().to_string();
    let server = Server::start_with(&files.path(), &["--state", &state]);
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
        shaky: Default::default(),
        model: Counts::default(),
        written: AtomicU64::new(1),
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
        for place in 0..SHAKY.len() {
            scope.spawn(move || {
                for number in (0..=u8::MAX).cycle().take_while(|_| !world.over()) {
                    world.ask_shaky(place, number);
                }
            });
        }
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
                world.stretch();
                warm = Some((world.descriptors(), world.server.resident_kib()));
            }
        }
    });
    println!("{done}");
    let all = [("chain", &world.chain), ("model", &world.model)];
    for (name, counts) in all.into_iter().chain(SHAKY.into_iter().zip(&world.shaky)) {
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
            && (0..SHAKY.len()).all(|place| world.ask_shaky(place, 1))
    });
    assert_eq!(world.ask_model(3), known[3]);
    let (descriptors, resident) = warm.expect("a third of the time has passed");
    world.stretch();
    until("descriptors are back", || {
        world.descriptors() <= descriptors + DESCRIPTORS_SLACK
    });
    until("the workers of one epoch are left", || {
        workers(world.server.id()).len() == 2
    });
    let now = world.server.resident_kib();
    println!("descriptors {descriptors}, resident {resident} KiB, then {now} KiB");
    assert!(
        now < resident + GROWTH_KIB_MAX,
        "{resident} KiB, then {now} KiB"
    );
    world.server.stop();
}
