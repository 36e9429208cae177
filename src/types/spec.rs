//! What a configuration says, as values: every name resolved to its type, every default applied.
//!
//! A specification is checked for form only. Whether names exist and signatures agree is `plan`'s to decide.
//! It can be written as JSON and read back, which is how another process of this program gets it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    CudaSpec, Device, DeviceChoice, DeviceSpec, Encoding, Passes, Precision, ProofSpec, PublicKey,
    ReloadSpec, Signature,
};

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub server: ServerSpec,
    pub limits: LimitsSpec,
    pub log: LogSpec,
    /// Those of which the configuration says something, in its order.
    pub devices: Vec<DeviceSpec>,
    pub reload: ReloadSpec,
    /// In the order of the configuration; none stands for this machine alone.
    pub hosts: Vec<HostSpec>,
    pub blocks: Vec<BlockSpec>,
    pub pipelines: Vec<PipelineSpec>,
}

/// The HTTP front end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSpec {
    pub http: SocketAddr,
    /// Host whose main process has the gateway and serves HTTP; `None`: the first one.
    pub host: Option<String>,
    /// Threads that parse and write HTTP.
    pub workers: usize,
    pub body_bytes_max: usize,
    /// How long shutdown waits for requests in flight.
    pub drain: Duration,
}

/// A machine that blocks can run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    pub name: String,
    /// Where other hosts reach it.
    pub address: IpAddr,
    /// First port that it listens on for tensors; it takes as many after it as it has receivers.
    pub port: u16,
    /// By which others know it: none, one, or several while one takes the place of another.
    pub keys: Vec<PublicKey>,
}

/// Bounds that hold for every pipeline together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsSpec {
    /// Requests admitted and not yet answered; one more is refused.
    pub in_flight_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// A `tracing` filter such as `info` or `info,blockflow::actors=debug`.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockSpec {
    pub name: String,
    pub source: SourceSpec,
    /// `None`: the host of the gateway.
    pub host: Option<String>,
    /// Worker process of that host, by a name other than [`BlockSpec::MAIN`]; `None`: the main process.
    pub process: Option<String>,
    /// Where it is left open, this means nothing before it is chosen.
    pub device: Device,
    #[serde(default)]
    pub device_choice: DeviceChoice,
    #[serde(default)]
    pub cuda: CudaSpec,
    /// Intra-op threads of one instance.
    pub threads: usize,
    /// Actors over the same weights.
    pub instances: usize,
    pub batch: BatchSpec,
    pub restart: RestartSpec,
    pub proof: ProofSpec,
    pub stuck: StuckSpec,
    /// Envelopes one producer may have waiting at one instance (its credit window).
    pub queue_max: usize,
}

/// What a block runs, and thereby which engine runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SourceSpec {
    /// A model whose graph can be seen, or the segment of it between the named tensors (`None`: the model's own inputs or
    /// outputs), and how the graph is rewritten before it runs.
    Graph {
        path: PathBuf,
        inputs: Option<Vec<String>>,
        outputs: Option<Vec<String>>,
        engine: GraphEngine,
        passes: Passes,
    },
    /// A TorchScript file, which says nothing of its shapes: the signature is declared.
    TorchScript { path: PathBuf, signature: Signature },
    /// The built-in step that decodes PNG and JPEG images.
    DecodeImage(ImageSpec),
    /// A stand-in with declared behaviour, for trying out pipelines without a model.
    Mock(MockSpec),
}

/// What runs a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum GraphEngine {
    /// libtorch, operator by operator.
    #[default]
    Aten,
    /// ONNX Runtime, where its library is installed.
    OnnxRuntime,
    /// Whichever of the others is faster on the block's shapes.
    Auto,
}

impl GraphEngine {
    pub const ALL: [(&'static str, Self); 3] = [
        ("aten", Self::Aten),
        ("onnxruntime", Self::OnnxRuntime),
        ("auto", Self::Auto),
    ];
}

/// Engine names as users write and read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineChoice {
    Aten,
    OnnxRuntime,
    Auto,
    TorchScript,
    Builtin,
    Mock,
}

/// When a batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// Rows of one run at most.
    pub rows_max: usize,
    /// How long the oldest request waits for company.
    pub wait: Duration,
}

/// How often a failing block is rebuilt before it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartSpec {
    /// Rebuilds allowed within `window`.
    pub budget: usize,
    pub window: Duration,
    /// Wait before the first rebuild; doubles with each further one.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
}

/// How long an instance may be at one thing before it counts as stuck. `None`: as long as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StuckSpec {
    /// A run.
    pub run: Option<Duration>,
    /// Making a session and warming it, or its first run.
    pub warm: Option<Duration>,
}

/// Decoding of one image into FP32 [1, channels, height, width] or [1, height, width, channels].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageSpec {
    pub width: usize,
    pub height: usize,
    /// 1 (luma) or 3 (RGB).
    pub channels: usize,
    pub layout: ImageLayout,
    /// Value of a full-scale sample before `mean` and `deviation` apply: 1.0 maps 0–255 to 0–1.
    pub scale: f32,
    /// Subtracted per channel after scaling.
    pub mean: Vec<f32>,
    /// Divided by per channel after `mean`.
    pub deviation: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageLayout {
    ChannelsFirst,
    ChannelsLast,
}

/// Declared behaviour of a mock block. Every output repeats the bytes of the inputs, cut or zero-padded to its size,
/// with one added to each of them, so that a result shows which blocks it went through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MockSpec {
    pub signature: Signature,
    /// How long one run takes.
    pub latency: Duration,
    /// Bytes that it holds as if they were weights: counted, not taken.
    pub weight_bytes: u64,
    pub failure: Option<MockFailure>,
}

/// What goes wrong, most of it on every `every`-th run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MockFailure {
    /// The run panics.
    Panic { every: u64 },
    /// The run returns an error.
    Error { every: u64 },
    /// The run takes this much longer.
    Hang { every: u64, time: Duration },
    /// Floating outputs of the run hold nothing but NaN.
    NotANumber { every: u64 },
    /// As many bytes as the run's inputs have are held from then on, whatever becomes of the block.
    Leak { every: u64 },
    /// Making a session takes this long.
    SlowWarming { time: Duration },
    /// The device is lost to its process.
    LostDevice { every: u64 },
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineSpec {
    pub name: String,
    pub flow: FlowSpec,
    /// From admission to reply; a request may ask for less.
    pub deadline: Duration,
    /// How edges travel between hosts, each edge once, in the order of their names; others travel as they are.
    pub wire: Vec<WireSpec>,
}

/// How one edge travels where it leads to another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireSpec {
    /// Producer and consumer as a plan names them: `"backbone.features -> head.features"`.
    pub edge: String,
    pub encoding: Encoding,
}

/// How the blocks of a pipeline are wired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FlowSpec {
    /// Blocks one after the other.
    Chain(Vec<String>),
    Graph(GraphSpec),
}

/// A pipeline as a graph. A step is a use of a block.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GraphSpec {
    /// Step name → block name, for steps not named like their block.
    pub steps: Vec<(String, String)>,
    pub edges: Vec<EdgeSpec>,
}

/// `"image -> backbone.image"`: a pipeline input has no dot on the left, a pipeline output none on the right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeSpec {
    /// Step and output, or `None` and the name of a pipeline input.
    pub from: (Option<String>, String),
    /// Step and input, or `None` and the name of a pipeline output.
    pub to: (Option<String>, String),
}

impl HostSpec {
    /// First port where a configuration names none.
    pub const PORT: u16 = 5600;

    /// Returns this machine, as the only host of a configuration that declares none.
    pub fn local() -> Self {
        Self {
            name: "localhost".to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Self::PORT,
            keys: Vec::new(),
        }
    }
}

impl BlockSpec {
    /// Name of the process that the user starts; no worker has it.
    pub const MAIN: &'static str = "main";

    /// Returns the files that it is made from and compared with: of the model, and of golden cases.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let cases = self.proof.golden.iter().flat_map(|golden| &golden.cases);
        let golden = cases.flat_map(|case| [case.inputs.as_path(), &case.outputs]);
        self.source.path().into_iter().chain(golden)
    }
}

impl SourceSpec {
    /// Returns the file of the model, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Graph { path, .. } | Self::TorchScript { path, .. } => Some(path),
            Self::DecodeImage(_) | Self::Mock(_) => None,
        }
    }

    /// Returns the numbers that it is computed in.
    pub const fn precision(&self) -> Precision {
        match self {
            Self::Graph { passes, .. } => passes.precision(),
            Self::TorchScript { .. } | Self::DecodeImage(_) | Self::Mock(_) => Precision::Fp32,
        }
    }

    pub const fn engine(&self) -> EngineChoice {
        match self {
            Self::Graph { engine, .. } => match engine {
                GraphEngine::Aten => EngineChoice::Aten,
                GraphEngine::OnnxRuntime => EngineChoice::OnnxRuntime,
                GraphEngine::Auto => EngineChoice::Auto,
            },
            Self::TorchScript { .. } => EngineChoice::TorchScript,
            Self::DecodeImage(_) => EngineChoice::Builtin,
            Self::Mock(_) => EngineChoice::Mock,
        }
    }
}

impl EngineChoice {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aten => "aten",
            Self::OnnxRuntime => "onnxruntime",
            Self::Auto => "auto",
            Self::TorchScript => "torchscript",
            Self::Builtin => "builtin",
            Self::Mock => "mock",
        }
    }
}

/// Format of a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFormat {
    /// ONNX, or an archive of `torch.export`: the graph can be seen.
    Graph,
    /// Code, which runs as a whole.
    TorchScript,
}

impl ModelFormat {
    /// Tells the format by how the file's name ends, whatever the case.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "onnx" | "pt2" => Some(Self::Graph),
            "pt" | "pth" | "ts" => Some(Self::TorchScript),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_the_ending_in_any_case() {
        for (name, format) in [
            ("a.onnx", Some(ModelFormat::Graph)),
            ("b/a.ONNX", Some(ModelFormat::Graph)),
            ("a.pt2", Some(ModelFormat::Graph)),
            ("a.Pt", Some(ModelFormat::TorchScript)),
            ("a.pth", Some(ModelFormat::TorchScript)),
            ("a.onnx.ts", Some(ModelFormat::TorchScript)),
            ("a.tflite", None),
            ("onnx", None),
            ("", None),
        ] {
            assert_eq!(ModelFormat::of(Path::new(name)), format, "{name}");
        }
    }
}
