//! Configurations of bad form: every problem is reported at once, each with line, key, value and what would be right.

use std::fs;
use std::path::PathBuf;

use blockflow::config::{ConfigError, Loaded, load};
use blockflow::types::{FlowSpec, SourceSpec, Spec, Unsound};

/// A configuration that was refused: what a user is told, one problem a line.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) lines: Vec<String>,
    pub(crate) unreadable: Option<ConfigError>,
}

/// Writes a configuration to a directory of its own and loads it with an empty environment.
pub(crate) fn load_text(text: &str) -> Result<Loaded, Refused> {
    load_with(text, &[])
}

pub(crate) fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Refused> {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let path = directory.path().join("blocks.toml");
    fs::write(&path, text).expect("the test's file is written");
    let environment = variables
        .iter()
        .map(|(name, text)| ((*name).into(), (*text).into()));
    sound(load(&path, environment))
}

/// Takes a configuration without problems.
pub(crate) fn sound(loaded: Result<Loaded, ConfigError>) -> Result<Loaded, Refused> {
    let (problems, unreadable) = match loaded {
        Ok(loaded) if loaded.problems.is_empty() => {
            assert_eq!(loaded.unsound, Unsound::default());
            return Ok(loaded);
        }
        Ok(loaded) => (loaded.locator.locate(loaded.problems), None),
        Err(error) => (vec![error.located()], Some(error)),
    };
    Err(Refused {
        lines: problems.iter().map(ToString::to_string).collect(),
        unreadable,
    })
}

/// Returns the report, one line for each problem, without the directory.
pub(crate) fn report(refused: &Refused) -> Vec<String> {
    let short = |line: &String| match line.split_once("/blocks.toml:") {
        Some((_, rest)) => format!("blocks.toml:{rest}"),
        None => line.clone(),
    };
    refused.lines.iter().map(short).collect()
}

/// A model block and a pipeline that are in order, for tables that are about something else.
const ONNX: &str = "[blocks.a]\nmodel = \"a.onnx\"\n";

struct Case {
    text: String,
    /// One for each line of the report, in order.
    expected: &'static [&'static str],
}

fn case(text: &str, expected: &'static [&'static str]) -> Case {
    Case {
        text: text.to_owned(),
        expected,
    }
}

/// A case whose text begins with the two lines of [`ONNX`].
fn block(text: &str, expected: &'static [&'static str]) -> Case {
    Case {
        text: format!("{ONNX}{text}"),
        expected,
    }
}

/// A case whose text is the inside of a TorchScript block's first input, on line 3.
fn tensor(text: &str, expected: &'static [&'static str]) -> Case {
    let sound = "{ name = \"y\", datatype = \"FP32\", shape = [] }";
    let text = format!(
        "[blocks.a]\nmodel = \"a.pt\"\ninputs = [{text}]\noutputs = [{sound}]\ntrust = true\n"
    );
    Case { text, expected }
}

/// A case whose text is the inside of an image table, on line 3.
fn image(text: &str, expected: &'static [&'static str]) -> Case {
    let text = format!("[blocks.a]\nstep = \"decode-image\"\nimage = {{ {text} }}\n");
    Case { text, expected }
}

/// A case whose text is the failure of a mock, on line 4.
fn failure(text: &str, expected: &'static [&'static str]) -> Case {
    let tensors = "[{ name = \"x\", datatype = \"FP32\", shape = [1] }]";
    let text = format!(
        "[blocks.a.mock]\ninputs = {tensors}\noutputs = {tensors}\nfailure = {{ {text} }}\n"
    );
    Case { text, expected }
}

fn section_cases() -> Vec<Case> {
    vec![
        case(
            "[servers]\n",
            &["blocks.toml:1: servers: is no section of a configuration; did you mean \"server\"?"],
        ),
        case(
            "\n[quux]\na = 1\n",
            &[":2: quux: is no section of a configuration; expected one of server, limits"],
        ),
        case(
            "[server]\nhtp = 1\n",
            &[":2: server.htp: is no key of [server]; did you mean \"http\"?"],
        ),
        case(
            "[server]\nzzzzzz = 1\n",
            &[
                "zzzzzz: is no key of [server]; expected one of http, workers, body_bytes_max, drain_ms",
            ],
        ),
        case("server = 5\n", &[":1: server: is 5; expected a table"]),
        case(
            "[server]\nhttp = \"localhost\"\n",
            &[":2: server.http: is \"localhost\"; expected an address and a port"],
        ),
        case(
            "[server]\nhttp = 8000\n",
            &[":2: server.http: is 8000; expected an address and a port"],
        ),
        case(
            "[server]\nhttp = \"127.0.0.1:70000\"\n",
            &["is \"127.0.0.1:70000\"; expected an address"],
        ),
        case(
            "[server]\nhttp = \"\"\n",
            &["server.http: is \"\"; expected an address"],
        ),
        case(
            "[server]\nworkers = 0\n",
            &[":2: server.workers: is 0; expected a whole number from 1 to 256"],
        ),
        case(
            "[server]\nworkers = 1.5\n",
            &["server.workers: is 1.5; expected a whole number"],
        ),
        case(
            "[server]\nworkers = \"2\"\n",
            &["server.workers: is \"2\"; expected a whole number"],
        ),
        case(
            "[server]\nbody_bytes_max = 12\n",
            &["is 12; expected a whole number from 1024 to 1099511627776"],
        ),
        case(
            "[server]\nbody_bytes_max = -1\n",
            &["server.body_bytes_max: is -1; expected a whole number"],
        ),
        case(
            "[server]\ndrain_ms = \"10s\"\n",
            &["server.drain_ms: is \"10s\"; expected milliseconds from 0 to 3600000"],
        ),
        case(
            "[server]\ndrain_ms = inf\n",
            &["server.drain_ms: is inf; expected milliseconds"],
        ),
        case(
            "[server]\ndrain_ms = nan\n",
            &["server.drain_ms: is NaN; expected milliseconds"],
        ),
        case(
            "[server]\ndrain_ms = 2020-01-01\n",
            &["server.drain_ms: is \"2020-01-01\"; expected milliseconds"],
        ),
        case(
            "[limits]\nin_flight_max = true\n",
            &["limits.in_flight_max: is true; expected a whole number from 1"],
        ),
        case(
            "[log]\nformat = \"jsn\"\n",
            &[":2: log.format: is \"jsn\"; did you mean \"json\"?"],
        ),
        case(
            "[log]\nformat = \"logfmt\"\n",
            &["log.format: is \"logfmt\"; expected \"text\" or \"json\""],
        ),
        case(
            "[log]\nfilter = \" \"\n",
            &["log.filter: is \" \"; expected a filter such as"],
        ),
        case(
            "[reload]\nshadows = {}\n",
            &[":2: reload.shadows: is no key of [reload]; did you mean \"shadow\"?"],
        ),
        case(
            "[reload]\nshadow = true\n",
            &[":2: reload.shadow: is true; expected a table"],
        ),
        case(
            "[reload.shadow]\nshare = 0\nrequests = 0\nmismatches_max = -1\ntime_max_ms = 0\ntolerance = 1\n",
            &[
                ":2: reload.shadow.share: is 0; expected a number from 0.0001 to 1",
                ":3: reload.shadow.requests: is 0; expected a whole number from 1 to 1000000000",
                ":4: reload.shadow.mismatches_max: is -1; expected a whole number from 0",
                ":5: reload.shadow.time_max_ms: is 0; expected milliseconds from 1 to 86400000",
                ":6: reload.shadow.tolerance: is 1; expected a table",
            ],
        ),
        case(
            "[reload.canary]\nshare = 1.5\nerror_ratio_max = -0.1\nlatency_ratio_max = 0.5\nrequests = \"many\"\n",
            &[
                ":2: reload.canary.share: is 1.5; expected a number from 0.0001 to 1",
                ":3: reload.canary.error_ratio_max: is -0.1; expected a number from 0 to 1",
                ":4: reload.canary.latency_ratio_max: is 0.5; expected a number from 1 to 1000",
                ":5: reload.canary.requests: is \"many\"; expected a whole number from 1",
            ],
        ),
        case(
            "[[server]]\nhttp = \"127.0.0.1:1\"\n",
            &[":1: server: is a list; expected a table"],
        ),
        case("blocks = 3\n", &[":1: blocks: is 3; expected a table"]),
        case(
            "[blocks]\na = \"a.onnx\"\n",
            &[":2: blocks.a: is \"a.onnx\"; expected a table"],
        ),
        case(
            "[[blocks]]\nname = \"a\"\n",
            &[":1: blocks: is a list; expected a table"],
        ),
        case(
            "[pipelines]\np = [\"a\"]\n",
            &[":2: pipelines.p: is a list; expected a table"],
        ),
    ]
}

fn block_cases() -> Vec<Case> {
    vec![
        case(
            "[blocks.a]\n",
            &[
                ":1: blocks.a: says nothing of what it runs; expected exactly one of model, step and mock",
            ],
        ),
        block(
            "step = \"decode-image\"\n",
            &[":1: blocks.a: has model and step; expected exactly one of"],
        ),
        case(
            "[blocks.a]\nmodel = \"a.tflite\"\n",
            &[
                ":2: blocks.a.model: is \"a.tflite\"; expected the path of an .onnx, .pt2, .pt, .pth or .ts file",
            ],
        ),
        case(
            "[blocks.a]\nmodel = \"\"\ninputs = [\"x\"]\n",
            &[":2: blocks.a.model: is \"\"; expected the path"],
        ),
        case(
            "[blocks.a]\nmodel = 7\n",
            &[":2: blocks.a.model: is 7; expected the path"],
        ),
        case(
            "[blocks.a]\nstep = \"decode_image\"\n",
            &["blocks.a.step: is \"decode_image\"; did you mean \"decode-image\"?"],
        ),
        case(
            "[blocks.a]\nstep = \"softmax\"\n",
            &["blocks.a.step: is \"softmax\"; expected \"decode-image\""],
        ),
        case(
            "[blocks.a]\nstep = \"decode-image\"\n",
            &[":1: blocks.a.image: is missing; expected a table"],
        ),
        case(
            "[blocks.a]\nmock = \"x\"\n",
            &["blocks.a.mock: is \"x\"; expected a table"],
        ),
        block(
            "devise = \"cpu\"\n",
            &[
                ":3: blocks.a.devise: is no key of a block with an ONNX or .pt2 model; did you mean \"device\"?",
            ],
        ),
        block(
            "image = { width = 1 }\n",
            &[":3: blocks.a.image: is no key of a block with an ONNX or .pt2 model"],
        ),
        block(
            "device = \"gpu\"\n",
            &[":3: blocks.a.device: is \"gpu\"; expected \"cpu\""],
        ),
        block(
            "device = \"cuda:-1\"\n",
            &["blocks.a.device: is \"cuda:-1\"; expected \"cpu\""],
        ),
        block(
            "device = [\"cpu\"]\n",
            &["blocks.a.device: is a list; expected \"cpu\""],
        ),
        block(
            "threads = 0\n",
            &["blocks.a.threads: is 0; expected a whole number from 1 to 256"],
        ),
        block(
            "instances = 65\n",
            &["blocks.a.instances: is 65; expected a whole number from 1 to 64"],
        ),
        block(
            "queue_max = 0\n",
            &["blocks.a.queue_max: is 0; expected a whole number from 1 to 65536"],
        ),
        block(
            "optimize = \"quick\"\n",
            &[":3: blocks.a.optimize: is \"quick\"; expected \"off\" or \"exact\" or \"fast\""],
        ),
        block(
            "precision = \"fp8\"\n",
            &[":3: blocks.a.precision: is \"fp8\"; expected \"fp32\" or \"tf32\" or"],
        ),
        block(
            "precision = 16\n",
            &[
                ":3: blocks.a.precision: is 16; expected \"fp32\" or \"tf32\" or \"fp16\" or \"bf16\"",
            ],
        ),
        block(
            "precision = \"bf16\"\nengine = \"onnxruntime\"\n",
            &[":3: blocks.a.precision: is \"bf16\"; of the engines \"aten\" alone computes so"],
        ),
        block(
            "precision = \"fp16\"\nengine = \"auto\"\n",
            &[":3: blocks.a.precision: is \"fp16\"; of the engines \"aten\" alone computes so"],
        ),
        block(
            "precision = \"tf32\"\n",
            &[
                ":3: blocks.a.precision: is \"tf32\"; only CUDA devices compute so, and the block is on \"cpu\"",
            ],
        ),
        block(
            "precision = \"tf32\"\ndevice = \"sim:0\"\n",
            &[
                ":3: blocks.a.precision: is \"tf32\"; only CUDA devices compute so, and the block is on \"sim:0\"",
            ],
        ),
        block(
            "precision = \"tf32\"\ndevice = \"auto\"\n",
            &[
                ":3: blocks.a.precision: is \"tf32\"; only CUDA devices compute so, and the block is on \"auto\"",
            ],
        ),
        block(
            "cudnn_autotune = true\n",
            &[
                ":3: blocks.a.cudnn_autotune: is true; the block is on \"cpu\": expected device = \"cuda:0\"",
            ],
        ),
        block(
            "cudnn_autotune = \"fast\"\n",
            &[":3: blocks.a.cudnn_autotune: is \"fast\"; expected true or false"],
        ),
        block(
            "stream_priority = \"high\"\n",
            &[
                ":3: blocks.a.stream_priority: is \"high\"; the block is on \"cpu\": expected device = \"cuda:0\"",
            ],
        ),
        block(
            "stream_priority = \"low\"\ndevice = \"cuda:0\"\n",
            &[":3: blocks.a.stream_priority: is \"low\"; expected \"normal\" or \"high\""],
        ),
        block(
            "passes_off = [\"fuse-activation\"]\n",
            &[
                ":3: blocks.a.passes_off[0]: is \"fuse-activation\"; did you mean \"fuse-activations\"?",
            ],
        ),
        block(
            "passes_off = [\"zzzzzz\"]\n",
            &["is \"zzzzzz\"; expected one of fold-constants tidy-layout merge-equal"],
        ),
        block(
            "passes_off = []\n",
            &["blocks.a.passes_off: is an empty list; expected a list of passes, at least one"],
        ),
        block(
            "batch = 16\n",
            &[":3: blocks.a.batch: is 16; expected a table"],
        ),
        block(
            "batch = { max = \"many\" }\n",
            &[":3: blocks.a.batch.max: is \"many\"; expected a whole number from 1 to 4096"],
        ),
        block(
            "batch.maximum = 3\n",
            &[":3: blocks.a.batch.maximum: is no key of batch; did you mean \"max\"?"],
        ),
        block(
            "[blocks.a.batch]\nwait_ms = -0.5\n",
            &[":4: blocks.a.batch.wait_ms: is -0.5; expected milliseconds from 0 to 10000"],
        ),
        block(
            "restart = { budget = -1 }\n",
            &["blocks.a.restart.budget: is -1; expected a whole number from 0 to 1000"],
        ),
        block(
            "warm = 3\n",
            &[":3: blocks.a.warm: is 3; expected a list of tables such as"],
        ),
        block(
            "warm = [3]\n",
            &[":3: blocks.a.warm[0]: is 3; expected a table"],
        ),
        block(
            "warm = [{ x = [4, 0] }, { y = [\"n\"] }, { z = 4 }]\n",
            &[
                ":3: blocks.a.warm[0].x: holds a size that is 0; expected a list of at most 32 sizes from 1",
                ":3: blocks.a.warm[1].y: holds a size that is \"n\"; expected a list",
                ":3: blocks.a.warm[2].z: is 4; expected a list of at most 32 sizes",
            ],
        ),
        block(
            "finite = 1\n",
            &[":3: blocks.a.finite: is 1; expected true or false"],
        ),
        block(
            "golden = \"x.npz\"\n",
            &[":3: blocks.a.golden: is \"x.npz\"; expected a table"],
        ),
        block(
            "golden = { tolerance.relative = 0.1 }\n",
            &[":3: blocks.a.golden.cases: is missing; expected a list of files"],
        ),
        block(
            "golden = { cases = [\"x.npz\", { inputs = \"x.npz\" }, 3] }\n",
            &[
                ":3: blocks.a.golden.cases[1].outputs: is missing; expected the path of an .npz or .npy file",
                ":3: blocks.a.golden.cases[2]: is 3; expected a table",
            ],
        ),
        block(
            "golden = { cases = [\"x.npz\"], tolerance = { relative = -1, absolute = nan } }\n",
            &[
                ":3: blocks.a.golden.tolerance.absolute: is NaN; expected a number from 0 to 1000000000000",
                ":3: blocks.a.golden.tolerance.relative: is -1; expected a number from 0",
            ],
        ),
        block(
            "restart.window_s = 0\n",
            &["blocks.a.restart.window_s: is 0; expected seconds from 1 to 86400"],
        ),
        block(
            "stuck.run_ms = -1\n",
            &["blocks.a.stuck.run_ms: is -1; expected milliseconds from 0 to 86400000"],
        ),
        block(
            "stuck = { warm_ms = \"long\" }\n",
            &["blocks.a.stuck.warm_ms: is \"long\"; expected milliseconds from 0 to 86400000"],
        ),
        block(
            "restart.backoff_min_ms = 20000\n",
            &[
                ":3: blocks.a.restart.backoff_min_ms: is 20000; expected at most backoff_max_ms, which is 10000",
            ],
        ),
        block(
            "outputs = []\n",
            &["blocks.a.outputs: is an empty list; expected a list of tensor names"],
        ),
        block(
            "outputs = \"y\"\n",
            &["blocks.a.outputs: is \"y\"; expected a list of tensor names"],
        ),
        block(
            "outputs = [\"y\",\n  3]\n",
            &[":4: blocks.a.outputs[1]: is 3; expected a list of tensor names"],
        ),
        block(
            "inputs = [\"x\", \"x\"]\n",
            &["blocks.a.inputs[1]: repeats \"x\"; expected each tensor once"],
        ),
        case(
            "[blocks.\"a b\"]\nmodel = \"a.onnx\"\n",
            &[":1: blocks.a b: is named \"a b\"; expected letters, digits, _ and - only"],
        ),
        case(
            "[blocks.\"a.b\"]\nmodel = \"a.onnx\"\n",
            &["is named \"a.b\"; expected letters, digits"],
        ),
        case(
            "[blocks.\"\"]\nmodel = \"a.onnx\"\n",
            &["is named \"\"; expected letters, digits"],
        ),
        case(
            "[blocks.-a]\nmodel = \"a.onnx\"\n",
            &["is named \"-a\"; expected letters, digits"],
        ),
    ]
}

fn tensor_cases() -> Vec<Case> {
    vec![
        case(
            "[blocks.a]\nmodel = \"a.pt\"\ntrust = true\n",
            &[
                ":1: blocks.a.inputs: is missing; expected a list of tables",
                ":1: blocks.a.outputs: is missing; expected a list of tables",
            ],
        ),
        tensor(
            "\"x\"",
            &[":3: blocks.a.inputs[0]: is \"x\"; expected a table"],
        ),
        tensor(
            "{}",
            &[
                "blocks.a.inputs[0].datatype: is missing",
                "blocks.a.inputs[0].name: is missing; expected the name of the tensor",
                "blocks.a.inputs[0].shape: is missing; expected a list of sizes and names",
            ],
        ),
        tensor(
            "{ name = \"x\", datatype = \"float32\", shape = [] }",
            &["inputs[0].datatype: is \"float32\"; did you mean \"FP32\"?"],
        ),
        tensor(
            "{ name = \"x\", datatype = \"COMPLEX\", shape = [] }",
            &["is \"COMPLEX\"; expected one of BOOL UINT8"],
        ),
        tensor(
            "{ name = \"x\", datatype = \"FP32\", shape = 4 }",
            &["inputs[0].shape: is 4; expected a list of sizes"],
        ),
        tensor(
            "{ name = \"x\", datatype = \"FP32\", shape = [0, -1, \"a b\", 1.5] }",
            &[
                "inputs[0].shape[0]: is 0; expected a size from 1, a name such as \"batch\", or \"?\"",
                "inputs[0].shape[1]: is -1; expected a size from 1",
                "inputs[0].shape[2]: is \"a b\"; expected a size from 1",
                "inputs[0].shape[3]: is 1.5; expected a size from 1",
            ],
        ),
        tensor(
            "{ name = \"x\", datatype = \"FP32\", shape = [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] }",
            &["shape: has 33 dimensions; expected at most 32"],
        ),
        tensor(
            "{ name = \"x\", dtype = \"FP32\", shape = [] }",
            &[
                "inputs[0].datatype: is missing",
                "inputs[0].dtype: is no key of a tensor; expected one of name, datatype, shape",
            ],
        ),
        tensor(
            "{ name = \"x\", datatype = \"FP32\", shape = [] }, { name = \"x\", datatype = \"FP32\", shape = [] }",
            &["blocks.a.inputs[1]: repeats the name \"x\"; expected each name once"],
        ),
        image(
            "width = 8",
            &[":3: blocks.a.image.height: is missing; expected a whole number from 1 to 16384"],
        ),
        image(
            "width = 0, height = 8",
            &["blocks.a.image.width: is 0; expected a whole number"],
        ),
        image(
            "width = 8, height = 8, channels = 4",
            &["image.channels: is 4; expected 1 (gray) or 3 (RGB)"],
        ),
        image(
            "width = 8, height = 8, layout = \"nchw\"",
            &["image.layout: is \"nchw\"; expected \"channels-first\" or \"channels-last\""],
        ),
        image(
            "width = 8, height = 8, scale = 0",
            &["image.scale: is 0; expected a number above 0"],
        ),
        image(
            "width = 8, height = 8, scale = 1e300",
            &["image.scale: is 1e300; expected a number above 0"],
        ),
        image(
            "width = 8, height = 8, mean = [0.5, 0.5]",
            &["image.mean: is a list of 2; expected a number for all channels or a list of 3"],
        ),
        image(
            "width = 8, height = 8, deviation = [1, 0, 1]",
            &["image.deviation[1]: is 0; expected a number above 0"],
        ),
        image(
            "width = 8, height = 8, heigth = 9",
            &["image.heigth: is no key of image; did you mean \"height\"?"],
        ),
        failure(
            "",
            &[
                ":4: blocks.a.mock.failure: does not say what fails; expected exactly one of panic_every",
            ],
        ),
        failure(
            "panic_every = 2, error_every = 3",
            &["mock.failure: has panic_every and error_every; expected exactly one"],
        ),
        failure(
            "panic_every = 0",
            &["mock.failure.panic_every: is 0; expected a whole number from 1"],
        ),
        failure(
            "error_every = 5, hang_ms = 10",
            &["mock.failure.hang_ms: is no key of failure"],
        ),
        failure(
            "hang_every = 5, hang_ms = \"1s\"",
            &["mock.failure.hang_ms: is \"1s\"; expected milliseconds"],
        ),
    ]
}

fn pipeline_cases() -> Vec<Case> {
    vec![
        case(
            "[pipelines.p]\n",
            &[":1: pipelines.p: says nothing of how its blocks are wired; expected flow"],
        ),
        case(
            "[pipelines.p]\nflow = [\"a\"]\nedges = [\"x -> a.x\"]\n",
            &[":1: pipelines.p: has flow and edges; expected one of them"],
        ),
        case(
            "[pipelines.p]\nflow = [\"a\"]\nsteps = { b = \"a\" }\n",
            &[":3: pipelines.p.steps: stands beside flow"],
        ),
        case(
            "[pipelines.p]\nflow = []\n",
            &[":2: pipelines.p.flow: is an empty list; expected a list of block names"],
        ),
        case(
            "[pipelines.p]\nflow = \"a\"\n",
            &["pipelines.p.flow: is \"a\"; expected a list of block names"],
        ),
        case(
            "[pipelines.p]\nflow = [\n  \"a\",\n  \"b!\",\n]\n",
            &[":4: pipelines.p.flow[1]: is named \"b!\"; expected letters"],
        ),
        case(
            "[pipelines.p]\nedges = []\n",
            &["pipelines.p.edges: is an empty list; expected a list of texts"],
        ),
        case(
            "[pipelines.p]\nedges = [\n  \"x - a.x\",\n]\n",
            &[":3: pipelines.p.edges[0]: is \"x - a.x\"; expected \"input -> step.input\""],
        ),
        case(
            "[pipelines.p]\nedges = [\"x -> a.x -> y\"]\n",
            &["edges[0]: is \"x -> a.x -> y\"; expected"],
        ),
        case(
            "[pipelines.p]\nedges = [\" -> a.x\"]\n",
            &["edges[0]: is \" -> a.x\"; expected"],
        ),
        case(
            "[pipelines.p]\nedges = [\"a. -> b.x\"]\n",
            &["edges[0]: is \"a. -> b.x\"; expected"],
        ),
        case(
            "[pipelines.p]\nedges = [\"x y -> b.x\"]\n",
            &["edges[0]: is \"x y -> b.x\"; expected"],
        ),
        case(
            "[pipelines.p]\nedges = [\"x -> y\"]\n",
            &["edges[0]: is \"x -> y\", which connects no step"],
        ),
        case(
            "[pipelines.p]\nedges = [\"x -> l.x\"]\nsteps = { l = 3 }\n",
            &[":3: pipelines.p.steps.l: is 3; expected the name of a block"],
        ),
        case(
            "[pipelines.p]\nflow = [\"a\"]\ndeadline_ms = 0\n",
            &[":3: pipelines.p.deadline_ms: is 0; expected milliseconds from 1 to 3600000"],
        ),
        case(
            "[pipelines.p]\nflow = [\"a\"]\ndeadline = 5\n",
            &["pipelines.p.deadline: is no key of a pipeline; did you mean \"deadline_ms\"?"],
        ),
        case(
            "[pipelines.\"p/q\"]\nflow = [\"a\"]\n",
            &["is named \"p/q\"; expected letters, digits"],
        ),
    ]
}

#[test]
fn each_bad_configuration_is_reported_with_its_line_and_what_would_be_right() {
    let cases: Vec<_> = [
        section_cases(),
        block_cases(),
        tensor_cases(),
        pipeline_cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for Case { text, expected } in cases {
        let error = load_text(&text).expect_err(&format!("accepted:\n{text}"));
        let lines = report(&error);
        assert_eq!(lines.len(), expected.len(), "{text}\n{lines:#?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                line.contains(expected),
                "{text}\nreported {line}\nexpected {expected}"
            );
        }
    }
}

#[test]
fn all_problems_of_a_file_are_reported_at_once_in_its_order() {
    let text = include_str!("../data/config/everything_wrong.toml");
    let lines = report(&load_text(text).expect_err("it is all wrong"));
    let numbers: Vec<usize> = lines
        .iter()
        .map(|line| {
            line.split(':')
                .nth(1)
                .expect("a line number")
                .parse()
                .expect("a number")
        })
        .collect();
    let marked = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.ends_with("# wrong"));
    let expected: Vec<usize> = marked.map(|(index, _)| index + 1).collect();
    assert_eq!(numbers, expected, "{lines:#?}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_line_and_column() {
    for (text, place) in [
        ("[server\n", "blocks.toml:1: column 8: "),
        ("[server]\nhttp = \n", "blocks.toml:2: column 8: "),
        ("[log]\nfilter = 'ä' x\n", "blocks.toml:2: column 14: "),
        ("a = 1\na = 2\n", "blocks.toml:2: column 1: "),
        (
            "[server]\nworkers = 99999999999999999999\n",
            "blocks.toml:2: column 11: ",
        ),
        ("[server]\n[server]\n", "blocks.toml:2:"),
    ] {
        let error = load_text(text).expect_err(text);
        assert!(
            matches!(error.unreadable, Some(ConfigError::Syntax { .. })),
            "{text}: {error:?}"
        );
        let message = &report(&error)[0];
        assert!(message.starts_with(place), "{text}: {message}");
    }
}

#[test]
fn a_missing_file_is_refused_by_name() {
    let error = load("no/such/blocks.toml".as_ref(), std::iter::empty()).expect_err("missing");
    assert!(
        error
            .to_string()
            .starts_with("no/such/blocks.toml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn odd_names_and_texts_never_panic() {
    for text in [
        "\"a[99999999999]\" = 1\n",
        "\"server.http\" = 1\n",
        "\"\" = 1\n",
        "[server]\n\"http[0]\" = 1\n",
        "[blocks]\n\"a[0]\" = { model = \"x.onnx\" }\n",
        "\u{feff}[servr]\n",
        "[log]\nfilter = \"äöü\u{0}\"\nformat = \"ä\"\n",
    ] {
        let _ = load_text(text).map_err(|error| report(&error));
    }
}

#[test]
fn blocks_and_pipelines_keep_the_order_of_the_file() {
    let mut text = String::new();
    for name in ["zebra", "ant", "moth", "bee", "cow"] {
        text += &format!("[blocks.{name}]\nmodel = \"{name}.onnx\"\n");
        text += &format!("[pipelines.{name}]\nflow = [\"{name}\"]\n");
    }
    let Spec {
        blocks, pipelines, ..
    } = load_text(&text).expect("sound").spec;
    let blocks: Vec<_> = blocks.iter().map(|block| block.name.as_str()).collect();
    assert_eq!(blocks, ["zebra", "ant", "moth", "bee", "cow"]);
    let pipelines: Vec<_> = pipelines
        .iter()
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    assert_eq!(pipelines, ["zebra", "ant", "moth", "bee", "cow"]);
}

#[test]
fn model_paths_are_taken_from_the_directory_of_the_file() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let path = directory.path().join("blocks.toml");
    fs::write(
        &path,
        "[blocks.a]\nmodel = \"m/a.onnx\"\n[blocks.b]\nmodel = \"/m/b.onnx\"\n",
    )
    .expect("the test's file is written");
    let spec = load(&path, std::iter::empty()).expect("sound").spec;
    let paths: Vec<_> = spec
        .blocks
        .iter()
        .map(|block| match &block.source {
            SourceSpec::Graph { path, .. } => path.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        paths,
        [
            directory.path().join("m/a.onnx"),
            PathBuf::from("/m/b.onnx")
        ]
    );
}

#[test]
fn a_tensor_name_with_dots_is_split_at_the_first_one() {
    let text = "[pipelines.p]\nedges = [\"x -> a.in.0\", \"a./out/0->y\"]\n";
    let spec = load_text(text).expect("sound").spec;
    let FlowSpec::Graph(graph) = &spec.pipelines[0].flow else {
        panic!("no graph")
    };
    assert_eq!(graph.edges[0].to, (Some("a".into()), "in.0".into()));
    assert_eq!(graph.edges[1].from, (Some("a".into()), "/out/0".into()));
}

#[test]
fn the_locator_finds_elements_and_falls_back_to_what_is_around() {
    let text = "[pipelines.p]\nflow = [\n  \"a\",\n  \"b\",\n]\n\n[blocks.a]\nmodel = \"a.onnx\"\n";
    let locator = load_text(text).expect("sound").locator;
    assert_eq!(locator.line("pipelines.p.flow[1]"), Some(4));
    assert_eq!(locator.line("pipelines.p.flow[7]"), Some(2));
    assert_eq!(locator.line("blocks.a.batch.max"), Some(7));
    assert_eq!(locator.line("nothing"), None);
}

#[test]
fn a_configuration_that_serves_nothing_is_refused_where_that_matters() {
    let loaded = load_text(ONNX)
        .expect("its form is sound")
        .demand_pipelines();
    let refused = sound(Ok(loaded)).expect_err("nothing to serve");
    assert!(
        report(&refused)[0].ends_with(
            "pipelines: declares none; expected [pipelines.NAME] with flow or edges, once at least"
        ),
        "{refused:?}"
    );
    // One that could not be understood was reported already.
    let refused = load_text("[pipelines.p]\nflaw = []\n").expect_err("an unknown key");
    assert!(
        !refused
            .lines
            .iter()
            .any(|line| line.contains("declares none"))
    );
    let text = format!("{ONNX}[pipelines.p]\nflow = [\"a\"]\n");
    let loaded = load_text(&text).expect("sound").demand_pipelines();
    assert_eq!(loaded.problems, []);
}

#[test]
fn only_graphs_are_computed_in_other_numbers() {
    let tensors = "[{ name = 'x', datatype = 'FP32', shape = [1] }]";
    for (source, what) in [
        (
            format!("model = 'a.pt'\ntrust = true\ninputs = {tensors}\noutputs = {tensors}"),
            "a TorchScript model",
        ),
        (
            "step = 'decode-image'\nimage = { width = 1, height = 1 }".to_owned(),
            "a built-in step",
        ),
        (
            format!("mock = {{ inputs = {tensors}, outputs = {tensors} }}"),
            "a mock",
        ),
    ] {
        let text = |precision: &str| {
            format!(
                "[blocks.a]\n{source}\nprecision = '{precision}'\n[pipelines.p]\nflow = ['a']\n"
            )
        };
        load_text(&text("fp32")).expect("as it is written");
        let told = report(&load_text(&text("bf16")).expect_err("other numbers")).join("\n");
        let expected = format!(
            "blocks.a.precision: is \"bf16\"; {what} computes as it is written: expected an .onnx or .pt2 model"
        );
        assert!(told.contains(&expected), "{told}");
    }
    let cuda = "[blocks.a]\nmodel = 'a.onnx'\ndevice = 'cuda:0'\nprecision = 'tf32'\ncudnn_autotune = true\n\
                stream_priority = 'high'\n[pipelines.p]\nflow = ['a']\n";
    let spec = load_text(cuda).expect("of a device").spec;
    assert!(spec.blocks[0].cuda.cudnn_autotune);
    assert_eq!(spec.blocks[0].cuda.stream_priority.name(), "high");
    assert_eq!(spec.blocks[0].source.precision().name(), "tf32");
}
