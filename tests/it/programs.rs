//! Programs of `torch.export`, as it leaves them and in the operators of core ATen: PyTorch's answers, the same wherever
//! they are cut, and through every command that takes a model.
//!
//! `scripts/make-programs` makes them.

use std::path::{Path, PathBuf};

use blockflow::engine::{read_npy, write_npy};
use blockflow::graph::{Graph, ValueOrigin};
use blockflow::types::{DType, Dim, Passes, Tensor};

use crate::cli::{blockflow, stderr, stdout};
use crate::engine_support::{cuts, data, values_f32};
use crate::graph_write::{INLINE, onnxruntime, written};
use crate::passes_support::{FAST, run};

/// Programs, of which some are there in both forms.
const PROGRAMS: [&str; 4] = ["network", "perceptron", "encoder", "odds"];
const FORMS: [&str; 2] = ["", "-core"];

/// Allowed difference, of the largest magnitude of an output.
const TOLERANCE: f32 = 1e-4;

fn file(name: &str) -> PathBuf {
    data("programs").join(name)
}

fn read(program: &str) -> Graph {
    Graph::read(&file(&format!("{program}.pt2"))).unwrap_or_else(|error| panic!("{error}"))
}

fn tensors(program: &str, role: &str) -> Vec<Tensor> {
    (0..)
        .map(|index| file(&format!("{program}.{role}-{index}.npy")))
        .take_while(|path| path.is_file())
        .map(|path| read_npy(&path).unwrap())
        .collect()
}

fn are_pytorchs(program: &str, outputs: &[Tensor], what: &str) {
    let expected = tensors(program, "output");
    assert_eq!(outputs.len(), expected.len(), "{what}");
    for (index, (seen, expected)) in outputs.iter().zip(&expected).enumerate() {
        let what = format!("{what}: output {index}");
        assert_eq!(format!("{seen:?}"), format!("{expected:?}"), "{what}");
        if seen.dtype() != DType::F32 {
            assert_eq!(seen.bytes(), expected.bytes(), "{what}");
            continue;
        }
        let (seen, expected) = (values_f32(seen), values_f32(expected));
        let largest = expected
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        for (seen, expected) in seen.iter().zip(&expected) {
            let apart = (seen - expected).abs();
            assert!(
                apart <= TOLERANCE * largest,
                "{what}: {seen}, expected {expected}"
            );
        }
    }
}

fn each_form(check: impl Fn(&str, &str)) {
    for program in PROGRAMS {
        for form in FORMS {
            let name = format!("{program}{form}");
            if file(&format!("{name}.pt2")).is_file() {
                check(program, &name);
            }
        }
    }
}

#[test]
fn programs_compute_what_pytorch_does() {
    each_form(|program, name| {
        let graph = read(name);
        let inputs = tensors(program, "input");
        for passes in [Passes::default(), FAST] {
            are_pytorchs(program, &run(&graph, passes, &inputs), name);
        }
    });
}

#[test]
fn sizes_of_the_exporter_become_symbols_that_take_other_sizes() {
    for form in FORMS {
        let graph = read(&format!("perceptron{form}"));
        let signature = graph.signature().unwrap();
        let [input] = signature.inputs.as_slice() else {
            panic!("{signature:?}");
        };
        assert!(matches!(input.shape.0[0], Dim::Symbol(_)), "{input:?}");
        assert_eq!(signature.outputs[0].shape.0[0], input.shape.0[0]);
        let rows = &tensors("perceptron", "input")[0];
        let expected = run(&graph, Passes::default(), std::slice::from_ref(rows));
        let one = rows.slice_rows(1..2).unwrap();
        let seen = run(&graph, Passes::default(), &[one]);
        assert_eq!(seen[0].shape(), [1, 4]);
        let row = expected[0].slice_rows(1..2).unwrap();
        for (seen, expected) in values_f32(&seen[0]).iter().zip(values_f32(&row)) {
            assert!((seen - expected).abs() < 1e-5, "{seen} and {expected}");
        }
    }
}

#[test]
fn req_4_programs_are_the_same_wherever_one_tensor_cuts_them() {
    let mut looked_at = 0;
    each_form(|program, name| {
        let graph = read(name);
        let inputs = tensors(program, "input");
        let whole = run(&graph, Passes::default(), &inputs);
        for cut in cuts(&graph) {
            let mut carried = inputs.clone();
            for segment in &graph.chain(std::slice::from_ref(&cut)).unwrap() {
                carried = run(segment, Passes::default(), &carried);
            }
            for (seen, whole) in carried.iter().zip(&whole) {
                assert_eq!(seen.shape(), whole.shape(), "{name} cut at {cut}");
                assert!(seen.bytes() == whole.bytes(), "{name} cut at {cut} differs");
            }
        }
    });
    for form in FORMS {
        looked_at += cuts(&read(&format!("network{form}"))).len();
    }
    assert!(looked_at > 10, "only {looked_at} cuts");
}

#[test]
fn known_operators_become_canonical_and_the_others_stay_what_they_are() {
    let left = |name: &str| {
        let graph = read(name);
        let nodes = graph.nodes.iter();
        nodes
            .filter(|node| node.op.name() == "ATen")
            .map(|node| node.name.clone())
            .collect::<Vec<_>>()
    };
    for name in [
        "network",
        "network-core",
        "perceptron",
        "perceptron-core",
        "encoder",
    ] {
        assert_eq!(left(name), Vec::<String>::new(), "{name}");
    }
    assert!(
        left("odds").contains(&"roll".to_owned()),
        "{:?}",
        left("odds")
    );
}

#[test]
fn weights_stay_in_the_file_where_their_elements_lie_side_by_side() {
    let graph = read("network");
    let weight = graph.find("p_stem_0_weight").unwrap();
    let ValueOrigin::Initializer(weight) = &graph.value(weight).origin else {
        panic!("no weight");
    };
    let content = std::fs::read(file("network.pt2")).unwrap();
    let found = content
        .windows(weight.tensor.bytes().len())
        .any(|window| window == weight.tensor.bytes());
    assert!(found);
    // Entries begin at multiples of 64, and so does a mapped file.
    assert_eq!(weight.tensor.bytes().as_ptr().addr() % 64, 0);
}

#[test]
fn onnxruntime_computes_of_programs_written_as_onnx_what_pytorch_does() {
    let top = tempfile::tempdir().unwrap();
    let mut folders = Vec::new();
    for program in ["network", "perceptron"] {
        for form in FORMS {
            let folder = top.path().join(format!("{program}{form}"));
            std::fs::create_dir(&folder).unwrap();
            written(&read(&format!("{program}{form}")), &folder, &INLINE);
            for (index, input) in tensors(program, "input").iter().enumerate() {
                write_npy(&folder.join(format!("input_{index}.npy")), input).unwrap();
            }
            folders.push((program, folder));
        }
    }
    let paths: Vec<_> = folders.iter().map(|(_, folder)| folder.clone()).collect();
    onnxruntime(&paths);
    for (program, folder) in folders {
        let count = tensors(program, "output").len();
        let outputs: Vec<_> = (0..count)
            .map(|index| read_npy(&folder.join(format!("expected_{index}.npy"))).unwrap())
            .collect();
        are_pytorchs(program, &outputs, &folder.display().to_string());
    }
}

#[test]
fn an_operator_that_stayed_what_it_is_cannot_be_written_as_onnx() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let error = read("odds").write(&path, &INLINE, &mut |_| ()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("this version has no ONNX form for ATen"),
        "{error}"
    );
    assert!(!path.exists());
}

fn succeed(arguments: &[&str]) -> String {
    let output = blockflow(arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

/// Runs the program on its input and returns the outputs that are written, in the order of their names.
fn outputs(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut outputs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    outputs.sort();
    outputs
}

#[test]
fn every_command_that_takes_a_model_takes_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let model = file("network.pt2").display().to_string();
    let core = file("network-core.pt2").display().to_string();
    let input = format!("image={}", file("network.input-0.npy").display());
    assert!(succeed(&["inspect", &model]).contains("Conv"));
    assert!(!succeed(&["shared", &model, &core]).is_empty());
    succeed(&["infer", &model, "--input", &input, "-o", &at("whole")]);
    let whole = outputs(Path::new(&at("whole")));
    assert_eq!(whole.len(), 1);
    succeed(&[
        "infer",
        &model,
        "--cut",
        "max_pool2d",
        "--input",
        &input,
        "-o",
        &at("cut"),
    ]);
    assert!(outputs(Path::new(&at("cut"))) == whole);
    succeed(&["split", &model, "--at", "max_pool2d", "-o", &at("blocks")]);
    let config = at("blocks/blocks.toml");
    succeed(&[
        "infer",
        "--pipeline",
        "network",
        "--config",
        &config,
        "--input",
        &input,
        "-o",
        &at("split"),
    ]);
    assert!(outputs(Path::new(&at("split"))) == whole);
    let own = at("own.toml");
    let text = format!(
        "[blocks.stem]\nmodel = \"{model}\"\noutputs = [\"max_pool2d\"]\n\n[blocks.head]\nmodel = \"{model}\"\n\
         inputs = [\"max_pool2d\"]\n\n[pipelines.network]\nflow = [\"stem\", \"head\"]\n"
    );
    std::fs::write(&own, text).unwrap();
    assert!(succeed(&["check", &own]).starts_with("ok: "));
    succeed(&[
        "infer",
        "--pipeline",
        "network",
        "--config",
        &own,
        "--input",
        &input,
        "-o",
        &at("own"),
    ]);
    assert!(outputs(Path::new(&at("own"))) == whole);
}

#[test]
fn an_archive_is_known_by_its_content_or_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let renamed = folder.path().join("program.onnx");
    std::fs::copy(file("perceptron.pt2"), &renamed).unwrap();
    assert!(Graph::read(&renamed).is_ok());
    let renamed = folder.path().join("model.pt2");
    std::fs::copy(data("tiny/mlp.onnx"), &renamed).unwrap();
    let told = Graph::read(&renamed).unwrap_err().to_string();
    assert!(told.contains("is no archive of torch.export"), "{told}");
}
