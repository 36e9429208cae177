//! What a block shows before it serves: it runs on the shapes that are declared, gives numbers, and the right ones; else it
//! is not served, at the start as in a reload.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use blockflow::engine::write_npy;
use blockflow::plan::compile;
use blockflow::types::{DType, Epoch, Tensor};

use crate::cli::{blockflow, stderr, stdout};
use crate::engine_support::f32s;
use crate::plan::{chain, spec};
use crate::support::contains;
use crate::support::files::Files;

/// Writes arrays as `numpy.savez` does.
fn savez(files: &Files, name: &str, arrays: &[(&str, Tensor)]) {
    let file = fs::File::create(files.at(name)).expect("created");
    let mut archive = zip::ZipWriter::new(file);
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, tensor) in arrays {
        let one = files.at("one.npy");
        write_npy(&one, tensor).expect("written");
        archive
            .start_file(format!("{name}.npy"), stored)
            .expect("begun");
        archive
            .write_all(&fs::read(&one).expect("read"))
            .expect("written");
    }
    archive.finish().expect("finished");
}

/// A pipeline `p` of one mock from `x` to `y`, both FP32 [n].
fn mock(mock: &str, rest: &str) -> String {
    let tensor =
        |name: &str| format!("[{{ name = \"{name}\", datatype = \"FP32\", shape = [\"n\"] }}]");
    format!(
        "[blocks.a]\nmock = {{ inputs = {}, outputs = {}, {mock} }}\n{rest}\n[pipelines.p]\nflow = [\"a\"]\n",
        tensor("x"),
        tensor("y")
    )
}

#[test]
fn a_block_that_gives_nan_is_not_served() {
    let nan = "failure = { nan_every = 2 }";
    let files = Files::new(&mock(nan, "warm = [{ x = [3] }, { x = [2] }]"));
    contains(
        &files.refusal(),
        &[
            "block \"a\"",
            "output \"y\" is NaN at [0]",
            "x FP32[2]",
            "finite = false",
        ],
    );
    files.write(&mock(
        nan,
        "warm = [{ x = [3] }, { x = [2] }]\nfinite = false",
    ));
    drop(files.serve());
    // Nothing is declared to be run before requests come, and a mock does not ask for it.
    files.write(&mock(nan, ""));
    drop(files.serve());
}

#[test]
fn a_reload_to_a_block_that_gives_nan_is_rejected() {
    let files = Files::new(&mock("latency_ms = 1", ""));
    let server = files.serve();
    for isolation in ["", "isolation = \"process\"\n"] {
        let rest = format!("{isolation}warm = [{{ x = [2] }}]");
        files.write(&mock("failure = { nan_every = 1 }", &rest));
        let response = server.load("p");
        assert_eq!(response.status, 400);
        contains(&response.text(), &["block \\\"a\\\"", "is NaN at [0]"]);
        assert_eq!(server.epoch(), 1);
        let served = server.infer("p", "x", "FP32", &[1], &[1, 2, 3, 4]);
        assert_eq!(served.binary(), [2, 3, 4, 5]);
    }
}

#[test]
fn a_block_is_run_on_every_shape_that_is_declared() {
    let files = Files::new(&mock(
        "failure = { error_every = 2 }",
        "warm = [{ x = [3] }]",
    ));
    drop(files.serve());
    files.write(&mock(
        "failure = { error_every = 2 }",
        "warm = [{ x = [3] }, { x = [5] }]",
    ));
    contains(
        &files.refusal(),
        &[
            "block \"a\"",
            "it failed on zeros of x FP32[5]",
            "as declared",
        ],
    );
}

/// Returns the bytes of a small network, and of the same one with a weight that is NaN.
fn networks() -> [Vec<u8>; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny/mlp.onnx");
    let sound = fs::read(path).expect("a model");
    let name = b"output.biasJ\x0c";
    let places = sound.windows(name.len());
    let found = places.enumerate().rfind(|(_, bytes)| bytes == name);
    let (place, _) = found.expect("the raw data of a bias");
    let mut broken = sound.clone();
    // The second of its three elements.
    broken[place + name.len() + 4..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    [sound, broken]
}

fn network(rest: &str) -> String {
    format!("[blocks.net]\nmodel = \"model.onnx\"\n{rest}\n[pipelines.p]\nflow = [\"net\"]\n")
}

#[test]
fn a_network_with_a_weight_that_is_nan_is_not_served() {
    let [sound, broken] = networks();
    let files = Files::new(&network(""));
    fs::write(files.at("model.onnx"), &broken).expect("written");
    let told = [
        "block \"net\"",
        "output \"output\" is NaN at [0, 1]",
        "finite = false",
    ];
    contains(&files.refusal(), &told);
    fs::write(files.at("model.onnx"), &sound).expect("written");
    let server = files.serve();
    fs::write(files.at("new.onnx"), &broken).expect("written");
    fs::rename(files.at("new.onnx"), files.at("model.onnx")).expect("renamed");
    let response = server.load("p");
    assert_eq!(response.status, 400);
    contains(&response.text(), &["is NaN at [0, 1]"]);
    assert_eq!(server.epoch(), 1);
    files.write(&network("finite = false"));
    let response = server.load("p");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(server.epoch(), 2);
}

#[test]
fn a_block_gives_its_golden_outputs_or_is_not_served() {
    // A mock gives back the bytes of its input, one added to each.
    let inputs =
        Tensor::copy_of(DType::F32, vec![2], &[0, 0, 0, 63, 0, 0, 0, 64]).expect("a tensor");
    let outputs =
        Tensor::copy_of(DType::F32, vec![2], &[1, 1, 1, 64, 1, 1, 1, 65]).expect("a tensor");
    let almost =
        Tensor::copy_of(DType::F32, vec![2], &[1, 2, 1, 64, 1, 1, 1, 65]).expect("a tensor");
    for isolation in ["", "isolation = \"process\"\n"] {
        let golden = format!("{isolation}golden = {{ cases = [\"golden.npz\"] }}");
        let files = Files::new(&mock("latency_ms = 1", &golden));
        savez(
            &files,
            "golden.npz",
            &[("x", inputs.clone()), ("y", outputs.clone())],
        );
        let server = files.serve();
        // A rounding that the tolerance lets through, and that a smaller one does not.
        savez(
            &files,
            "golden.npz",
            &[("x", inputs.clone()), ("y", almost.clone())],
        );
        files.write(&mock("latency_ms = 2", &golden));
        assert_eq!(server.load("p").status, 200);
        let exact = golden.replace("] }", "], tolerance = { relative = 0, absolute = 0 } }");
        files.write(&mock("latency_ms = 3", &exact));
        let response = server.load("p");
        assert_eq!(response.status, 400);
        let told = [
            "golden",
            "golden.npz",
            "1 of 2 elements of output \\\"y\\\"",
            "at [0]: expected 2.0",
        ];
        contains(&response.text(), &told);
        assert_eq!(server.epoch(), 2);
        drop(server);
        contains(&files.refusal(), &["1 of 2 elements of output \"y\""]);
    }
}

#[test]
fn golden_cases_are_checked_without_serving() {
    let golden = "golden = { cases = [{ inputs = \"in.npy\", outputs = \"out.npy\" }] }";
    let files = Files::new(&mock("latency_ms = 1", golden));
    let config = files.path().display().to_string();
    write_npy(&files.at("in.npy"), &f32s(&[1], &[0.5])).expect("written");
    let right = Tensor::copy_of(DType::F32, vec![1], &[1, 1, 1, 64]).expect("a tensor");
    write_npy(&files.at("out.npy"), &right).expect("written");
    let output = blockflow(&["check", &config, "--golden"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    contains(
        &stdout(&output),
        &["ok: 1 block, 1 pipeline", "golden cases of 1 block"],
    );
    write_npy(&files.at("out.npy"), &f32s(&[1], &[7.0])).expect("written");
    let output = blockflow(&["check", &config]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "nothing is run without being asked for"
    );
    let output = blockflow(&["check", &config, "--golden"]);
    assert_eq!(output.status.code(), Some(4), "{}", stdout(&output));
    contains(
        &stderr(&output),
        &["block \"a\"", "out.npy", "expected 7, got 2.0"],
    );
}

#[test]
fn golden_files_that_cannot_be_used_are_problems_of_the_configuration() {
    let files = Files::new("");
    let config = files.path().display().to_string();
    let (x, y) = (f32s(&[2], &[1.0; 2]), f32s(&[3], &[1.0; 3]));
    savez(
        &files,
        "other_size.npz",
        &[("x", x.clone()), ("y", y.clone())],
    );
    savez(&files, "no_input.npz", &[("y", x.clone())]);
    savez(&files, "no_output.npz", &[("x", x.clone())]);
    savez(
        &files,
        "stranger.npz",
        &[("x", x.clone()), ("y", x.clone()), ("z", x.clone())],
    );
    let ints = Tensor::copy_of(DType::I32, vec![2], &[0; 8]).expect("a tensor");
    savez(&files, "ints.npz", &[("x", ints.clone()), ("y", x.clone())]);
    savez(&files, "ints_out.npz", &[("x", x), ("y", ints)]);
    fs::write(files.at("noise.npz"), [7; 100]).expect("written");
    fs::create_dir(files.at("folder.npz")).expect("made");
    for (case, told) in [
        ("none.npz", "none.npz"),
        ("folder.npz", "is no regular file"),
        ("noise.npz", "is no usable .npz file"),
        ("other_size.npz", "another input set n to 2"),
        ("no_input.npz", "holds no input \"x\""),
        ("no_output.npz", "holds no output of the block"),
        ("stranger.npz", "holds \"z\", which is none of the block's"),
        ("ints.npz", "datatype INT32, expected FP32"),
        ("ints_out.npz", "datatype INT32, expected FP32"),
    ] {
        files.write(&mock(
            "latency_ms = 1",
            &format!("golden.cases = [\"{case}\"]"),
        ));
        let output = blockflow(&["check", &config]);
        assert_eq!(output.status.code(), Some(3), "{case}");
        contains(
            &stdout(&output),
            &["blocks.toml:3: blocks.a.golden.cases[0]", told],
        );
    }
}

#[test]
fn an_archive_that_is_damaged_anywhere_is_refused_and_never_panics() {
    let files = Files::new("");
    savez(
        &files,
        "sound.npz",
        &[("x", f32s(&[2], &[1.0; 2])), ("y", f32s(&[], &[2.0]))],
    );
    let sound = fs::read(files.at("sound.npz")).expect("read");
    let path = files.at("damaged.npz");
    for place in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[place] ^= 0x81;
        fs::write(&path, &damaged).expect("written");
        // Some bytes mean nothing, and those of the elements are covered by a checksum.
        let _ = blockflow::engine::read_npz(&path, 1 << 20);
        fs::write(&path, &sound[..place]).expect("written");
        assert!(
            blockflow::engine::read_npz(&path, 1 << 20).is_err(),
            "cut at {place}"
        );
    }
    let read = |bytes| blockflow::engine::read_npz(&files.at("sound.npz"), bytes);
    assert_eq!(read(1 << 20).expect("sound").len(), 2);
    assert!(read(200).is_err_and(|error| error.to_string().contains("more than 200 bytes")));
}

#[test]
fn shapes_that_are_none_of_the_inputs_are_refused() {
    let signature = "left FP32 n 4, right INT64 n => y FP32 n";
    let warm = |shapes: &[(&str, &[usize])]| {
        let (mut spec, signatures) = spec(&[("a", signature)], vec![chain(&["a"])]);
        let shapes = shapes
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()));
        spec.blocks[0].proof.warm = vec![shapes.collect()];
        compile(&spec, &signatures, Epoch(1))
    };
    warm(&[("left", &[3, 4]), ("right", &[3])]).expect("sound");
    for (shapes, told) in [
        (
            &[("left", &[3, 4][..])][..],
            "blocks.a.warm[0]: says nothing of input \"right\"",
        ),
        (
            &[("left", &[3, 4]), ("right", &[3]), ("rigth", &[3])],
            "blocks.a.warm[0].rigth: is no input of block \"a\"; did you mean \"right\"?",
        ),
        (
            &[("left", &[3, 5]), ("right", &[3])],
            "blocks.a.warm[0].left: input \"left\" has shape [3, 5], expected [n, 4]; expected sizes for [n, 4]",
        ),
        (
            &[("left", &[3]), ("right", &[3])],
            "input \"left\" has shape [3]",
        ),
        (
            &[("left", &[3, 4]), ("right", &[2])],
            "but another input set n to 3",
        ),
        (
            &[("left", &[1 << 40, 4]), ("right", &[1 << 40])],
            "blocks.a.warm[0].left: is [1099511627776, 4], with which the inputs take more than",
        ),
    ] {
        let problems = warm(shapes).expect_err(told);
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.join("\n").contains(told), "{told:?} not in {lines:?}");
    }
    let (mut spec, signatures) = spec(&[("a", "file BYTES 1 => y FP32 1")], vec![chain(&["a"])]);
    spec.blocks[0].proof.warm = vec![[("file".to_owned(), vec![1])].into()];
    let problems = compile(&spec, &signatures, Epoch(1)).expect_err("no zeros of BYTES");
    assert!(
        problems[0].to_string().contains("expected golden inputs"),
        "{problems:?}"
    );
}
