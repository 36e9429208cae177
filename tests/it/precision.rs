//! Blocks in other numbers than FP32: what is narrow then and what stays, what it costs in memory and in accuracy, and what is
//! told of it.

use std::sync::Arc;

use blockflow::engine::{BlockSource, Ledger, Prepared, Store, prepare, read_npy, write_npy};
use blockflow::graph::{Graph, Op, ValueOrigin};
use blockflow::types::{DType, Device, GraphEngine, Optimize, Passes, Precision, Tensor};

use crate::cli::{blockflow, stderr, stdout};
use crate::engine_support::{data, f32s, noise, values_f32};
use crate::graph_file::*;
use crate::passes_support::{given, names, noisy, optimised};
use crate::support::contains;
use crate::support::files::Files;

const NARROW: [Precision; 2] = [Precision::Fp16, Precision::Bf16];

fn in_precision(precision: Precision) -> Passes {
    Passes::default().in_precision(precision)
}

fn prepared_on(graph: &Graph, precision: Precision, device: Device) -> Arc<dyn Prepared> {
    let source = BlockSource::Graph {
        graph,
        signature: graph.signature().unwrap(),
        engine: GraphEngine::Aten,
        passes: in_precision(precision),
    };
    prepare(source, 1, device).unwrap_or_else(|error| panic!("{precision:?}: {error}"))
}

pub(crate) fn run_in(graph: &Graph, precision: Precision, inputs: &[Tensor]) -> Vec<Tensor> {
    let prepared = prepared_on(graph, precision, Device::Cpu);
    let outputs = prepared.session().unwrap().run(inputs);
    outputs.unwrap_or_else(|error| panic!("{precision:?}: {error}"))
}

fn digits() -> Graph {
    Graph::read(&data("digits/digits.onnx")).unwrap()
}

/// Returns the largest difference, as a share of the largest number that was expected.
fn distance(expected: &[Tensor], seen: &[Tensor]) -> f32 {
    assert_eq!(expected.len(), seen.len());
    let pairs = expected.iter().zip(seen);
    let largest = pairs.map(|(expected, seen)| {
        assert_eq!(expected.shape(), seen.shape());
        let (expected, seen) = (values_f32(expected), values_f32(seen));
        let most = expected
            .iter()
            .fold(1e-6_f32, |most, one| most.max(one.abs()));
        let pairs = expected.iter().zip(&seen);
        let differences = pairs.map(|(expected, seen)| (expected - seen).abs() / most);
        differences.fold(0.0_f32, |most, one| {
            if one.is_nan() {
                f32::NAN
            } else {
                most.max(one)
            }
        })
    });
    largest.fold(0.0, |most, one| {
        if one > most || one.is_nan() {
            one
        } else {
            most
        }
    })
}

/// What a number of so many bits may be off by, some layers deep.
fn room(precision: Precision) -> f32 {
    match precision {
        Precision::Fp16 => 0.01,
        _ => 0.05,
    }
}

#[test]
fn a_network_in_16_bits_is_near_itself_in_fp32_and_holds_half_the_bytes() {
    let graph = digits();
    let images = f32s(
        &[3, 1, 8, 8],
        &noise(192, 5)
            .iter()
            .map(|one| one * 8.0 + 8.0)
            .collect::<Vec<_>>(),
    );
    let exact = run_in(&graph, Precision::Fp32, std::slice::from_ref(&images));
    let whole = graph.content_and_weights().1.values().sum::<u64>();
    for precision in NARROW {
        let prepared = prepared_on(&graph, precision, Device::Cpu);
        let held = prepared.held().total(1);
        assert_eq!(held, prepared.weight_bytes() as u64);
        assert_eq!(Store::of(Device::Cpu).usage().bytes as u64, held);
        // All but what belongs to batch normalisations, which is little.
        assert!(
            held * 200 <= whole * 102,
            "{precision:?}: {held} of {whole}"
        );
        // What is told before it is prepared is what is held then.
        let dtype = precision.narrowed().unwrap();
        let told = graph.weights_in(dtype);
        assert_eq!(told.values().sum::<u64>(), held, "{precision:?}");
        assert_eq!(graph.weight_bytes_in(dtype), held, "{precision:?}");
        let seen = prepared
            .session()
            .unwrap()
            .run(std::slice::from_ref(&images))
            .unwrap();
        assert!(seen.iter().all(|output| output.dtype() == DType::F32));
        let far = distance(&exact, &seen);
        assert!(far > 0.0 && far < room(precision), "{precision:?}: {far}");
    }
}

#[test]
fn blocks_of_one_file_share_what_they_hold_in_one_form() {
    let graph = digits();
    let exact = prepared_on(&graph, Precision::Fp32, Device::Cpu);
    let usage = || Store::of(Device::Cpu).usage();
    let alone = usage().bytes;
    let first = prepared_on(&graph, Precision::Bf16, Device::Cpu);
    let both = usage();
    // What is FP32 in both, of batch normalisations, is there once.
    assert_eq!(both.bytes + both.shared_bytes, alone + first.weight_bytes());
    assert!(both.shared_bytes * 20 < first.weight_bytes());
    let second = prepared_on(&graph, Precision::Bf16, Device::Cpu);
    assert_eq!(usage().bytes, both.bytes);
    assert_eq!(usage().shared_bytes, second.weight_bytes());
    drop((exact, first, second));
    assert_eq!(usage().bytes, 0);
}

#[test]
fn a_simulated_device_counts_half() {
    let graph = digits();
    let device = Device::Sim(7);
    let block = prepared_on(&graph, Precision::Fp16, device);
    let weights = Ledger::of(device).memory().weights;
    assert_eq!(weights, block.weight_bytes() as u64);
    assert_eq!(weights, graph.weights_in(DType::F16).values().sum::<u64>());
}

/// The operators of a graph in BF16, casts as `narrow` and `wide`.
fn rewritten(graph: &Graph) -> Vec<&'static str> {
    let graph = optimised(
        graph,
        Passes::of(Optimize::Off).in_precision(Precision::Bf16),
    );
    let names = graph.nodes.iter().map(|node| match node.op {
        Op::Cast { to: DType::BF16 } => "narrow",
        Op::Cast { to: DType::F32 } => "wide",
        _ => node.op.name(),
    });
    names.collect()
}

#[test]
fn sums_and_exponentials_stay_in_fp32_and_values_are_converted_once() {
    let nodes = vec![
        node("MatMul", &["x", "w"], &["a"]),
        node("LayerNormalization", &["a", "scale"], &["n"]),
        node("MatMul", &["n", "w"], &["b"]),
        node("Relu", &["b"], &["r"]),
        node("Softmax", &["r"], &["s"]),
        node("MatMul", &["n", "w"], &["c"]),
        node("Mul", &["s", "c"], &["d"]),
        node("Add", &["d", "r"], &["y"]),
    ];
    let weights = vec![noisy("w", &[4, 4], 1), noisy("scale", &[4], 2)];
    let graph = model(17, "3,4", nodes, weights).read().unwrap();
    // The normalised values are narrowed for two products, once; the softmax for the product with what is narrow.
    assert_eq!(
        rewritten(&graph),
        [
            "narrow",
            "MatMul",
            "wide",
            "LayerNormalization",
            "narrow",
            "MatMul",
            "Relu",
            "wide",
            "Softmax",
            "MatMul",
            "narrow",
            "Mul",
            "Add",
            "wide"
        ]
    );
    let narrow = graph.in_precision(DType::BF16);
    let weights = narrow
        .values
        .iter()
        .filter_map(|value| match &value.origin {
            ValueOrigin::Initializer(weight) => Some((value.name.as_str(), weight.tensor.dtype())),
            _ => None,
        });
    let mut weights: Vec<_> = weights.collect();
    weights.sort_unstable();
    assert_eq!(weights, [("scale", DType::F32), ("w.BF16", DType::BF16)]);
    let x = f32s(&[3, 4], &noise(12, 9));
    for precision in NARROW {
        let exact = run_in(&graph, Precision::Fp32, std::slice::from_ref(&x));
        let seen = run_in(&graph, precision, std::slice::from_ref(&x));
        assert!(distance(&exact, &seen) < room(precision));
    }
}

#[test]
fn sizes_and_positions_are_counted_in_fp32() {
    // 259 is no BF16: rounded, it would be the 260th row. Also where frequencies are multiplied by positions as matrices.
    let nodes = vec![
        node("Cast", &["positions"], &["numbers"]).int("to", 1),
        node("Mul", &["numbers", "one"], &["scaled"]),
        node("Unsqueeze", &["scaled", "last"], &["column"]),
        node("MatMul", &["column", "row"], &["outer"]),
        node("MatMul", &["x", "w"], &["product"]),
        node("Cast", &["outer"], &["places"]).int("to", 7),
        node("Cast", &["places"], &["again"]).int("to", 1),
        node("Concat", &["again", "x"], &["z"]).int("axis", 1),
        node("ReduceSum", &["product"], &["total"]).int("keepdims", 0),
        node("Mul", &["total", "zero"], &["nothing"]),
        node("Add", &["z", "nothing"], &["y"]),
    ];
    let weights = vec![
        integers("positions", &[259, 1001]),
        given("one", &[1], &[1.0]),
        given("zero", &[1], &[0.0]),
        integers("last", &[1]),
        given("row", &[1, 1], &[1.0]),
        noisy("w", &[2, 2], 4),
    ];
    let graph = model(17, "2,2", nodes, weights).read().unwrap();
    let x = f32s(&[2, 2], &[1.0; 4]);
    for passes in [Optimize::Off, Optimize::Exact] {
        for precision in NARROW {
            let source = BlockSource::Graph {
                graph: &graph,
                signature: graph.signature().unwrap(),
                engine: GraphEngine::Aten,
                passes: Passes::of(passes).in_precision(precision),
            };
            let prepared = prepare(source, 1, Device::Cpu).unwrap();
            let outputs = prepared
                .session()
                .unwrap()
                .run(std::slice::from_ref(&x))
                .unwrap();
            assert_eq!(values_f32(&outputs[0]), [259.0, 1.0, 1.0, 1001.0, 1.0, 1.0]);
        }
    }
}

#[test]
fn a_table_of_weights_is_held_narrow_and_a_mask_of_the_least_number_hides_as_before() {
    let nodes = vec![
        node("Gather", &["table", "ids"], &["rows"]),
        node("MatMul", &["x", "rows"], &["scores"]),
        node("Add", &["scores", "mask"], &["masked"]),
        node("Softmax", &["masked"], &["y"]),
    ];
    let weights = vec![
        noisy("table", &[5, 3], 1),
        integers("ids", &[4, 0]),
        given("mask", &[3], &[0.0, f32::MIN, 0.0]),
    ];
    let graph = model(17, "2,2", nodes, weights).read().unwrap();
    let x = f32s(&[2, 2], &noise(4, 3));
    for precision in NARROW {
        let exact = run_in(&graph, Precision::Fp32, std::slice::from_ref(&x));
        let seen = run_in(&graph, precision, std::slice::from_ref(&x));
        assert!(distance(&exact, &seen) < room(precision));
        let rows = values_f32(&seen[0]);
        assert_eq!((rows[1], rows[4]), (0.0, 0.0));
    }
}

#[test]
fn a_row_that_a_computed_mask_hides_whole_stays_finite() {
    let nodes = vec![
        node("MatMul", &["x", "unit"], &["scores"]),
        node("Less", &["x", "more"], &["hidden"]),
        node("Where", &["hidden", "least", "nothing"], &["mask"]),
        node("Add", &["scores", "mask"], &["masked"]),
        node("Softmax", &["masked"], &["y"]),
    ];
    let weights = vec![
        given("unit", &[2, 2], &[1.0, 0.0, 0.0, 1.0]),
        given("more", &[1], &[100.0]),
        given("least", &[1], &[f32::MIN]),
        given("nothing", &[1], &[0.0]),
    ];
    let graph = model(17, "2,2", nodes, weights).read().unwrap();
    let x = f32s(&[2, 2], &noise(4, 3));
    for precision in NARROW {
        let seen = run_in(&graph, precision, std::slice::from_ref(&x));
        assert_eq!(values_f32(&seen[0]), [0.5; 4], "{precision:?}");
    }
}

/// Every operator that may compute narrow, behind a product that makes its input so.
#[test]
fn every_operator_that_computes_narrow_does_so_on_the_cpu() {
    let wide = |name: &str| node(name, &["a"], &["y"]);
    let pair = |name: &str| node(name, &["a", "v"], &["y"]);
    let mut nodes = Vec::new();
    for name in [
        "Relu",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Celu",
        "Gelu",
        "Mish",
        "HardSwish",
        "HardSigmoid",
        "Sigmoid",
        "Tanh",
        "Erf",
        "Abs",
        "Neg",
        "Identity",
        "Flatten",
        "GlobalMaxPool",
    ] {
        nodes.push(wide(name));
    }
    for name in [
        "Add", "Sub", "Mul", "Div", "PRelu", "Sum", "Max", "Min", "Mean",
    ] {
        nodes.push(pair(name));
    }
    nodes.extend([
        wide("Transpose"),
        wide("MaxPool").ints("kernel_shape", &[2, 2]),
        wide("ArgMax").int("axis", 1),
        wide("ReduceMax").ints("axes", &[1]),
        wide("DepthToSpace").int("blocksize", 2),
        wide("SpaceToDepth").int("blocksize", 2),
        wide("Dropout"),
        wide("Trilu"),
        node("Reshape", &["a", "flat"], &["y"]),
        node("Squeeze", &["b", "first"], &["y"]),
        node("Unsqueeze", &["a", "first"], &["y"]),
        node("Slice", &["a", "first", "two", "two"], &["y"]),
        node("Gather", &["a", "two"], &["y"]).int("axis", 1),
        node("Expand", &["a", "twice"], &["y"]),
        node("Tile", &["a", "twice"], &["y"]),
        node("Pad", &["a", "pads", "half"], &["y"]),
        node("Clip", &["a", "none", "half"], &["y"]),
        node("Where", &["seen", "a", "v"], &["y"]),
        node("Concat", &["a", "v"], &["y"]).int("axis", 1),
        node("Einsum", &["a", "v"], &["y"]).text("equation", "bchw,bchv->bhwv"),
        node("MatMul", &["a", "v"], &["y"]),
        node("Gemm", &["m", "m", "c"], &["y"])
            .int("transB", 1)
            .float("alpha", 0.5),
        node(
            "BatchNormalization",
            &["a", "c", "c", "c", "positive"],
            &["y"],
        ),
        node("Conv", &["a", "filter", "c"], &["y"]).ints("pads", &[1, 1, 1, 1]),
        node("Conv", &["a", "depthwise"], &["y"]).int("group", 4),
        node("Conv", &["a", "filter", "c"], &["y"])
            .ints("dilations", &[2, 2])
            .ints("pads", &[2, 2, 2, 2]),
        node("ConvTranspose", &["a", "filter"], &["y"]).ints("strides", &[2, 2]),
    ]);
    let weights = || {
        let mut all = vec![
            noisy("w", &[4, 4], 1),
            noisy("v", &[1, 4, 4, 4], 2),
            noisy("filter", &[4, 4, 3, 3], 3),
            noisy("depthwise", &[4, 1, 3, 3], 4),
            noisy("c", &[4], 5),
            given("positive", &[4], &[0.5, 1.0, 2.0, 4.0]),
            given("half", &[], &[0.5]),
            given("none", &[], &[-0.25]),
            integers("first", &[0]),
            integers("two", &[2]),
            integers("flat", &[4, -1]),
            integers("twice", &[2, 1, 1, 1]),
            integers("pads", &[0, 0, 1, 1, 0, 0, 1, 1]),
        ];
        let seen = TensorPart {
            kind: 9,
            int32s: (0..64).map(|place| i32::from(place % 3 == 0)).collect(),
            ..given("seen", &[1, 4, 4, 4], &[])
        };
        all.push(seen);
        all
    };
    let x = f32s(&[1, 4, 4, 4], &noise(64, 7));
    for one in nodes {
        let told = one.operator.clone();
        let before = vec![
            node("MatMul", &["x", "w"], &["a"]),
            node("Unsqueeze", &["a", "first"], &["b"]),
            node("Reshape", &["a", "flat"], &["m"]),
        ];
        let nodes = before.into_iter().chain([one]).collect();
        let opset = if told == "ReduceMax" { 17 } else { 20 };
        let graph = model(opset, "1,4,4,4", nodes, weights()).read().unwrap();
        let exact = run_in(&graph, Precision::Fp32, std::slice::from_ref(&x));
        let kinds = rewritten(&graph);
        // One conversion in, and out again only behind the last operator.
        let place = kinds.iter().position(|name| *name == "wide");
        assert!(
            place.is_none_or(|place| place + 1 == kinds.len()),
            "{told}: {kinds:?}"
        );
        for precision in NARROW {
            let seen = run_in(&graph, precision, std::slice::from_ref(&x));
            if exact[0].dtype() == DType::F32 {
                let far = distance(&exact, &seen);
                assert!(far < room(precision), "{told} in {precision:?}: {far}");
            } else {
                assert_eq!(exact[0].shape(), seen[0].shape(), "{told}");
            }
        }
    }
}

#[test]
fn what_is_no_fp32_is_left_as_it_is() {
    let nodes = vec![
        node("Cast", &["x"], &["d"]).int("to", 11),
        node("MatMul", &["d", "d"], &["e"]),
        node("Cast", &["e"], &["y"]).int("to", 7),
    ];
    let graph = model(17, "2,2", nodes, vec![]).read().unwrap();
    assert_eq!(names(&graph.in_precision(DType::F16)), names(&graph));
    let nodes = vec![node("Relu", &["x"], &["y"])];
    let graph = model(17, "2,2", nodes, vec![]).read().unwrap();
    let x = f32s(&[2, 2], &[0.1, -0.1, 0.3, 1e-20]);
    let exact = run_in(&graph, Precision::Fp32, std::slice::from_ref(&x));
    let seen = run_in(&graph, Precision::Fp16, std::slice::from_ref(&x));
    assert_eq!(exact[0].bytes(), seen[0].bytes());
}

fn digits_in(precision: &str, more: &str) -> Files {
    let files = Files::new(&format!(
        "[blocks.all]\nmodel = \"digits.onnx\"\noutputs = [\"digit_logits\"]\nprecision = \"{precision}\"\n\
         golden.cases = [{{ inputs = \"images.npy\", outputs = \"logits.npy\" }}]\n{more}\n\
         [blocks.plain]\nmodel = \"digits.onnx\"\noutputs = [\"legible_logits\"]\n\
         [blocks.unknown]\nmodel = \"digits.onnx\"\noutputs = [\"parity_logits\"]\nprecision = \"fp16\"\n\
         [pipelines.digits]\nflow = [\"all\"]\n[pipelines.legible]\nflow = [\"plain\"]\n[pipelines.parity]\nflow = [\"unknown\"]\n"
    ));
    files.put(
        "digits.onnx",
        &std::fs::read(data("digits/digits.onnx")).unwrap(),
    );
    let images = read_npy(&data("digits/images.npy")).unwrap();
    let images = images.slice_rows(0..8).unwrap();
    let graph = digits()
        .segment(None, Some(&["digit_logits".to_owned()]))
        .unwrap();
    let logits = run_in(&graph, Precision::Fp32, std::slice::from_ref(&images));
    write_npy(&files.at("images.npy"), &images).unwrap();
    write_npy(&files.at("logits.npy"), &logits[0]).unwrap();
    files
}

#[test]
fn a_check_tells_what_other_numbers_change() {
    let files = digits_in(
        "bf16",
        "golden.tolerance = { relative = 0.1, absolute = 2.0 }",
    );
    let config = files.path().display().to_string();
    let output = blockflow(&["check", &config, "--golden"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    contains(
        &stdout(&output),
        &[
            "block \"all\" (of digits) in bf16: output \"digit_logits\" differs from fp32 by at most ",
            "in 80 elements of 1 case\n",
            "block \"unknown\" (of parity) in fp16: has no golden cases",
            "golden cases of 1 block give what they should",
        ],
    );
    let output = blockflow(&["check", &config, "--golden", "--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(told["problems"], serde_json::json!([]));
    let [all, unknown] = told["accuracy"].as_array().unwrap().as_slice() else {
        panic!("two blocks compute in other numbers: {told}");
    };
    assert_eq!(
        (&all["block"], &all["precision"]),
        (&"all".into(), &"bf16".into())
    );
    let output = &all["outputs"][0];
    let [absolute, relative] =
        ["absolute_max", "relative_max"].map(|key| output[key].as_f64().unwrap());
    assert!(absolute > 0.0 && absolute < 2.0, "{absolute}");
    assert!(relative > 0.0 && relative <= 2.0, "{relative}");
    assert_eq!(
        (&output["broken"], &output["compared"]),
        (&0.into(), &80.into())
    );
    assert_eq!(
        (&unknown["cases"], &unknown["outputs"]),
        (&0.into(), &serde_json::json!([]))
    );
}

#[test]
fn a_tolerance_that_other_numbers_do_not_keep_refuses_the_block() {
    let files = digits_in(
        "bf16",
        "golden.tolerance = { relative = 0.0, absolute = 0.0 }",
    );
    let config = files.path().display().to_string();
    let output = blockflow(&["check", &config, "--golden"]);
    assert_eq!(output.status.code(), Some(4), "{}", stdout(&output));
    contains(
        &stderr(&output),
        &["block \"all\"", "logits.npy", "of output \"digit_logits\""],
    );
    // By how much is told nevertheless.
    contains(
        &stdout(&output),
        &["in bf16: output \"digit_logits\" differs from fp32"],
    );
    let output = blockflow(&["check", &config, "--golden", "--format", "json"]);
    assert_eq!(output.status.code(), Some(4), "{}", stdout(&output));
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(told["accuracy"][0]["block"], "all");
}

#[test]
fn blocks_of_several_precisions_serve_beside_each_other() {
    let files = digits_in(
        "bf16",
        "golden.tolerance = { relative = 0.1, absolute = 2.0 }",
    );
    let server = files.serve();
    let images = read_npy(&files.at("images.npy")).unwrap();
    let image = images.slice_rows(0..1).unwrap();
    let expected = read_npy(&files.at("logits.npy"))
        .unwrap()
        .slice_rows(0..1)
        .unwrap();
    let response = server.infer("digits", "image", "FP32", &[1, 1, 8, 8], image.bytes());
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = Tensor::copy_of(DType::F32, vec![1, 10], response.binary()).unwrap();
    let far = distance(&[expected], &[seen]);
    assert!(far > 0.0 && far < room(Precision::Bf16), "{far}");
    let response = server.infer("parity", "image", "FP32", &[1, 1, 8, 8], image.bytes());
    assert_eq!(response.status, 200, "{}", response.text());
}
