//! What the tests of the HTTP front end share: a backend double, a server around it, and a client that speaks raw TCP.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use blockflow::actors::{InferReply, InferRequest, PipelineInfo, PipelineState};
use blockflow::serve::{Backend, Front, HttpOptions, HttpTimeouts, ServeError, StopHandle, bind};
use blockflow::types::{
    DType, Dim, Failure, FailureKind, ShapeSpec, Signature, Tensor, TensorSpec,
};

/// Longest that anything here waits; reaching it is a failure, not a measurement.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// What happened to requests behind the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Submitted {
        deadline: Option<Duration>,
    },
    /// A reply that was never given was dropped.
    Dropped,
}

/// Pipelines that echo, fail or never answer, by name.
#[derive(Debug, Clone)]
pub(crate) struct Double {
    pipelines: Arc<Vec<PipelineInfo>>,
    events: Arc<Mutex<Sender<Event>>>,
}

fn pipeline(name: &str, inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> PipelineInfo {
    let signature = Signature { inputs, outputs };
    PipelineInfo {
        name: name.to_owned(),
        signature,
        deadline: Duration::from_secs(10),
    }
}

fn matrix(name: &str, dtype: DType) -> TensorSpec {
    TensorSpec::new(name, dtype, ShapeSpec(vec![Dim::symbol("rows"), Dim::Any]))
}

impl Double {
    fn new(events: Sender<Event>) -> Self {
        let x = || vec![matrix("x", DType::F32)];
        let pair = || {
            let rows = Dim::symbol("rows");
            vec![
                TensorSpec::new(
                    "a",
                    DType::F32,
                    ShapeSpec(vec![rows.clone(), Dim::Fixed(3)]),
                ),
                TensorSpec::new("b", DType::I64, ShapeSpec(vec![rows])),
            ]
        };
        let scalar = || vec![TensorSpec::new("x", DType::I32, ShapeSpec(vec![]))];
        let mut pipelines = vec![
            pipeline("pair", pair(), pair()),
            pipeline("scalar", scalar(), scalar()),
            pipeline("never", x(), x()),
            pipeline("loading", x(), x()),
            pipeline("nan", x(), x()),
            pipeline("not_utf8", x(), vec![matrix("x", DType::Bytes)]),
            pipeline("too_few_outputs", x(), x()),
        ];
        for dtype in DType::ALL {
            let name = format!("echo_{dtype}");
            pipelines.push(pipeline(
                &name,
                vec![matrix("x", dtype)],
                vec![matrix("x", dtype)],
            ));
        }
        for kind in FailureKind::ALL {
            pipelines.push(pipeline(&format!("refuses_{}", kind.name()), x(), x()));
            pipelines.push(pipeline(&format!("fails_{}", kind.name()), x(), x()));
        }
        Self {
            pipelines: Arc::new(pipelines),
            events: Arc::new(Mutex::new(events)),
        }
    }

    fn tell(&self, event: Event) {
        // A test that does not listen has dropped the receiver.
        let _ = self.events.lock().unwrap().send(event);
    }
}

/// Reports that a reply was dropped before it was given.
struct Guard(Double);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.tell(Event::Dropped);
    }
}

type Reply = Result<InferReply, Failure>;

impl Front for Double {
    type Backend = Self;

    fn current(&self) -> Self {
        self.clone()
    }

    fn load(&self, _: String) -> impl Future<Output = Result<(), Failure>> + 'static {
        let reason = "blocks.b.model: no such file";
        std::future::ready(Err(Failure::new(FailureKind::Invalid, reason)))
    }

    fn unload(&self, _: String) -> impl Future<Output = Result<(), Failure>> + 'static {
        std::future::ready(Ok(()))
    }

    fn unloaded(&self) -> Vec<String> {
        vec!["resting".into()]
    }
}

impl Backend for Double {
    type Reply = Pin<Box<dyn Future<Output = Reply>>>;

    fn pipelines(&self) -> &[PipelineInfo] {
        &self.pipelines
    }

    fn state(&self, pipeline: usize) -> PipelineState {
        if self.pipelines[pipeline].name == "loading" {
            PipelineState::NotReady {
                reason: "block \"backbone\" is loading".into(),
            }
        } else {
            PipelineState::Ready
        }
    }

    fn submit(&self, request: InferRequest) -> Result<Self::Reply, Failure> {
        let PipelineInfo {
            name, signature, ..
        } = &self.pipelines[request.pipeline];
        signature
            .bind(&request.inputs)
            .expect("the front end has checked the inputs");
        self.tell(Event::Submitted {
            deadline: request.deadline,
        });
        let kind = |prefix: &str| {
            let kind = name.strip_prefix(prefix)?;
            FailureKind::ALL
                .into_iter()
                .find(|known| known.name() == kind)
        };
        if let Some(kind) = kind("refuses_") {
            return Err(Failure::new(kind, "refused by the test"));
        }
        let failing = kind("fails_");
        let guard = (name == "never").then(|| Guard(self.clone()));
        let outputs = match name.as_str() {
            "nan" => {
                let bytes: Vec<u8> = [1.0, f32::NAN]
                    .into_iter()
                    .flat_map(f32::to_le_bytes)
                    .collect();
                vec![Tensor::copy_of(DType::F32, vec![1, 2], &bytes).unwrap()]
            }
            "not_utf8" => {
                vec![Tensor::from_byte_strings(vec![1, 2], &[&b"fine"[..], &[0xff]]).unwrap()]
            }
            "too_few_outputs" => vec![],
            _ => request.inputs,
        };
        Ok(Box::pin(async move {
            if guard.is_some() {
                std::future::pending::<()>().await;
            }
            // Answers on a later poll, as a real pipeline does.
            tokio::task::yield_now().await;
            match failing {
                Some(kind) => Err(Failure::in_block(kind, "head", "failed by the test")),
                None => Ok(InferReply { outputs }),
            }
        }))
    }
}

/// A running server, stopped when it goes out of scope.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) events: Receiver<Event>,
    pub(crate) stop: StopHandle,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

pub(crate) fn options() -> HttpOptions {
    HttpOptions {
        address: ([127, 0, 0, 1], 0).into(),
        workers: 1,
        body_bytes_max: BODY_BYTES_MAX,
        drain: Duration::from_secs(30),
        metrics: || "blockflow_test 1\n".to_owned(),
        timeouts: HttpTimeouts::default(),
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(options())
    }

    pub(crate) fn start_with(options: HttpOptions) -> Self {
        let (sender, events) = mpsc::channel();
        let bound = bind(options, Double::new(sender)).unwrap();
        let address = bound.address();
        let stop = bound.stop_handle();
        let run = move || actix_rt::System::new().block_on(bound.run());
        Self {
            address,
            events,
            stop,
            thread: Some(std::thread::spawn(run)),
        }
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream.set_write_timeout(Some(WATCHDOG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            pending: Vec::new(),
        }
    }

    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(WATCHDOG).expect("an event")
    }

    /// Waits for the server to end.
    pub(crate) fn join(&mut self) -> Result<(), ServeError> {
        self.thread
            .take()
            .expect("joined once")
            .join()
            .expect("the server thread does not panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop.stop(false);
            let _ = self.join();
        }
    }
}

/// A client on one connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pending: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Sends bytes. A server may refuse and close before all was sent; that shows in the response.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> Response {
        self.send(bytes);
        self.receive().expect("a response")
    }

    /// Reads one response; `None` if the connection ended instead.
    pub(crate) fn receive(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(end) = find(&self.pending, b"\r\n\r\n") {
                break end;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.pending[..end].to_vec()).expect("an ASCII head");
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let length: usize = response
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.pending.len() < end + 4 + length {
            self.read_more().expect("the whole body");
        }
        response.body = self.pending[end + 4..end + 4 + length].to_vec();
        self.pending.drain(..end + 4 + length);
        Some(response)
    }

    fn read_more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                self.pending.extend_from_slice(&buffer[..count]);
                Some(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the server hangs: {error}"),
        }
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(seen, _)| seen == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// Returns the sentence of an error response.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        let object = json.as_object().expect("an object");
        assert_eq!(object.len(), 1, "{json}");
        object["error"].as_str().expect("a sentence").to_owned()
    }

    /// Splits a binary response into its JSON header and the bytes behind it.
    pub(crate) fn binary(&self) -> (serde_json::Value, &[u8]) {
        let length = self
            .header("inference-header-content-length")
            .expect("a binary response");
        let (json, rest) = self.body.split_at(length.parse().unwrap());
        (serde_json::from_slice(json).unwrap(), rest)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes()
}

pub(crate) fn post_with(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
    [head.as_bytes(), body].concat()
}

/// An inference request with a JSON body.
pub(crate) fn infer(pipeline: &str, json: &str) -> Vec<u8> {
    post_with(
        &format!("/v2/models/{pipeline}/infer"),
        &[],
        json.as_bytes(),
    )
}

/// An inference request with binary tensors behind its JSON header.
pub(crate) fn infer_binary(pipeline: &str, json: &str, binary: &[u8]) -> Vec<u8> {
    let length = json.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    post_with(
        &format!("/v2/models/{pipeline}/infer"),
        &headers,
        &[json.as_bytes(), binary].concat(),
    )
}

/// The only input of a pipeline, as JSON.
pub(crate) fn input(datatype: &str, shape: &str, data: &str) -> String {
    format!(r#"{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}"#)
}

pub(crate) fn request(datatype: &str, shape: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{}]}}"#, input(datatype, shape, data))
}
