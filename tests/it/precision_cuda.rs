//! Numbers, chosen algorithms and urgency of blocks on CUDA devices: what one block asks for is not what the next one gets.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;

use blockflow::engine::{
    BlockSource, Prepared, Seat, Session, Store, check_device, prepare_for, to_host,
};
use blockflow::graph::Graph;
use blockflow::types::{CudaSpec, Device, GraphEngine, Passes, Precision, StreamPriority, Tensor};

use crate::engine_support::{data, f32s, noise, values_f32};
use crate::graph_file::*;
use crate::passes_support::{given, noisy};
use crate::precision::run_in;
use crate::support::cuda::{rehearse, rehearse_with};

const GPU: Device = Device::Cuda(0);

fn prepared(graph: &Graph, precision: Precision, cuda: CudaSpec) -> Arc<dyn Prepared> {
    let source = BlockSource::Graph {
        graph,
        signature: graph.signature().unwrap(),
        engine: GraphEngine::Aten,
        passes: Passes::default().in_precision(precision),
    };
    let seat = Seat {
        block: "test",
        device: GPU,
        rows_max: 1,
        cuda,
    };
    prepare_for(source, 1, seat).unwrap_or_else(|error| panic!("{precision:?}: {error}"))
}

fn run(session: &mut Box<dyn Session>, input: &Tensor) -> Vec<Vec<f32>> {
    let outputs = session.run(std::slice::from_ref(input)).unwrap();
    let outputs = outputs
        .iter()
        .map(|output| to_host(output).unwrap().unwrap());
    outputs.map(|output| values_f32(&output)).collect()
}

#[test]
fn a_network_in_16_bits_takes_half_the_memory_of_a_device() {
    rehearse("precision_cuda::inside_a_network_in_16_bits");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_a_network_in_16_bits() {
    check_device(GPU).unwrap();
    let graph = Graph::read(&data("digits/digits.onnx")).unwrap();
    let images: Vec<f32> = noise(128, 3).iter().map(|one| one * 8.0 + 8.0).collect();
    let images = f32s(&[2, 1, 8, 8], &images);
    let whole = {
        let exact = prepared(&graph, Precision::Fp32, CudaSpec::default());
        exact.weight_bytes()
    };
    for precision in [Precision::Fp16, Precision::Bf16] {
        let block = prepared(&graph, precision, CudaSpec::default());
        assert_eq!(Store::of(GPU).usage().bytes, block.weight_bytes());
        assert!(block.weight_bytes() * 200 <= whole * 102);
        let seen = run(&mut block.session().unwrap(), &images);
        let expected = run_in(&graph, precision, std::slice::from_ref(&images));
        for (seen, expected) in seen.iter().zip(&expected) {
            let expected = values_f32(expected);
            let most = expected
                .iter()
                .fold(1e-6_f32, |most, one| most.max(one.abs()));
            for (seen, expected) in seen.iter().zip(&expected) {
                // The kernels are others; the numbers are as coarse.
                assert!(
                    (seen - expected).abs() <= 0.03 * most,
                    "{seen} for {expected}"
                );
            }
        }
    }
}

/// 1 + 2⁻¹², of which TF32 has no more than the 1.
const FINE: f32 = 1.0 + 1.0 / 4096.0;

/// One input [1, 1, 2, 2]; y, a convolution with 1, and z and b, products with the unit matrix, are what comes in.
fn copying() -> Graph {
    let nodes = vec![
        node("Conv", &["x", "one"], &["y"]),
        node("Reshape", &["x", "square"], &["m"]),
        node("MatMul", &["m", "unit"], &["z"]),
        node("Gemm", &["m", "unit", "zero"], &["b"]),
    ];
    let weights = vec![
        given("one", &[1, 1, 1, 1], &[1.0]),
        given("unit", &[2, 2], &[1.0, 0.0, 0.0, 1.0]),
        given("zero", &[2], &[0.0, 0.0]),
        integers("square", &[2, 2]),
    ];
    let mut file = model(17, "1,1,2,2", nodes, weights);
    file.graph_mut().outputs = vec![untyped("y"), untyped("z"), untyped("b")];
    file.read().unwrap()
}

fn tried() -> usize {
    let file = PathBuf::from(std::env::var_os("REHEARSAL_CUDNN").unwrap());
    fs::metadata(file).map_or(0, |file| usize::try_from(file.len()).unwrap())
}

#[test]
fn mantissas_are_shortened_and_algorithms_tried_for_blocks_that_ask_for_it_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tried").display().to_string();
    rehearse_with(
        "precision_cuda::inside_what_one_block_asks_for_is_its_own",
        &[("REHEARSAL_CUDNN", &file)],
    );
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_what_one_block_asks_for_is_its_own() {
    check_device(GPU).unwrap();
    let graph = copying();
    let x = f32s(&[1, 1, 2, 2], &[FINE, 2.0, -FINE, 0.0]);
    let whole = vec![FINE, 2.0, -FINE, 0.0];
    let short = vec![1.0, 2.0, -1.0, 0.0];
    let tuned = CudaSpec {
        cudnn_autotune: true,
        ..CudaSpec::default()
    };
    let exact = prepared(&graph, Precision::Fp32, CudaSpec::default());
    let coarse = prepared(&graph, Precision::Tf32, CudaSpec::default());
    let searched = prepared(&graph, Precision::Fp32, tuned);
    let [mut first, mut second, mut third] =
        [&exact, &coarse, &searched].map(|block| block.session().unwrap());
    // One after the other on one thread.
    for round in 1..4 {
        assert_eq!(
            run(&mut first, &x),
            [whole.clone(), whole.clone(), whole.clone()]
        );
        assert_eq!(
            run(&mut second, &x),
            [short.clone(), short.clone(), short.clone()]
        );
        assert_eq!(tried(), round - 1);
        assert_eq!(
            run(&mut third, &x),
            [whole.clone(), whole.clone(), whole.clone()]
        );
        assert_eq!(tried(), round);
    }
    // At once on several.
    let before = tried();
    let start = Barrier::new(3);
    thread::scope(|scope| {
        for (block, expected) in [(&exact, &whole), (&coarse, &short), (&searched, &whole)] {
            let (start, x) = (&start, &x);
            scope.spawn(move || {
                let mut session = block.session().unwrap();
                start.wait();
                for _ in 0..50 {
                    let expected = [expected.clone(), expected.clone(), expected.clone()];
                    assert_eq!(run(&mut session, x), expected);
                }
            });
        }
    });
    assert_eq!(tried(), before + 50);
    // A run that fails leaves nothing behind.
    let odd = f32s(&[1, 1, 2, 3], &[FINE; 6]);
    assert!(second.run(&[odd]).is_err());
    assert_eq!(run(&mut first, &x), [whole.clone(), whole.clone(), whole]);
}

#[test]
fn an_urgent_block_has_urgent_streams() {
    rehearse("precision_cuda::inside_an_urgent_block");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_an_urgent_block() {
    check_device(GPU).unwrap();
    let nodes = vec![node("MatMul", &["x", "w"], &["y"])];
    let graph = model(17, "2,2", nodes, vec![noisy("w", &[2, 2], 1)])
        .read()
        .unwrap();
    let x = f32s(&[2, 2], &[1.0; 4]);
    let mut answers = Vec::new();
    for (stream_priority, told) in [
        (StreamPriority::High, "priority: High"),
        (StreamPriority::Normal, "priority: Normal"),
    ] {
        let cuda = CudaSpec {
            stream_priority,
            ..CudaSpec::default()
        };
        let mut session = prepared(&graph, Precision::Fp32, cuda).session().unwrap();
        let shown = format!("{session:?}");
        // Kernels and copies.
        assert_eq!(shown.matches(told).count(), 2, "{shown}");
        answers.push(run(&mut session, &x));
    }
    assert_eq!(answers[0], answers[1]);
}
