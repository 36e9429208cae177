//! Names and short texts that all forms of a plan share.

use std::time::Duration;

use crate::plan::{Edge, EdgeFrom, EdgeTo, Plan, PlannedBlock, PlannedPipeline, Route, Step};
use crate::types::{DeviceChoice, Encoding, MockFailure, Precision, SourceSpec, TensorSpec};

/// Returns the ids of the two nodes that a drawing joins by an edge of its pipeline, the `index`th.
pub(super) fn nodes(index: usize, edge: &Edge) -> (String, String) {
    let from = match edge.from {
        EdgeFrom::Input(input) => format!("p{index}_in{input}"),
        EdgeFrom::Step { step, .. } => format!("p{index}_step{step}"),
    };
    let to = match edge.to {
        EdgeTo::Output(output) => format!("p{index}_out{output}"),
        EdgeTo::Step { step, .. } => format!("p{index}_step{step}"),
    };
    (from, to)
}

/// Names the engine, and the numbers that it computes in where they are not those of the model.
pub(super) fn engine(source: &SourceSpec) -> String {
    let engine = source.engine().name();
    match source.precision() {
        Precision::Fp32 => engine.to_owned(),
        other => format!("{engine} in {}", other.name()),
    }
}

/// Returns what a drawing writes into the node of a step.
pub(super) fn step(plan: &Plan, step: &Step) -> String {
    let block = &plan.blocks[step.block];
    let (engine, device) = (engine(&block.spec.source), block.placement.device);
    format!("{}\n{engine} on {device}", step.name)
}

/// Returns what travels along an edge.
pub(super) fn tensor<'plan>(
    plan: &'plan Plan,
    pipeline: &'plan PlannedPipeline,
    edge: &Edge,
) -> &'plan TensorSpec {
    match edge.from {
        EdgeFrom::Input(input) => &pipeline.signature.inputs[input],
        EdgeFrom::Step { step, output } => {
            &plan.blocks[pipeline.steps[step].block].signature.outputs[output]
        }
    }
}

/// Returns what carries an edge, and how its payload is written where that is not as it is in memory.
pub(super) fn route(edge: &Edge) -> String {
    let Route {
        carrier, travels, ..
    } = edge.route;
    match edge.encoded() {
        Encoding::PLAIN => format!("{carrier} {travels}"),
        encoded => format!("{carrier} {travels} as {encoded}"),
    }
}

/// Returns why, with what is asked for and has no effect.
pub(super) fn reason(edge: &Edge) -> String {
    let reason = edge.route.reason;
    if edge.encoded() == edge.encoding {
        return reason.to_owned();
    }
    format!("{reason}; {} between hosts only", edge.encoding)
}

/// Returns why a block is on its device, where the configuration leaves that open.
pub(super) fn choice(block: &PlannedBlock) -> Option<&str> {
    match &block.spec.device_choice {
        DeviceChoice::Chosen { reason } => Some(reason),
        DeviceChoice::Named | DeviceChoice::Open => None,
    }
}

pub(super) fn type_of(spec: &TensorSpec) -> String {
    format!("{}{}", spec.dtype, spec.shape)
}

pub(super) fn specs(specs: &[TensorSpec]) -> String {
    specs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn duration(duration: Duration) -> String {
    format!("{duration:?}")
}

/// Describes what a block runs.
pub(super) fn source(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Graph {
            path,
            inputs: None,
            outputs: None,
            ..
        } => path.display().to_string(),
        SourceSpec::Graph {
            path,
            inputs,
            outputs,
            ..
        } => {
            let end = |names: &Option<Vec<String>>, model: &str| {
                names
                    .as_ref()
                    .map_or_else(|| model.to_owned(), |names| names.join(", "))
            };
            format!(
                "{} from {} to {}",
                path.display(),
                end(inputs, "inputs"),
                end(outputs, "outputs")
            )
        }
        SourceSpec::TorchScript { path, .. } => path.display().to_string(),
        SourceSpec::DecodeImage(image) => {
            format!(
                "decode image to {}x{}, {} channels",
                image.width, image.height, image.channels
            )
        }
        SourceSpec::Mock(mock) => {
            let failure = match mock.failure {
                None => String::new(),
                Some(MockFailure::Panic { every }) => format!(", panics every {every} runs"),
                Some(MockFailure::Error { every }) => format!(", fails every {every} runs"),
                Some(MockFailure::NotANumber { every }) => {
                    format!(", gives NaN every {every} runs")
                }
                Some(MockFailure::Leak { every }) => format!(", leaks every {every} runs"),
                Some(MockFailure::SlowWarming { time }) => {
                    format!(", takes {} to be warmed", duration(time))
                }
                Some(MockFailure::LostDevice { every }) => {
                    format!(", loses its device every {every} runs")
                }
                Some(MockFailure::Hang { every, time }) => {
                    format!(", hangs {} every {every} runs", duration(time))
                }
            };
            format!("mock of {}{failure}", duration(mock.latency))
        }
    }
}
