//! Cutting a model costs no memory: the peak of requests does not grow with the number of blocks.
//!
//! Measured in a process of its own per number of blocks, since the peak of a process is that of all its tests.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use blockflow::engine::torch::tune_allocator;
use blockflow::graph::Graph;
use blockflow::types::{AlignedBytes, DType, Tensor};
use prost::Message;

use crate::graph_file::{FLOAT, floats, info, model, node};
use crate::support::{cut, start, submit, wait};

const ELEMENTS: usize = 4 * 1024 * 1024;
const TENSOR_KIB: usize = ELEMENTS * 4 / 1024;
const NODES: usize = 24;
const REQUESTS: usize = 8;
/// Tensors that the heap may keep for reuse, however many blocks there are.
const RETAINED: usize = 8;
const BLOCKS: &str = "BLOCKFLOW_TEST_BLOCKS";
const LONG: Duration = Duration::from_secs(25);

/// Returns the most that the process ever had resident, in KiB.
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Writes a chain of `Relu` and `Add` over tensors of `size` elements, the `i`-th of them called `h<i>`.
fn write_chain(path: &std::path::Path, size: &str) {
    let name = |index: usize| match index {
        0 => "x".to_owned(),
        NODES => "y".to_owned(),
        _ => format!("h{index}"),
    };
    let nodes = (0..NODES).map(|index| {
        let (from, to) = (name(index), name(index + 1));
        if index % 2 == 0 {
            node("Relu", &[&from], &[&to])
        } else {
            node("Add", &[&from, "half"], &[&to])
        }
    });
    let mut model = model(17, size, nodes.collect(), vec![floats("half", &[1])]);
    model.graph_mut().outputs = vec![info("y", FLOAT, size)];
    std::fs::write(path, model.encode_to_vec()).unwrap();
}

/// The part that runs in the child: prints by how much some requests, one at a time, raised the peak of the process.
#[test]
#[ignore = "run by the_peak_of_requests_does_not_grow_with_the_number_of_blocks"]
fn requests_in_a_process_of_its_own() {
    tune_allocator();
    let blocks: usize = std::env::var(BLOCKS).unwrap().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain.onnx");
    // A symbolic size, which warming takes for 1: what is measured is the requests.
    write_chain(&path, "n");
    let cuts: Vec<_> = (1..blocks)
        .map(|index| format!("h{}", index * NODES / blocks))
        .collect();
    let runtime = start(&cut(&path, &Graph::read(&path).unwrap(), &cuts, LONG));
    let half = 0.5 * (NODES / 2) as f32;
    let before = peak_kib();
    for _ in 0..REQUESTS {
        let mut memory = AlignedBytes::zeroed(ELEMENTS * 4);
        // Pages that nobody wrote to are not resident.
        memory.as_mut_slice().fill(0);
        let input = Tensor::new(DType::F32, vec![ELEMENTS], Arc::new(memory)).unwrap();
        // The input is the pipeline's from here on.
        let ticket = submit(runtime.gateway(), 0, vec![input]).unwrap();
        let outputs = wait(ticket).unwrap().outputs;
        assert_eq!(outputs[0].bytes()[..4], half.to_le_bytes());
    }
    let grown = peak_kib() - before;
    println!("grown={grown};");
}

fn grown_kib(blocks: usize) -> usize {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "peak_memory::requests_in_a_process_of_its_own",
        ])
        .env(BLOCKS, blocks.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rest = text.split("grown=").nth(1).expect("a measurement");
    rest.split(';').next().unwrap().parse().unwrap()
}

#[test]
fn the_peak_of_requests_does_not_grow_with_the_number_of_blocks() {
    let whole = grown_kib(1);
    assert!(
        whole >= TENSOR_KIB,
        "only {whole} KiB: the requests were not measured"
    );
    for blocks in [2, 12, NODES] {
        let cut = grown_kib(blocks);
        assert!(
            cut <= whole + RETAINED * TENSOR_KIB,
            "{cut} KiB with {blocks} blocks, {whole} KiB with one, for activations of {TENSOR_KIB} KiB"
        );
    }
}
