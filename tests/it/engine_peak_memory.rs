//! Activations are freed at their last use: a long chain needs the memory of a few of them.
//!
//! Measured in a process of its own, since the peak of a process is that of all its tests.

use blockflow::engine::warm;
use blockflow::graph::{Op, Unary};
use blockflow::types::{AlignedBytes, DType, Dim, Tensor};

use crate::engine_support::{Builder, prepare_graph, signature};

const ELEMENTS: usize = 4 * 1024 * 1024;
const TENSOR_KIB: usize = ELEMENTS * 4 / 1024;
const NODES: usize = 50;

fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The part that runs in the child.
#[test]
#[ignore = "run by a_long_chain_needs_the_memory_of_few_activations"]
fn chain_in_a_process_of_its_own() {
    let mut builder = Builder::new();
    let mut value = builder.input();
    for index in 0..NODES {
        // Alternately a kernel that may write in place and one that never does.
        let op = if index % 2 == 0 {
            Unary::Softsign
        } else {
            Unary::Relu
        };
        value = builder.node(Op::Unary(op), &[value]);
    }
    let graph = builder.finish(&[value]);
    let dims = [Dim::Any];
    let prepared = prepare_graph(
        &graph,
        signature(&[(DType::F32, &dims)], &[(DType::F32, &dims)]),
    )
    .unwrap();
    let input = Tensor::new(
        DType::F32,
        vec![ELEMENTS],
        std::sync::Arc::new(AlignedBytes::zeroed(ELEMENTS * 4)),
    )
    .unwrap();
    let mut session = prepared.session().unwrap();
    // Brings in the pages of the library that the kernels lie in.
    warm(session.as_mut(), prepared.signature()).unwrap();
    let before = peak_kib();
    session.run(&[input]).unwrap();
    let grown = peak_kib() - before;
    assert!(
        grown >= TENSOR_KIB,
        "only {grown} KiB: the run was not measured"
    );
    assert!(
        grown < 8 * TENSOR_KIB,
        "{grown} KiB for activations of {TENSOR_KIB} KiB"
    );
}

#[test]
fn a_long_chain_needs_the_memory_of_few_activations() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "engine_peak_memory::chain_in_a_process_of_its_own",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
