//! Passes over networks that chance wires: outputs stay what they were, cut wherever a tensor is, and each alone.

use proptest::prelude::*;

use blockflow::graph::{Graph, ValueOrigin};
use blockflow::types::{Pass, Passes, Tensor};

use crate::graph_file::*;
use crate::passes_support::*;

/// Something done to images of 4 channels of 5 × 5 that gives one again. Numbers choose among the tensors before.
#[derive(Debug, Clone)]
enum Step {
    Conv {
        of: usize,
        kernel: i64,
        seed: u32,
    },
    Normalise {
        of: usize,
    },
    Plain {
        of: usize,
        operator: &'static str,
    },
    Clip {
        of: usize,
    },
    Pair {
        operator: &'static str,
        left: usize,
        right: usize,
    },
    Scale {
        operator: &'static str,
        of: usize,
        per_channel: bool,
    },
    Turn {
        of: usize,
    },
    Flatten {
        of: usize,
    },
    Rows {
        of: usize,
        seed: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0..64_usize;
    let plain = prop::sample::select(vec![
        "Relu",
        "Sigmoid",
        "Tanh",
        "HardSwish",
        "HardSigmoid",
        "LeakyRelu",
        "Identity",
        "Neg",
    ]);
    let pair = prop::sample::select(vec!["Add", "Sub", "Max", "Min"]);
    let scale = prop::sample::select(vec!["Add", "Mul", "Sub", "Div"]);
    prop_oneof![
        4 => (any.clone(), prop::sample::select(vec![1_i64, 3]), 0..4_u32)
            .prop_map(|(of, kernel, seed)| Step::Conv { of, kernel, seed }),
        1 => any.clone().prop_map(|of| Step::Normalise { of }),
        4 => (any.clone(), plain).prop_map(|(of, operator)| Step::Plain { of, operator }),
        1 => any.clone().prop_map(|of| Step::Clip { of }),
        3 => (pair, any.clone(), any.clone())
            .prop_map(|(operator, left, right)| Step::Pair { operator, left, right }),
        2 => (scale, any.clone(), prop::bool::ANY)
            .prop_map(|(operator, of, per_channel)| Step::Scale { operator, of, per_channel }),
        1 => any.clone().prop_map(|of| Step::Turn { of }),
        1 => any.clone().prop_map(|of| Step::Flatten { of }),
        2 => (any, 0..4_u32).prop_map(|(of, seed)| Step::Rows { of, seed }),
    ]
}

/// Writes a step as nodes that make `name`; `before` names a tensor before. Recent ones are likelier.
fn write(step: &Step, name: &str, before: impl Fn(usize) -> String, file: &mut GraphPart) {
    let mut constant = |part: TensorPart| {
        let name = part.name.clone();
        if !file.weights.iter().any(|weight| weight.name == name) {
            file.weights.push(part);
        }
        name
    };
    let nodes = match *step {
        Step::Conv { of, kernel, seed } => {
            let weight = noisy(&format!("w{kernel}_{seed}"), &[4, 4, kernel, kernel], seed);
            let inputs = [before(of), constant(weight), constant(noisy("b4", &[4], 9))];
            let conv = node("Conv", &inputs.each_ref().map(String::as_str), &[name]);
            vec![conv.ints("pads", &[kernel / 2; 4])]
        }
        Step::Normalise { of } => {
            let mut variance = noisy("variance", &[4], 6);
            variance
                .floats
                .iter_mut()
                .for_each(|number| *number = number.abs() + 0.5);
            let parts = [
                noisy("scale", &[4], 3),
                noisy("shift", &[4], 4),
                noisy("mean", &[4], 5),
            ];
            let [scale, shift, mean] = parts.map(&mut constant);
            let inputs = [before(of), scale, shift, mean, constant(variance)];
            let inputs = inputs.each_ref().map(String::as_str);
            vec![node("BatchNormalization", &inputs, &[name])]
        }
        Step::Plain { of, operator } => vec![node(operator, &[&before(of)], &[name])],
        Step::Clip { of } => {
            let bounds = [given("low", &[], &[-0.5]), given("high", &[], &[0.75])];
            let [low, high] = bounds.map(&mut constant);
            vec![node("Clip", &[&before(of), &low, &high], &[name])]
        }
        Step::Pair {
            operator,
            left,
            right,
        } => {
            vec![node(operator, &[&before(left), &before(right)], &[name])]
        }
        Step::Scale {
            operator,
            of,
            per_channel,
        } => {
            let part = if per_channel {
                given("factors", &[4, 1, 1], &[0.5, 0.75, 1.25, 0.9])
            } else {
                given("factor", &[], &[0.8])
            };
            vec![node(operator, &[&before(of), &constant(part)], &[name])]
        }
        Step::Turn { of } => {
            let between = format!("{name}_turned");
            vec![
                node("Transpose", &[&before(of)], &[&between]).ints("perm", &[0, 1, 3, 2]),
                node("Transpose", &[&between], &[name]).ints("perm", &[0, 1, 3, 2]),
            ]
        }
        Step::Flatten { of } => {
            let between = format!("{name}_flat");
            let sizes = constant(integers("sizes", &[-1, 4, 5, 5]));
            vec![
                node("Flatten", &[&before(of)], &[&between]),
                node("Reshape", &[&between, &sizes], &[name]),
            ]
        }
        Step::Rows { of, seed } => {
            let (between, sum) = (format!("{name}_product"), format!("{name}_sum"));
            let weight = constant(noisy(&format!("m{seed}"), &[5, 5], seed + 20));
            let bias = constant(noisy("row", &[5], 30));
            vec![
                node("MatMul", &[&before(of), &weight], &[&between]),
                node("Add", &[&between, &bias], &[&sum]),
                node("Tanh", &[&sum], &[name]),
            ]
        }
    };
    file.nodes.extend(nodes);
}

/// A network of which the last tensor, and one in the middle, are outputs.
fn network(steps: &[Step]) -> Graph {
    let mut file = model(17, "n,4,5,5", vec![], vec![]);
    let name = |place: usize| {
        if place == 0 {
            "x".to_owned()
        } else {
            format!("t{place}")
        }
    };
    for (place, step) in steps.iter().enumerate() {
        let before = |back: usize| name(place - (back % 4).min(place));
        write(step, &name(place + 1), before, file.graph_mut());
    }
    let middle = name(steps.len().div_ceil(2));
    let last = name(steps.len());
    let part = file.graph_mut();
    part.nodes.push(node("Neg", &[&last], &["y"]));
    part.outputs.push(untyped(&middle));
    file.read().unwrap()
}

/// Runs the segments of a cut one after the other.
fn chained(graph: &Graph, cut: &str, input: &Tensor) -> Option<Vec<Tensor>> {
    let segments = graph.chain(&[cut.to_owned()]).ok()?;
    let mut tensors = vec![input.clone()];
    for segment in &segments {
        tensors = run(segment, Passes::default(), &tensors);
    }
    Some(tensors)
}

fn tensors_computed(graph: &Graph) -> impl Iterator<Item = &str> {
    let computed = graph.values.iter();
    computed
        .filter(|value| matches!(value.origin, ValueOrigin::Node(..)))
        .map(|value| value.name.as_str())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn req_4_default_passes_give_the_same_wherever_the_network_is_cut(
        steps in prop::collection::vec(step(), 2..14)
    ) {
        let graph = network(&steps);
        let image = input(&[2, 4, 5, 5]);
        let whole = run(&graph, Passes::default(), std::slice::from_ref(&image));
        // Between transposes a cut changes strides, by which a convolution may choose how to sum, with or without passes.
        for cut in tensors_computed(&graph).filter(|name| !name.ends_with("_turned")) {
            let Some(parts) = chained(&graph, cut, &image) else { continue };
            for (part, whole) in parts.iter().zip(&whole) {
                prop_assert!(part.bytes() == whole.bytes(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn every_pass_alone_and_all_together_keep_what_a_network_computes(
        steps in prop::collection::vec(step(), 2..14)
    ) {
        let graph = network(&steps);
        let image = [input(&[2, 4, 5, 5])];
        for pass in Pass::ALL {
            optimised(&graph, Passes::only(pass));
            gives_nearly_the_same(&graph, Passes::only(pass), &image);
        }
        gives_nearly_the_same(&graph, FAST, &image);
    }
}
