//! The real binary, serving; and just enough of an HTTP client to speak to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use tempfile::TempDir;

use super::WATCHDOG;

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_blockflow");

/// Variable that says where states of servers are kept.
pub(crate) const STATES: &str = "XDG_STATE_HOME";

/// A running `blockflow run`, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Mutex<Receiver<String>>,
    /// Where it keeps its state, unless it was told otherwise; goes with it.
    _state: Option<TempDir>,
}

/// Status line, headers and body of one response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Server {
    /// Starts on a free port and waits until it listens.
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts with more arguments, and waits until it listens or, on a host without the gateway, until its blocks run.
    /// Then it has no address to ask.
    pub(crate) fn start_with(config: &Path, arguments: &[&str]) -> Self {
        Self::try_start(Command::new(BINARY), config, arguments)
            .unwrap_or_else(|told| panic!("the server ended: {told}"))
    }

    /// Starts the program by a command that may be another one, which ends in its path. Returns what it told if it ended
    /// before it served.
    pub(crate) fn try_start(
        mut command: Command,
        config: &Path,
        arguments: &[&str],
    ) -> Result<Self, String> {
        command
            .arg("run")
            .arg(config)
            .args(["--http", "127.0.0.1:0"])
            .args(arguments);
        let placed = command.get_envs().any(|(name, _)| name == STATES);
        let state = (!placed).then(|| tempfile::tempdir().unwrap());
        if let Some(state) = &state {
            command.env(STATES, state.path());
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = collect(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = stdout.by_ref().map_while(Result::ok).find_map(|line| {
            if line.starts_with("running blocks") {
                return Some(([0, 0, 0, 0], 0).into());
            }
            line.split("http://")
                .nth(1)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        std::thread::spawn(move || stdout.for_each(drop));
        let Some(address) = address else {
            let status = child.wait().unwrap();
            let told: Vec<_> = log.iter().collect();
            return Err(format!("{status}: {}", told.join("\n")));
        };
        Ok(Self {
            child,
            address,
            log: Mutex::new(log),
            _state: state,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(self.id(), name));
    }

    /// Waits for the end; returns the status and what was logged.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (
                    status,
                    self.log
                        .get_mut()
                        .unwrap()
                        .iter()
                        .collect::<Vec<_>>()
                        .join("\n"),
                );
            }
            assert!(started.elapsed() < WATCHDOG, "the server does not end");
            std::thread::yield_now();
        }
    }

    /// Has it stop, and waits for its end; returns what was logged.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let (status, log) = self.wait();
        assert!(status.success(), "{status}: {log}");
        log
    }

    /// Returns one sample of the metrics page, by a name without labels or with all of them.
    pub(crate) fn sample<T: FromStr>(&self, name: &str) -> Option<T> {
        let page = self.get("/metrics").text();
        let labels = if name.contains('{') { "" } else { "{}" };
        let mut lines = page.lines();
        let value = lines.find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(labels)?
                .strip_prefix(' ')
        });
        value.map(|value| {
            let read = value.parse();
            read.unwrap_or_else(|_| panic!("{name} is {value}"))
        })
    }

    /// Likewise of one that must be there.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        self.sample(name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        let mut stream = self.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        read_response(stream).unwrap()
    }

    /// Posts an inference request with one binary FP32 or UINT8 input and asks for binary outputs.
    pub(crate) fn infer(
        &self,
        pipeline: &str,
        input: &str,
        datatype: &str,
        shape: &[usize],
        data: &[u8],
    ) -> Response {
        let mut stream = self.connect();
        stream
            .write_all(&infer_request(pipeline, input, datatype, shape, data))
            .unwrap();
        read_response(stream).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        let mut stream = self.connect();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        read_response(stream).unwrap()
    }

    /// Asks for a reload and waits for what becomes of it.
    pub(crate) fn load(&self, pipeline: &str) -> Response {
        self.post(&format!("/v2/repository/models/{pipeline}/load"), "")
    }

    /// Returns the number of the configuration that is served.
    pub(crate) fn epoch(&self) -> u32 {
        self.sample("blockflow_epoch").expect("an epoch is served")
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream
    }

    /// Returns the resident set in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Response {
    /// Returns the bytes behind the JSON part.
    pub(crate) fn binary(&self) -> &[u8] {
        let length = self
            .head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("inference-header-content-length:")
                    .map(str::to_owned)
            })
            .expect("a binary response");
        &self.body[length.trim().parse::<usize>().unwrap()..]
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal; tells whether there was such a process.
pub(crate) fn signal(process: u32, name: &str) -> bool {
    let mut kill = Command::new("kill");
    kill.args(["-s", name, &process.to_string()]);
    kill.stderr(Stdio::null()).status().unwrap().success()
}

pub(crate) fn infer_request(
    pipeline: &str,
    input: &str,
    datatype: &str,
    shape: &[usize],
    data: &[u8],
) -> Vec<u8> {
    let json = format!(
        "{{\"inputs\":[{{\"name\":{input:?},\"datatype\":{datatype:?},\"shape\":{shape:?},\
         \"parameters\":{{\"binary_data_size\":{}}}}}],\"parameters\":{{\"binary_data_output\":true}}}}",
        data.len()
    );
    let head = format!(
        "POST /v2/models/{pipeline}/infer HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/octet-stream\r\ninference-header-content-length: {}\r\ncontent-length: {}\r\n\r\n",
        json.len(),
        json.len() + data.len()
    );
    [head.as_bytes(), json.as_bytes(), data].concat()
}

/// Reads until the peer closes.
pub(crate) fn read_response(mut stream: TcpStream) -> std::io::Result<Response> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        return Err(std::io::Error::other(format!(
            "no response, only {} bytes",
            bytes.len()
        )));
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    Ok(Response {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    })
}

fn collect(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, log) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| lines.send(line))
    });
    log
}
