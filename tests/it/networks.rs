//! Networks as exporters write them: outputs as onnxruntime has them, and whatever the cuts, the same to the last bit.

use std::path::PathBuf;

use blockflow::engine::read_npy;
use blockflow::graph::{Graph, ValueOrigin};
use blockflow::types::{GraphEngine, Passes, SourceSpec, Tensor};

use crate::engine_support::{run_graph, values_f32};
use crate::passes_support::{FAST, names, optimised};
use crate::support::{ask, cut, start};

const TOLERANCE_RELATIVE: f32 = 1e-3;
const TOLERANCE_ABSOLUTE: f32 = 1e-4;
const LONG: std::time::Duration = std::time::Duration::from_secs(20);

/// A network, an input, and what the whole makes of it in this thread.
struct Network {
    name: &'static str,
    graph: Graph,
    input: Tensor,
    outputs: Vec<Tensor>,
    passes: Passes,
}

fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-models"));
    assert!(
        folder.is_dir(),
        "no {}: run .venv-test/bin/python scripts/make-models --tests target/test-models",
        folder.display()
    );
    folder.join(name)
}

impl Network {
    fn load(name: &'static str) -> Self {
        Self::load_with(name, Passes::default())
    }

    fn load_with(name: &'static str, passes: Passes) -> Self {
        let graph = Graph::read(&file(&format!("{name}.onnx"))).unwrap();
        let input = read_npy(&file(&format!("{name}.input.npy"))).unwrap();
        let inputs = std::slice::from_ref(&input);
        let outputs = run_graph(&graph, GraphEngine::Aten, passes, inputs).unwrap();
        Self {
            name,
            graph,
            input,
            outputs,
            passes,
        }
    }

    fn is_what_onnxruntime_computes(&self) {
        let signature = self.graph.signature().unwrap();
        for (spec, seen) in signature.outputs.iter().zip(&self.outputs) {
            let label = format!("{}.{}", self.name, spec.name);
            let expected = read_npy(&file(&format!("{label}.npy"))).unwrap();
            assert_eq!(seen.shape(), expected.shape(), "{label}");
            let pairs = values_f32(seen).into_iter().zip(values_f32(&expected));
            for (index, (seen, expected)) in pairs.enumerate() {
                let allowed = TOLERANCE_ABSOLUTE + TOLERANCE_RELATIVE * expected.abs();
                assert!(
                    (seen - expected).abs() <= allowed,
                    "{label}[{index}] is {seen}, expected {expected}"
                );
            }
        }
    }

    /// Returns the tensors that cut the network in two: those that alone carry all that follows, and the others.
    fn cuts(&self) -> (Vec<String>, Vec<String>) {
        let computed = self
            .graph
            .nodes
            .iter()
            .flat_map(|node| node.outputs.iter().flatten())
            .map(|&id| self.graph.value(id))
            .filter(|value| matches!(value.origin, ValueOrigin::Node(..)));
        let mut narrow = Vec::new();
        let mut wide = Vec::new();
        for value in computed {
            let name = value.name.clone();
            match self.graph.chain(std::slice::from_ref(&name)) {
                Ok(segments) if segments[0].outputs.len() == 1 => narrow.push(name),
                Ok(_) => wide.push(name),
                // Nothing is left to compute after it.
                Err(_) => {}
            }
        }
        (narrow, wide)
    }

    fn gives_the_same_cut_at(&self, cuts: &[String]) {
        let path = file(&format!("{}.onnx", self.name));
        let mut spec = cut(&path, &self.graph, cuts, LONG);
        for block in &mut spec.blocks {
            if let SourceSpec::Graph { passes, .. } = &mut block.source {
                *passes = self.passes;
            }
        }
        let runtime = start(&spec);
        let outputs = ask(runtime.gateway(), 0, vec![self.input.clone()])
            .unwrap_or_else(|failure| panic!("{} cut at {cuts:?}: {failure}", self.name));
        assert_eq!(outputs.len(), self.outputs.len());
        for (seen, whole) in outputs.iter().zip(&self.outputs) {
            assert_eq!(seen.shape(), whole.shape(), "{} cut at {cuts:?}", self.name);
            assert!(
                seen.bytes() == whole.bytes(),
                "{} cut at {cuts:?} differs from the whole",
                self.name
            );
        }
    }

    /// Checks cuts at tensors that passes leave, which stand between what is joined.
    fn gives_the_same_cut_between_groups(&self) {
        let optimised = optimised(&self.graph, self.passes);
        let (narrow, _) = self.cuts();
        let between: Vec<_> = narrow
            .into_iter()
            .filter(|name| optimised.find(name).is_some())
            .collect();
        assert!(between.len() >= 3, "{} has only {between:?}", self.name);
        for cut in &between {
            self.gives_the_same_cut_at(std::slice::from_ref(cut));
        }
    }

    fn gives_the_same_wherever_it_is_cut(&self) {
        let (narrow, wide) = self.cuts();
        assert!(
            narrow.len() >= 5,
            "{} has only the cuts {narrow:?}",
            self.name
        );
        self.gives_the_same_cut_at(&[]);
        for cut in &narrow {
            self.gives_the_same_cut_at(std::slice::from_ref(cut));
        }
        // Where a skip connection or a branch runs past the cut.
        for cut in spread(&wide, 5) {
            self.gives_the_same_cut_at(&[cut]);
        }
        self.gives_the_same_cut_at(&spread(&narrow, 5));
        self.gives_the_same_cut_at(&spread(&narrow, 16));
    }
}

/// Returns `count` of `names` at most, at even distances and in their order.
fn spread(names: &[String], count: usize) -> Vec<String> {
    let step = names.len().div_ceil(count).max(1);
    names.iter().step_by(step).cloned().collect()
}

#[test]
fn a_residual_network_computes_what_onnxruntime_does() {
    Network::load("resnet18").is_what_onnxruntime_computes();
}

#[test]
fn a_network_of_inverted_residuals_computes_what_onnxruntime_does() {
    Network::load("mobilenetv2").is_what_onnxruntime_computes();
}

#[test]
fn a_network_with_squeeze_and_excitation_computes_what_onnxruntime_does() {
    Network::load("mobilenetv3").is_what_onnxruntime_computes();
}

#[test]
fn a_perceptron_computes_what_onnxruntime_does() {
    Network::load("mlp").is_what_onnxruntime_computes();
}

#[test]
fn networks_rewritten_to_be_fast_compute_what_onnxruntime_does() {
    for name in ["resnet18", "mobilenetv2", "mobilenetv3"] {
        let network = Network::load_with(name, FAST);
        network.is_what_onnxruntime_computes();
        let left = names(&optimised(&network.graph, FAST));
        let count = |operator: &str| left.iter().filter(|name| **name == operator).count();
        assert_eq!(count("BatchNormalization"), 0, "{name}: {left:?}");
        assert_eq!(count("MatMul") + count("Gemm"), 0, "{name}: {left:?}");
        let joined = count("FusedConv") + count("Linear");
        assert!(joined > count("Conv"), "{name}: {left:?}");
    }
    Network::load_with("mlp", FAST).is_what_onnxruntime_computes();
}

#[test]
fn req_4_networks_rewritten_to_be_fast_are_the_same_where_nothing_joined_is_cut() {
    for name in ["resnet18", "mobilenetv2", "mobilenetv3"] {
        Network::load_with(name, FAST).gives_the_same_cut_between_groups();
    }
}

#[test]
fn req_4_a_residual_network_is_the_same_wherever_it_is_cut() {
    Network::load("resnet18").gives_the_same_wherever_it_is_cut();
}

#[test]
fn req_4_a_network_of_inverted_residuals_is_the_same_wherever_it_is_cut() {
    Network::load("mobilenetv2").gives_the_same_wherever_it_is_cut();
}

#[test]
fn req_4_a_network_with_squeeze_and_excitation_is_the_same_wherever_it_is_cut() {
    Network::load("mobilenetv3").gives_the_same_wherever_it_is_cut();
}

#[test]
fn req_4_a_perceptron_is_the_same_wherever_it_is_cut() {
    Network::load("mlp").gives_the_same_wherever_it_is_cut();
}
