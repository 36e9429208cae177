//! `blockflow infer`: whole, cut or as a pipeline the same bytes; and what does not fit is refused by name.

use std::path::{Path, PathBuf};
use std::process::Output;

use blockflow::engine::{BlockSource, prepare, read_npy, write_npy};
use blockflow::types::{DType, Device, Tensor};
use tempfile::TempDir;

use crate::cli::{blockflow, checkout, stderr, stdout};
use crate::engine_support::{f32s, fixed, i64s, noise, signature, values_f32};

fn digits(name: &str) -> String {
    checkout(&format!("tests/data/digits/{name}"))
}

fn images() -> String {
    format!("image={}", digits("images.npy"))
}

/// A folder for the outputs of one command, and the command.
struct Infer {
    folder: TempDir,
    arguments: Vec<String>,
}

impl Infer {
    fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        Self {
            arguments: arguments.collect(),
            folder,
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn run(&self) -> Output {
        let out = self.out().display().to_string();
        let arguments = ["infer", "--output", &out].into_iter();
        let arguments = arguments.chain(self.arguments.iter().map(String::as_str));
        blockflow(&arguments.collect::<Vec<_>>())
    }

    fn succeed(&self) -> String {
        let output = self.run();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{:?}: {}",
            self.arguments,
            stderr(&output)
        );
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
        stdout(&output)
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.out().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Ends with `code`, says `reason`, prints no result and leaves no outputs.
    fn fail(&self, code: i32, reason: &str) {
        let output = self.run();
        let (said, arguments) = (stderr(&output), &self.arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        assert!(said.starts_with("error: "), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!self.out().exists(), "{arguments:?} wrote outputs");
    }
}

fn best(logits: &Tensor) -> usize {
    let logits = values_f32(logits);
    (0..logits.len())
        .max_by(|&left, &right| logits[left].total_cmp(&logits[right]))
        .unwrap()
}

#[test]
fn req_4_a_cut_model_writes_the_files_of_the_whole() {
    let model = digits("digits.onnx");
    let whole = Infer::new(&[&model, "--input", &images()]);
    whole.succeed();
    for cuts in [
        &["features"][..],
        &["stem_out", "features"],
        &["block_a_conv"],
        &["digit_logits"],
        &[],
    ] {
        same_as_whole(&whole, cuts, &["--isolation", "process"]);
        if !cuts.is_empty() {
            same_as_whole(&whole, cuts, &[]);
        }
    }
}

fn same_as_whole(whole: &Infer, cuts: &[&str], rest: &[&str]) {
    let model = digits("digits.onnx");
    let flags: Vec<&str> = cuts.iter().flat_map(|cut| ["--cut", cut]).collect();
    let image = images();
    let cut = Infer::new(&[&[model.as_str(), "--input", &image], &flags[..], rest].concat());
    cut.succeed();
    for output in [
        "digit_logits.npy",
        "parity_logits.npy",
        "legible_logits.npy",
    ] {
        assert!(
            cut.file(output) == whole.file(output),
            "{output} differs where cut at {cuts:?} with {rest:?}"
        );
    }
}

#[test]
fn a_model_gives_nearly_the_same_however_far_it_is_rewritten() {
    let model = digits("digits.onnx");
    let logits = |flags: &[&str]| {
        let image = images();
        let infer = Infer::new(&[&[model.as_str(), "--input", &image], flags].concat());
        infer.succeed();
        values_f32(&read_npy(&infer.out().join("digit_logits.npy")).unwrap())
    };
    let plain = logits(&["--optimize", "off"]);
    for flags in [
        &["--optimize", "exact"][..],
        &["--optimize", "fast"],
        &["--no-pass", "fuse-activations", "--no-pass", "fuse-linear"],
    ] {
        for (seen, plain) in logits(flags).iter().zip(&plain) {
            assert!(
                (seen - plain).abs() <= 1e-4 * (1.0 + plain.abs()),
                "{flags:?}"
            );
        }
    }
}

#[test]
fn a_pass_that_there_is_not_is_refused() {
    let model = digits("digits.onnx");
    let infer = Infer::new(&[&model, "--input", &images(), "--no-pass", "fuse"]);
    infer.fail(2, "expected one of fold-constants tidy-layout");
}

#[test]
fn a_pipeline_of_segments_writes_the_file_of_the_whole() {
    let whole = Infer::new(&[&digits("digits.onnx"), "--input", &images()]);
    whole.succeed();
    let config = checkout("blocks.toml");
    let image = images();
    let pipeline = Infer::new(&[
        "--pipeline",
        "digit",
        "--config",
        &config,
        "--input",
        &image,
    ]);
    let said = pipeline.succeed();
    assert!(said.contains("digit_logits"), "{said}");
    assert!(pipeline.file("digit_logits.npy") == whole.file("digit_logits.npy"));
    assert_eq!(std::fs::read_dir(pipeline.out()).unwrap().count(), 1);
}

#[test]
fn an_image_file_is_decoded_to_what_the_model_takes() {
    let image = format!("image={}", digits("seven.png"));
    let infer = Infer::new(&[
        &digits("digits.onnx"),
        "--input",
        &image,
        "--image-scale",
        "16",
    ]);
    infer.succeed();
    let logits = read_npy(&infer.out().join("digit_logits.npy")).unwrap();
    assert_eq!(logits.shape(), [1, 10]);
    assert_eq!(best(&logits), 7);
}

#[test]
fn a_torchscript_file_gives_what_its_session_does() {
    let folder = tempfile::tempdir().unwrap();
    let features = f32s(&[3, 64], &noise(3 * 64, 5));
    let file = folder.path().join("features.npy");
    write_npy(&file, &features).unwrap();
    let model = digits("parity_head.pt");
    let input = format!("features={}", file.display());

    let declared = signature(
        &[(DType::F32, &fixed(&[3, 64]))],
        &[(DType::F32, &fixed(&[3, 2]))],
    );
    let source = BlockSource::TorchScript {
        path: Path::new(&model),
        signature: &declared,
    };
    let mut session = prepare(source, 1, Device::Cpu).unwrap().session().unwrap();
    let expected = session.run(&[features]).unwrap().remove(0);

    for (flags, name) in [
        (&[][..], "output_0.npy"),
        (&["--output-name", "parity"], "parity.npy"),
    ] {
        let infer = Infer::new(&[&[model.as_str(), "--trust", "--input", &input], flags].concat());
        infer.succeed();
        let seen = read_npy(&infer.out().join(name)).unwrap();
        assert_eq!(seen.shape(), [3, 2]);
        assert_eq!(seen.bytes(), expected.bytes());
    }
}

#[test]
fn the_list_of_outputs_is_json_where_asked_for() {
    let infer = Infer::new(&[
        &digits("digits.onnx"),
        "--input",
        &images(),
        "--format",
        "json",
    ]);
    let list: serde_json::Value = serde_json::from_str(&infer.succeed()).unwrap();
    let expected = [("digit", 10), ("parity", 2), ("legible", 2)];
    assert_eq!(list.as_array().unwrap().len(), expected.len());
    for (one, (task, classes)) in list.as_array().unwrap().iter().zip(expected) {
        assert_eq!(one["name"], format!("{task}_logits"));
        assert_eq!(one["datatype"], "FP32");
        assert_eq!(one["shape"], serde_json::json!([360, classes]));
        let logits = read_npy(Path::new(one["file"].as_str().unwrap())).unwrap();
        assert_eq!(logits.shape(), [360, classes]);
    }
}

#[test]
fn repeated_runs_tell_their_times_and_write_the_same() {
    let model = digits("digits.onnx");
    let once = Infer::new(&[&model, "--input", &images()]);
    once.succeed();
    let often = Infer::new(&[&model, "--input", &images(), "--repeat", "3"]);
    let output = often.run();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("3 runs"), "{}", stderr(&output));
    assert!(often.file("digit_logits.npy") == once.file("digit_logits.npy"));
}

#[test]
fn wrong_cuts_are_refused_by_name() {
    let model = digits("digits.onnx");
    let image = images();
    let cases: &[(&[&str], &str)] = &[
        (&["--cut", "feature"], "\"feature\""),
        // What was meant is told.
        (&["--cut", "feature"], "features"),
        (&["--cut", "image"], "\"image\""),
        (&["--cut", "features", "--cut", "stem_out"], "\"stem_out\""),
        (&["--cut", "features", "--cut", "features"], "\"features\""),
    ];
    for (cuts, reason) in cases {
        let arguments = [&[model.as_str(), "--input", &image], *cuts].concat();
        Infer::new(&arguments).fail(4, reason);
    }
    Infer::new(&[
        &digits("parity_head.pt"),
        "--trust",
        "--input",
        &image,
        "--cut",
        "features",
    ])
    .fail(2, "TorchScript");
}

#[test]
fn wrong_inputs_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let integers = folder.path().join("integers.npy");
    write_npy(&integers, &i64s(&[1, 1, 8, 8], &[0; 64])).unwrap();
    let flat = folder.path().join("flat.npy");
    write_npy(&flat, &f32s(&[64], &[0.0; 64])).unwrap();
    let given = |name: &str, path: &Path| format!("{name}={}", path.display());
    let (image, unknown) = (images(), given("picture", &flat));
    let (integers, flat) = (given("image", &integers), given("image", &flat));
    let missing = given("image", Path::new("nowhere.npy"));
    let png = given("image", Path::new(&digits("seven.png")));
    let text = given("image", Path::new(&digits("report.json")));
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 2, "input \"image\" is missing"),
        (&["--input", &unknown], 2, "there is no input \"picture\""),
        (
            &["--input", &image, "--input", &image],
            2,
            "input \"image\" is given twice",
        ),
        (
            &["--input", &integers],
            2,
            "input \"image\" has datatype INT64, expected FP32",
        ),
        (&["--input", &flat], 2, "input \"image\" has shape [64]"),
        (&["--input", &missing], 1, "nowhere.npy"),
        (&["--input", &text], 1, "report.json"),
        (
            &["--input", &png, "--image-scale", "nothing"],
            2,
            "--image-scale",
        ),
    ];
    let model = digits("digits.onnx");
    let config = checkout("blocks.toml");
    for subject in [
        &[model.as_str()][..],
        &[&model, "--cut", "features"],
        &["--pipeline", "digit", "--config", &config],
    ] {
        for (inputs, code, reason) in cases {
            Infer::new(&[subject, inputs].concat()).fail(*code, reason);
        }
    }
}

#[test]
fn an_unknown_pipeline_is_refused_with_those_there_are() {
    let config = checkout("blocks.toml");
    let image = images();
    let arguments = ["--config", &config, "--input", &image, "--pipeline"];
    let infer = Infer::new(&[&arguments[..], &["digits"]].concat());
    infer.fail(2, "\"digits\"");
    infer.fail(2, "digit_image");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    std::fs::write(&taken, "a file").unwrap();
    let out = taken.display().to_string();
    let model = digits("digits.onnx");
    let output = blockflow(&["infer", &model, "--input", &images(), "--output", &out]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(&out), "{}", stderr(&output));
}

#[test]
fn a_model_with_the_wrong_number_of_output_names_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("features.npy");
    write_npy(&file, &f32s(&[1, 64], &[0.0; 64])).unwrap();
    let input = format!("features={}", file.display());
    let model = digits("parity_head.pt");
    let flags = ["--output-name", "a", "--output-name", "b"];
    let infer = Infer::new(&[&[model.as_str(), "--trust", "--input", &input], &flags[..]].concat());
    infer.fail(2, "2 output names");
    // The names of an ONNX model are its own.
    let model = digits("digits.onnx");
    let infer = Infer::new(&[&model, "--input", &images(), "--output-name", "a"]);
    infer.fail(2, "--output-name");
}
