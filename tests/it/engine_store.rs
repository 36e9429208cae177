//! Weights that blocks share: what is held once, what is not, and that it goes with the last block.
//!
//! Each test has a process of its own, so what the store of the CPU holds is what the test prepared.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};

use blockflow::engine::{BlockSource, EngineError, Prepared, Store, Usage, graph_engine, prepare};
use blockflow::graph::{
    Cell, Direction, Graph, Node, NodeId, Op, Recurrent, Unary, Value, ValueId, ValueOrigin,
};
use blockflow::telemetry::metrics;
use blockflow::types::{DType, Device, GraphEngine, Passes, SourceSpec, Tensor};
use proptest::prelude::*;

use crate::engine_support::{Builder, data, f32s, fixed, noise, prepare_graph, signature};
use crate::graph_file::{integers, model, node};
use crate::passes_support::{input, noisy};
use crate::support::{WATCHDOG, block, chain, spec, start};

fn usage() -> Usage {
    Store::of(Device::Cpu).usage()
}

fn nothing() -> Usage {
    Usage::default()
}

fn weight(shape: &[usize], seed: u32) -> Tensor {
    f32s(shape, &noise(shape.iter().product(), seed))
}

/// A block that returns its weights, next to its input.
fn returning(weights: &[Tensor]) -> Arc<dyn Prepared> {
    let mut builder = Builder::new();
    let x = builder.input();
    let y = builder.node(Op::Unary(Unary::Neg), &[x]);
    let constants = weights
        .iter()
        .cloned()
        .map(|tensor| builder.constant(tensor));
    let outputs: Vec<_> = [y]
        .into_iter()
        .chain(constants.collect::<Vec<_>>())
        .collect();
    let graph = builder.finish(&outputs);
    let dims = fixed(&[1]);
    let shapes: Vec<_> = weights.iter().map(|tensor| fixed(tensor.shape())).collect();
    let specs = weights.iter().zip(&shapes);
    let specs = specs.map(|(tensor, dims)| (tensor.dtype(), dims.as_slice()));
    let outputs: Vec<_> = [(DType::F32, dims.as_slice())]
        .into_iter()
        .chain(specs)
        .collect();
    prepare_graph(&graph, signature(&[(DType::F32, &dims)], &outputs)).unwrap()
}

fn prepared(graph: &Graph, threads: usize) -> Result<Arc<dyn Prepared>, EngineError> {
    let source = BlockSource::Graph {
        graph,
        signature: graph.signature().unwrap(),
        passes: Passes::default(),
        engine: GraphEngine::Aten,
    };
    prepare(source, threads, Device::Cpu)
}

const FILTERS: usize = 16 * 8 * 3 * 3 * 4;
const BIAS: usize = 16 * 4;

/// A convolution of an image of 8 channels.
fn convolution(size: usize, seed: u32) -> Graph {
    let weights = vec![
        noisy("w", &[16, 8, 3, 3], seed),
        noisy("b", &[16], seed + 1),
    ];
    let nodes = vec![node("Conv", &["x", "w", "b"], &["y"])];
    model(17, &format!("1,8,{size},{size}"), nodes, weights)
        .read()
        .unwrap()
}

#[test]
fn equal_weights_of_two_blocks_are_one_copy() {
    assert_eq!(usage(), nothing());
    let [first, second] = [(); 2].map(|()| returning(&[weight(&[64], 1)]));
    assert_eq!([first.weight_bytes(), second.weight_bytes()], [256, 256]);
    assert_eq!(
        usage(),
        Usage {
            bytes: 256,
            shared_bytes: 256,
            entries: 1
        }
    );
    let address = |block: &Arc<dyn Prepared>| {
        let outputs = block.session().unwrap().run(&[weight(&[1], 2)]).unwrap();
        assert_eq!(outputs[1].bytes(), weight(&[64], 1).bytes());
        outputs[1].bytes().as_ptr()
    };
    assert_eq!(address(&first), address(&second));
    drop(first);
    assert_eq!(
        usage(),
        Usage {
            bytes: 256,
            shared_bytes: 0,
            entries: 1
        }
    );
    drop(second);
    assert_eq!(usage(), nothing());
}

#[test]
fn a_session_keeps_the_weights_that_it_runs_over() {
    let block = returning(&[weight(&[64], 1)]);
    let mut session = block.session().unwrap();
    drop(block);
    assert_eq!(usage().bytes, 256);
    session.run(&[weight(&[1], 2)]).unwrap();
    drop(session);
    assert_eq!(usage(), nothing());
}

#[test]
fn equal_bytes_of_another_dtype_or_shape_are_something_else() {
    let bytes = weight(&[64], 1);
    let of =
        |dtype, shape: &[usize]| Tensor::copy_of(dtype, shape.to_vec(), bytes.bytes()).unwrap();
    let weights = [
        of(DType::F32, &[64]),
        of(DType::F32, &[8, 8]),
        of(DType::I32, &[64]),
        of(DType::I64, &[32]),
    ];
    let block = returning(&weights);
    assert_eq!(block.weight_bytes(), 4 * 256);
    assert_eq!(
        usage(),
        Usage {
            bytes: 4 * 256,
            shared_bytes: 0,
            entries: 4
        }
    );
    let outputs = block.session().unwrap().run(&[weight(&[1], 2)]).unwrap();
    for (output, weight) in outputs[1..].iter().zip(&weights) {
        assert_eq!(
            (output.dtype(), output.shape()),
            (weight.dtype(), weight.shape())
        );
        assert_eq!(output.bytes(), weight.bytes());
    }
}

#[test]
fn a_weight_that_a_block_has_twice_is_held_and_counted_once() {
    let block = returning(&[weight(&[64], 1), weight(&[64], 1)]);
    assert_eq!(block.weight_bytes(), 256);
    assert_eq!(
        usage(),
        Usage {
            bytes: 256,
            shared_bytes: 0,
            entries: 1
        }
    );
}

#[test]
fn a_dtype_that_is_kept_wider_counts_as_it_is_kept() {
    let narrow = Tensor::copy_of(DType::U16, vec![32], &[1; 64]).unwrap();
    let block = returning(std::slice::from_ref(&narrow));
    assert_eq!((block.weight_bytes(), usage().bytes), (128, 128));
    let outputs = block.session().unwrap().run(&[weight(&[1], 2)]).unwrap();
    assert_eq!(outputs[1].bytes(), narrow.bytes());
}

#[test]
fn packed_weights_are_shared_and_no_plain_ones_stay() {
    let graph = convolution(9, 1);
    let alone = prepared(&graph, 1).unwrap();
    assert_eq!(alone.weight_bytes(), FILTERS + BIAS);
    let image = [input(&[1, 8, 9, 9])];
    let before = alone.session().unwrap().run(&image).unwrap();
    // From another file, as far as addresses can tell.
    let other = prepared(&convolution(9, 1), 1).unwrap();
    let both = FILTERS + BIAS;
    assert_eq!(
        usage(),
        Usage {
            bytes: both,
            shared_bytes: both,
            entries: 2
        }
    );
    let results = [&alone, &other].map(|block| block.session().unwrap().run(&image).unwrap());
    for result in &results {
        assert_eq!(result[0].bytes(), before[0].bytes());
    }
    drop(alone);
    let alone = other.session().unwrap().run(&image).unwrap();
    assert_eq!(alone[0].bytes(), before[0].bytes());
    drop(other);
    assert_eq!(usage(), nothing());
}

#[test]
fn what_packs_otherwise_is_packed_by_itself() {
    let blocks = [
        prepared(&convolution(9, 1), 1).unwrap(),
        prepared(&convolution(10, 1), 1).unwrap(),
        prepared(&convolution(9, 1), 2).unwrap(),
    ];
    // The bias is not packed.
    assert_eq!(usage().bytes, 3 * FILTERS + BIAS);
    assert_eq!(usage().shared_bytes, BIAS);
    drop(blocks);
    assert_eq!(usage(), nothing());
}

#[test]
fn products_share_their_packed_matrix() {
    let product = || {
        let nodes = vec![node("MatMul", &["x", "w"], &["y"])];
        let graph = model(17, "4,24", nodes, vec![noisy("w", &[24, 40], 1)])
            .read()
            .unwrap();
        prepared(&graph, 1).unwrap()
    };
    let [first, second] = [product(), product()];
    assert!(first.weight_bytes() >= 24 * 40 * 4);
    assert_eq!(usage().bytes, first.weight_bytes());
    assert_eq!(usage().shared_bytes, second.weight_bytes());
    let data = [input(&[4, 24])];
    let [first, second] = [first, second].map(|block| block.session().unwrap().run(&data).unwrap());
    assert_eq!(first[0].bytes(), second[0].bytes());
}

/// A layer of 3 hidden units over sequences of 4 numbers.
fn recurrent_layer(inputs: &[&str]) -> Arc<dyn Prepared> {
    let weights = vec![
        noisy("w", &[2, 12, 4], 1),
        noisy("r", &[2, 12, 3], 2),
        noisy("b", &[2, 24], 3),
        integers("lengths", &[5, 5]),
    ];
    let layer = node("LSTM", inputs, &["y"]).text("direction", "bidirectional");
    let cast = node("Cast", &["lengths"], &["narrow"]).int("to", 6);
    let graph = model(17, "t,2,4", vec![cast, layer], weights)
        .read()
        .unwrap();
    prepared(&graph, 1).unwrap()
}

#[test]
fn recurrent_layers_share_their_ordered_weights_and_keep_no_others() {
    const BYTES: usize = 2 * 12 * (4 + 3 + 2) * 4;
    let inputs = ["x", "w", "r", "b"];
    let layers = [recurrent_layer(&inputs), recurrent_layer(&inputs)];
    assert_eq!(layers[0].weight_bytes(), BYTES);
    assert_eq!((usage().bytes, usage().shared_bytes), (BYTES, BYTES));
    // One that may be given lengths may have to take single steps, over the weights as they were.
    let careful = recurrent_layer(&["x", "w", "r", "b", "narrow"]);
    assert!(careful.weight_bytes() >= 2 * BYTES);
    let sequence = [input(&[5, 2, 4])];
    let run = |layer: &Arc<dyn Prepared>| layer.session().unwrap().run(&sequence).unwrap();
    assert_eq!(run(&layers[0])[0].bytes(), run(&layers[1])[0].bytes());
    assert_eq!(run(&layers[0])[0].bytes(), run(&careful)[0].bytes());
    let none = layers[0]
        .session()
        .unwrap()
        .run(&[input(&[0, 2, 4])])
        .unwrap();
    assert_eq!(none[0].shape(), [0, 2, 2, 3]);
}

#[test]
fn blocks_prepared_at_once_hold_one_copy() {
    const THREADS: usize = 8;
    let graph = convolution(9, 1);
    let barrier = Barrier::new(THREADS);
    let racing = || {
        barrier.wait();
        prepared(&graph, 1).unwrap()
    };
    let blocks: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(racing)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let both = FILTERS + BIAS;
    assert_eq!(
        usage(),
        Usage {
            bytes: both,
            shared_bytes: both,
            entries: 2
        }
    );
    let image = [input(&[1, 8, 9, 9])];
    let results: Vec<_> = blocks
        .iter()
        .map(|block| {
            block.session().unwrap().run(&image).unwrap()[0]
                .bytes()
                .to_vec()
        })
        .collect();
    assert!(results.iter().all(|result| *result == results[0]));
    drop(blocks);
    assert_eq!(usage(), nothing());
}

#[test]
fn a_block_that_cannot_be_prepared_leaves_nothing() {
    let mut graph = convolution(9, 1);
    let signature = graph.signature().unwrap();
    // A layer that lacks its activations, after a convolution that is packed.
    let layer = Recurrent {
        cell: Cell::Rnn,
        direction: Direction::Forward,
        activations: Vec::new(),
        clip: None,
        batch_first: false,
        hidden_size: None,
    };
    let (node, value) = (
        NodeId(graph.nodes.len() as u32),
        ValueId(graph.values.len() as u32),
    );
    let origin = ValueOrigin::Node(node, 0);
    let y = graph.outputs[0];
    let shape = graph.value(y).clone();
    graph.values.push(Value {
        name: "z".to_owned(),
        origin,
        ..shape
    });
    graph.nodes.push(Node {
        name: "layer".to_owned(),
        op: Op::Recurrent(layer),
        inputs: vec![Some(y), Some(y), Some(y)],
        outputs: vec![Some(value)],
    });
    graph.outputs = vec![value];
    let made = prepare_graph(&graph, signature);
    let error = made.unwrap_err().to_string();
    assert!(error.contains("0 activations"), "{error}");
    assert_eq!(usage(), nothing());
}

#[test]
fn a_script_counts_though_it_shares_nothing() {
    let signature = signature(
        &[(DType::F32, &fixed(&[1, 64]))],
        &[(DType::F32, &fixed(&[1, 2]))],
    );
    let path = data("digits/parity_head.pt");
    let load = || {
        let source = BlockSource::TorchScript {
            path: &path,
            signature: &signature,
        };
        prepare(source, 1, Device::Cpu).unwrap()
    };
    let [first, second] = [load(), load()];
    assert_eq!(usage().bytes, first.weight_bytes() + second.weight_bytes());
    assert_eq!(usage().shared_bytes, 0);
    drop((first, second));
    assert_eq!(usage(), nothing());
}

#[test]
fn each_session_of_onnxruntime_counts_its_own_weights() {
    let graph = convolution(9, 1);
    let signature = graph.signature().unwrap();
    let engine = graph_engine(GraphEngine::OnnxRuntime);
    let block = engine
        .prepare(&graph, signature, 1, Passes::default())
        .unwrap();
    let sessions = [block.session().unwrap(), block.session().unwrap()];
    assert_eq!(usage().bytes, 2 * block.weight_bytes());
    drop((sessions, block));
    assert_eq!(usage(), nothing());
}

#[test]
fn what_a_device_holds_is_on_the_page_of_metrics() {
    let on_page = |bytes: usize| {
        let line =
            format!("blockflow_device_memory_bytes{{device=\"cpu\",kind=\"weights\"}} {bytes}");
        metrics::render().lines().any(|seen| seen == line)
    };
    let blocks = [(); 2].map(|()| returning(&[weight(&[64], 1)]));
    assert!(on_page(256), "{}", metrics::render());
    drop(blocks);
    assert!(on_page(0), "{}", metrics::render());
}

#[test]
fn blocks_of_a_pipeline_share_and_give_back() {
    let path = data("digits/digits.onnx");
    let blocks = ["first", "second"].map(|name| {
        let source = SourceSpec::Graph {
            path: path.clone(),
            inputs: None,
            outputs: Some(vec!["features".to_owned()]),
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        };
        block(name, source)
    });
    let pipelines = ["first", "second"].map(|name| chain(name, &[name], WATCHDOG));
    let runtime = start(&spec(blocks.to_vec(), pipelines.to_vec()));
    let held = runtime.weights()[&Device::Cpu];
    assert!(held.bytes > 0);
    assert_eq!(held.shared_bytes, held.bytes);
    let page = metrics::render();
    for line in [
        format!(
            "blockflow_device_memory_bytes{{device=\"cpu\",kind=\"weights\"}} {}",
            held.bytes
        ),
        format!(
            "blockflow_block_weight_bytes{{block=\"first\"}} {}",
            held.bytes
        ),
        format!(
            "blockflow_block_weight_bytes{{block=\"second\"}} {}",
            held.bytes
        ),
    ] {
        assert!(
            page.lines().any(|seen| seen == line),
            "{line} is not in\n{page}"
        );
    }
    assert!(runtime.stop(WATCHDOG).threads_ended);
    assert_eq!(usage(), nothing());
}

/// What happens to one of a few blocks.
#[derive(Debug, Clone)]
enum Step {
    /// It is prepared, in place of what it was, with these weights.
    Prepare(usize, Vec<u32>),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let prepare = (0..4_usize, prop::collection::vec(1..6_u32, 0..5))
        .prop_map(|(block, seeds)| Step::Prepare(block, seeds));
    let step = prop_oneof![3 => prepare, 1 => (0..4_usize).prop_map(Step::Drop)];
    prop::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_holds_what_live_blocks_use(steps in steps()) {
        // Weight n has 4 n bytes.
        let sum = |seeds: &mut dyn Iterator<Item = u32>| seeds.map(|seed| seed as usize * 4).sum::<usize>();
        let mut live: BTreeMap<usize, (Arc<dyn Prepared>, Vec<u32>)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Prepare(block, mut seeds) => {
                    let weights: Vec<_> = seeds.iter().map(|&seed| weight(&[seed as usize], seed)).collect();
                    let made = returning(&weights);
                    seeds.sort_unstable();
                    seeds.dedup();
                    prop_assert_eq!(made.weight_bytes(), sum(&mut seeds.iter().copied()));
                    live.insert(block, (made, seeds));
                }
                Step::Drop(block) => drop(live.remove(&block)),
            }
            let mut users: BTreeMap<u32, usize> = BTreeMap::new();
            for seed in live.values().flat_map(|(_, seeds)| seeds) {
                *users.entry(*seed).or_default() += 1;
            }
            let shared = users.iter().filter(|(_, users)| **users > 1);
            prop_assert_eq!(usage(), Usage {
                bytes: sum(&mut users.keys().copied()),
                shared_bytes: sum(&mut shared.map(|(seed, _)| *seed)),
                entries: users.len(),
            });
        }
        drop(live);
        prop_assert_eq!(usage(), nothing());
    }
}
