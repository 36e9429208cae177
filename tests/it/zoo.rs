//! Real architectures as PyTorch's exporters write them: PyTorch's answers, and the same whatever the cut.
//!
//! `scripts/zoo` exports them to `target/zoo`; without that folder these tests are skipped aloud.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use blockflow::engine::read_npy;
use blockflow::graph::Graph;
use blockflow::types::{DType, GraphEngine, Passes, Tensor};

use crate::engine_support::{cuts, run_graph, values_f32};

/// Allowed difference, of the largest magnitude of an output.
const TOLERANCE: f32 = 1e-4;

/// A network of each kind that is small enough to be cut everywhere.
const CUT: [&str; 8] = [
    "mobilenet_v3_small-export",
    "squeezenet1_1-core",
    "bert-export",
    "mobilenet_v3_small-torchscript",
    "squeezenet1_1-dynamo",
    "bert-torchscript",
    "llama_attention-dynamo",
    "lstm-torchscript",
];

/// Folders of the zoo, in the order of their names; none where it has not been made.
fn zoo() -> Vec<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/zoo"));
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("skipped: no {}, which scripts/zoo makes", folder.display());
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("stamp").is_file())
        .collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// Reads `{role}-0.npy`, `{role}-1.npy`, …
fn tensors(folder: &Path, role: &str) -> Result<Vec<Tensor>, String> {
    (0..)
        .map(|index| folder.join(format!("{role}-{index}.npy")))
        .take_while(|path| path.is_file())
        .map(|path| read_npy(&path).map_err(|error| error.to_string()))
        .collect()
}

fn read(folder: &Path) -> Result<Graph, String> {
    let files = ["model.onnx", "model.pt2"].map(|name| folder.join(name));
    let file = files.iter().find(|file| file.is_file());
    let file = file.ok_or("has no model")?;
    Graph::read(file).map_err(|error| error.to_string())
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    run_graph(graph, GraphEngine::Aten, Passes::default(), inputs)
}

/// Returns how far outputs may be off: no engine is asked to be closer to PyTorch and ONNX Runtime than twice what these
/// are apart.
fn tolerance(folder: &Path) -> Result<f32, String> {
    let (torch, runtime) = (tensors(folder, "torch")?, tensors(folder, "onnxruntime")?);
    let mut apart = 0.0_f32;
    for (torch, runtime) in torch.iter().zip(&runtime) {
        if torch.dtype() == DType::F32 && torch.shape() == runtime.shape() {
            let (torch, runtime) = (values_f32(torch), values_f32(runtime));
            let scale = torch
                .iter()
                .fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
            let pairs = torch.iter().zip(&runtime);
            let most = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            apart = apart.max(most / scale);
        }
    }
    Ok(TOLERANCE.max(2.0 * apart))
}

/// Says where outputs are not those of `role`.
fn compare(folder: &Path, role: &str, outputs: &[Tensor]) -> Result<(), String> {
    let expected = tensors(folder, role)?;
    let tolerance = tolerance(folder)?;
    if outputs.len() != expected.len() || expected.is_empty() {
        return Err(format!(
            "{} outputs, {role} has {}",
            outputs.len(),
            expected.len()
        ));
    }
    for (index, (seen, expected)) in outputs.iter().zip(&expected).enumerate() {
        if (seen.dtype(), seen.shape()) != (expected.dtype(), expected.shape()) {
            return Err(format!(
                "output {index} is {} {:?}, of {role} {} {:?}",
                seen.dtype(),
                seen.shape(),
                expected.dtype(),
                expected.shape()
            ));
        }
        if seen.dtype() != DType::F32 {
            if seen.bytes() != expected.bytes() {
                return Err(format!("output {index} is not that of {role}"));
            }
            continue;
        }
        let (seen, expected) = (values_f32(seen), values_f32(expected));
        let scale = expected
            .iter()
            .fold(0.0, |most: f32, value| most.max(value.abs()));
        let apart = |(seen, expected): (&f32, &f32)| (seen - expected).abs();
        let pairs = seen.iter().zip(&expected).map(apart);
        if let Some(error) = pairs
            .map(|error| error / scale.max(f32::MIN_POSITIVE))
            .find(|error| error.is_nan() || *error > tolerance)
        {
            return Err(format!(
                "output {index} is off that of {role} by {error:.1e} of its largest magnitude"
            ));
        }
    }
    Ok(())
}

fn check(folder: &Path) -> Result<(), String> {
    let outputs = run(&read(folder)?, &tensors(folder, "input")?)?;
    compare(folder, "torch", &outputs)?;
    // No other engine runs programs of torch.export.
    if folder.join("model.pt2").is_file() {
        return Ok(());
    }
    compare(folder, "onnxruntime", &outputs)
}

#[test]
fn real_architectures_compute_what_pytorch_and_onnxruntime_do() {
    let mut failed = Vec::new();
    for folder in zoo() {
        let start = Instant::now();
        let outcome = check(&folder);
        let time = start.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => println!("pass {} ({time:.1} s)", name(&folder)),
            Err(cause) => {
                println!("FAIL {}: {cause}", name(&folder));
                failed.push(name(&folder));
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} models fail: {failed:?}",
        failed.len()
    );
}

#[test]
fn req_4_real_architectures_are_the_same_wherever_one_tensor_cuts_them() {
    for folder in zoo() {
        let name = name(&folder);
        if !CUT.contains(&name.as_str()) {
            continue;
        }
        let graph = read(&folder).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let inputs = tensors(&folder, "input").unwrap();
        let whole = run(&graph, &inputs).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let cuts = cuts(&graph);
        assert!(!cuts.is_empty(), "{name} has no cut of one tensor");
        for cut in &cuts {
            let segments = graph.chain(std::slice::from_ref(cut)).unwrap();
            let mut carried = inputs.clone();
            for segment in &segments {
                carried = run(segment, &carried)
                    .unwrap_or_else(|cause| panic!("{name} cut at {cut}: {cause}"));
            }
            assert_eq!(carried.len(), whole.len(), "{name} cut at {cut}");
            for (seen, whole) in carried.iter().zip(&whole) {
                assert!(
                    seen.shape() == whole.shape() && seen.bytes() == whole.bytes(),
                    "{name} cut at {cut} differs from the whole"
                );
            }
        }
        println!("{name}: the same at {} cuts", cuts.len());
    }
}
