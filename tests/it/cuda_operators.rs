//! Operators on a CUDA device that check what they are given before a kernel trusts it, or that take several steps: each
//! against the CPU, and each refusal by name.

use blockflow::engine::{BlockSource, EngineError, check_device, check_place, prepare, to_host};
use blockflow::graph::Graph;
use blockflow::types::{DType, Device, GraphEngine, Passes, Tensor};

use crate::cuda_rehearsal::same_on_both;
use crate::engine_support::{f32s, noise, values_f32};
use crate::graph_file::*;
use crate::passes_support::{given, noisy};
use crate::support::cuda::rehearse;

const GPU: Device = Device::Cuda(0);

fn graph(x: &str, nodes: Vec<NodePart>, weights: Vec<TensorPart>, outputs: &[&str]) -> Graph {
    let mut file = model(20, x, nodes, weights);
    file.graph_mut().outputs = outputs.iter().map(|name| untyped(name)).collect();
    file.read().unwrap_or_else(|error| panic!("{error}"))
}

fn same(graph: &Graph, x: &Tensor) {
    same_on_both(graph, &graph.signature().unwrap(), x);
}

fn on(graph: &Graph, device: Device, x: &Tensor) -> Result<Vec<Tensor>, EngineError> {
    let source = BlockSource::Graph {
        graph,
        signature: graph.signature().unwrap(),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    let outputs = prepare(source, 1, device)?
        .session()?
        .run(std::slice::from_ref(x))?;
    let host = |output: &Tensor| Ok(to_host(output)?.unwrap_or_else(|| output.clone()));
    outputs.iter().map(host).collect()
}

fn table(name: &str, dims: &[i64], values: &[i64]) -> TensorPart {
    TensorPart {
        dims: dims.to_vec(),
        ..integers(name, values)
    }
}

fn bytes(name: &str, signed: bool, dims: &[i64], values: &[i32]) -> TensorPart {
    TensorPart {
        kind: if signed { 3 } else { 2 },
        int32s: values.to_vec(),
        ..given(name, dims, &[])
    }
}

#[test]
fn places_are_picked_and_written_as_on_the_cpu() {
    rehearse("cuda_operators::inside_places_are_picked_and_written");
}

/// Indices of a weight, and those that come from the device as a part of x.
#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_places_are_picked_and_written() {
    check_device(GPU).unwrap();
    let x = f32s(&[2, 3], &[2.0, -1.0, 0.0, 1.0, 0.0, -2.0]);
    let twice = || {
        vec![
            node("Add", &["x", "x"], &["t"]),
            node("Cast", &["x"], &["of_x"]).int("to", 7),
        ]
    };
    let weights = || {
        vec![
            noisy("w", &[3, 3], 1),
            noisy("updates", &[2, 3], 2),
            noisy("rows", &[2, 2, 3], 3),
            table("own", &[2, 3], &[0, 1, -1, 2, -3, 0]),
            table("pairs", &[2, 2], &[0, -1, 1, 2]),
            table("ones", &[2, 1], &[-1, 0]),
            table("batched", &[2, 1], &[-1, 1]),
            table("counts", &[2, 3], &[5, 6, 7, 8, 9, 10]),
        ]
    };
    for indices in ["own", "of_x"] {
        for node in [
            node("GatherElements", &["t", indices], &["y"]).int("axis", 1),
            node("GatherElements", &["w", indices], &["y"]).int("axis", 0),
            node("ScatterElements", &["t", "own", "updates"], &["y"]).int("axis", 1),
            node("ScatterElements", &["w", indices, "x"], &["y"])
                .int("axis", 1)
                .text("reduction", "max"),
            node("ScatterElements", &["t", indices, "updates"], &["y"])
                .int("axis", 1)
                .text("reduction", "min"),
            node("ScatterElements", &["counts", indices, "counts"], &["y"])
                .int("axis", 1)
                .text("reduction", "add"),
        ] {
            let nodes = twice().into_iter().chain([node]).collect();
            same(&graph("2,3", nodes, weights(), &["y"]), &x);
        }
    }
    for node in [
        node("GatherND", &["t", "pairs"], &["y"]),
        node("GatherND", &["t", "ones"], &["y"]),
        node("GatherND", &["t", "batched"], &["y"]).int("batch_dims", 1),
        node("ScatterND", &["t", "ones", "updates"], &["y"]),
        node("ScatterND", &["t", "ones", "x"], &["y"]).text("reduction", "max"),
    ] {
        let nodes = twice().into_iter().chain([node]).collect();
        same(&graph("2,3", nodes, weights(), &["y"]), &x);
    }
    // Coordinates that the device computes.
    let nodes = vec![
        node("Cast", &["x"], &["of_x"]).int("to", 7),
        node("Slice", &["of_x", "zero", "one", "last"], &["column"]),
        node("GatherND", &["w", "column"], &["a"]),
        node("ScatterND", &["w", "column", "a"], &["y"]),
    ];
    let mut all = weights();
    all.extend([
        integers("zero", &[0]),
        integers("one", &[1]),
        integers("last", &[1]),
    ]);
    same(&graph("2,3", nodes, all, &["y"]), &x);
}

#[test]
fn a_wrong_place_fails_the_run_and_leaves_the_device() {
    rehearse("cuda_operators::inside_a_wrong_place");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_a_wrong_place() {
    check_device(GPU).unwrap();
    let weights = || {
        vec![
            noisy("w", &[3, 3], 1),
            noisy("v", &[2, 3], 2),
            noisy("row", &[2, 3, 3], 3),
        ]
    };
    for node in [
        node("GatherElements", &["w", "i"], &["y"]).int("axis", 1),
        node("ScatterElements", &["w", "i", "v"], &["y"]).int("axis", 1),
        node("ScatterElements", &["w", "i", "v"], &["y"])
            .int("axis", 1)
            .text("reduction", "max"),
    ] {
        let told = node.operator.clone();
        let nodes = vec![self::node("Cast", &["x"], &["i"]).int("to", 7), node];
        let graph = graph("2,3", nodes, weights(), &["y"]);
        let source = BlockSource::Graph {
            graph: &graph,
            signature: graph.signature().unwrap(),
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        };
        let mut session = prepare(source, 1, GPU).unwrap().session().unwrap();
        let right = f32s(&[2, 3], &[0.0, 1.0, 2.0, -1.0, -2.0, -3.0]);
        for wrong in [3.0, -4.0, 1e15] {
            let mut numbers = values_f32(&right);
            numbers[4] = wrong;
            let error = session.run(&[f32s(&[2, 3], &numbers)]).unwrap_err();
            assert!(
                error.keeps_session() && !error.loses_device(),
                "{told}: {error}"
            );
            assert!(
                error
                    .to_string()
                    .contains("lies outside of a dimension of 3"),
                "{error}"
            );
            // The same session goes on.
            let seen = session.run(std::slice::from_ref(&right)).unwrap();
            to_host(&seen[0]).unwrap();
        }
    }
}

#[test]
fn sums_whose_order_is_open_are_refused_by_name() {
    let refused = |node: NodePart| {
        let weights = vec![noisy("w", &[3, 3], 1), table("i", &[2, 3], &[0; 6])];
        let graph = graph("2,3", vec![node], weights, &["y"]);
        let source = BlockSource::Graph {
            graph: &graph,
            signature: graph.signature().unwrap(),
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        };
        check_place(&source, GPU).unwrap_err().to_string()
    };
    for reduction in ["add", "mul"] {
        let told =
            refused(node("ScatterElements", &["w", "i", "x"], &["y"]).text("reduction", reduction));
        for part in [
            "y_node",
            "ScatterElements",
            "differs from run to run",
            "\"cpu\"",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}

#[test]
fn quantised_numbers_are_those_of_the_cpu() {
    rehearse("cuda_operators::inside_quantised_numbers");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_quantised_numbers() {
    check_device(GPU).unwrap();
    let x = f32s(&[1, 2, 4, 4], &noise(32, 5));
    let weights = || {
        vec![
            given("scale", &[], &[0.01]),
            given("scales", &[2], &[0.01, 0.02]),
            given("weight_scales", &[3], &[0.01, 0.02, 0.03]),
            given("out_scale", &[], &[0.05]),
            bytes("zero", false, &[], &[128]),
            bytes("zeros", false, &[2], &[128, 120]),
            bytes("none", true, &[], &[0]),
            bytes("nones", true, &[3], &[0, 0, 0]),
            bytes(
                "matrix",
                true,
                &[4, 4],
                &(0..16).map(|place| place * 7 % 19 - 9).collect::<Vec<_>>(),
            ),
            bytes(
                "filter",
                true,
                &[3, 2, 3, 3],
                &(0..54).map(|place| place * 5 % 23 - 11).collect::<Vec<_>>(),
            ),
            TensorPart {
                kind: 6,
                int32s: vec![100, -50, 7],
                ..given("bias", &[3], &[])
            },
        ]
    };
    let quantised = || node("QuantizeLinear", &["x", "scale", "zero"], &["q"]);
    for node in [
        node("DequantizeLinear", &["q", "scale", "zero"], &["y"]),
        node("MatMulInteger", &["q", "matrix", "zero"], &["y"]),
        node(
            "QLinearMatMul",
            &[
                "q",
                "scale",
                "zero",
                "matrix",
                "scale",
                "none",
                "out_scale",
                "zero",
            ],
            &["y"],
        ),
        node("ConvInteger", &["q", "filter", "zero"], &["y"]),
        node(
            "QLinearConv",
            &[
                "q",
                "scale",
                "zero",
                "filter",
                "weight_scales",
                "nones",
                "out_scale",
                "zero",
                "bias",
            ],
            &["y"],
        ),
    ] {
        same(
            &graph("1,2,4,4", vec![quantised(), node], weights(), &["y", "q"]),
            &x,
        );
    }
    let along = vec![
        node("QuantizeLinear", &["x", "scales", "zeros"], &["q"]).int("axis", 1),
        node("DequantizeLinear", &["q", "scales", "zeros"], &["y"]).int("axis", 1),
    ];
    same(&graph("1,2,4,4", along, weights(), &["y", "q"]), &x);
    let dynamic = vec![
        node("DynamicQuantizeLinear", &["x"], &["q", "s", "z"]),
        node("DequantizeLinear", &["q", "s", "z"], &["y"]),
    ];
    same(&graph("1,2,4,4", dynamic, weights(), &["y", "q"]), &x);
}

#[test]
fn recurrent_layers_give_what_those_of_the_cpu_give() {
    rehearse("cuda_operators::inside_recurrent_layers");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_recurrent_layers() {
    check_device(GPU).unwrap();
    let (time, batch, size, hidden) = (5_i64, 2_i64, 3_i64, 4_i64);
    let x = f32s(&[5, 2, 3], &noise(30, 8));
    for (operator, gates) in [("RNN", 1), ("GRU", 3), ("LSTM", 4)] {
        for (direction, count) in [("forward", 1_i64), ("reverse", 1), ("bidirectional", 2)] {
            for lengths in ["", "lengths"] {
                let weights = vec![
                    noisy("w", &[count, gates * hidden, size], 1),
                    noisy("r", &[count, gates * hidden, hidden], 2),
                    noisy("b", &[count, 2 * gates * hidden], 3),
                    noisy("h", &[count, batch, hidden], 4),
                    TensorPart {
                        kind: 6,
                        int32s: vec![5, 3],
                        ..given("lengths", &[2], &[])
                    },
                ];
                let layer = node(
                    operator,
                    &["t", "w", "r", "b", lengths, "h"],
                    &["y", "last"],
                )
                .int("hidden_size", hidden)
                .text("direction", direction);
                let nodes = vec![node("Neg", &["x"], &["t"]), layer];
                let graph = graph(
                    &format!("{time},{batch},{size}"),
                    nodes,
                    weights,
                    &["y", "last"],
                );
                let told = format!("{operator} {direction} {lengths}");
                let expected = on(&graph, Device::Cpu, &x).unwrap();
                let seen = on(&graph, GPU, &x).unwrap_or_else(|error| panic!("{told}: {error}"));
                for (seen, expected) in seen.iter().zip(&expected) {
                    assert_eq!((seen.shape(), seen.dtype()), (expected.shape(), DType::F32));
                    let pairs = values_f32(seen).into_iter().zip(values_f32(expected));
                    for (seen, expected) in pairs {
                        assert!(
                            (seen - expected).abs() < 1e-5,
                            "{told}: {seen} for {expected}"
                        );
                    }
                }
            }
        }
    }
}
