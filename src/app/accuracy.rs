//! What computing in other numbers than FP32 changes: blocks that do so against themselves in FP32, on their golden inputs.

use serde::Serialize;

use crate::engine::{BlockSource, EngineError, Golden, Prepared, compare, prepare_for};
use crate::plan::PlannedBlock;
use crate::types::{GoldenSpec, Precision, Signature, Tensor, Tolerance};

use super::prepared::seat;
use super::{Loaded, StartError};

/// How the results of one block differ from its own in FP32.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    pub block: String,
    pub precision: &'static str,
    /// Pipelines that use it.
    pub pipelines: Vec<String>,
    /// Golden cases that were run; of none, nothing is known.
    pub cases: usize,
    /// One for each output, in the order of the signature.
    pub outputs: Vec<OutputAccuracy>,
}

/// How one output differs, over all cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputAccuracy {
    pub output: String,
    /// Elements of it.
    pub compared: usize,
    /// Largest difference of two finite numbers.
    pub absolute_max: f64,
    /// Largest difference as a share of the larger of the two, from 0 to 2.
    pub relative_max: f64,
    /// Elements that are finite in one of the two only, or, where they are no floats, others.
    pub broken: usize,
}

/// Everything is let through; what is left is infinite, NaN, or no float.
const LOOSE: Tolerance = Tolerance {
    relative: 0.0,
    absolute: f32::MAX,
};

/// Compares each block that computes in other numbers with itself in FP32, on the device where it is to run. One after the
/// other, so that no device holds more than one block.
pub fn accuracy(loaded: &Loaded) -> Result<Vec<Accuracy>, StartError> {
    let plan = &loaded.plan;
    let mut found = Vec::new();
    for (index, block) in plan.blocks.iter().enumerate() {
        let spec = &block.spec;
        let precision = spec.source.precision();
        if precision == Precision::Fp32 {
            continue;
        }
        let uses = plan.pipelines.iter().filter(|pipeline| {
            let mut steps = pipeline.steps.iter();
            steps.any(|step| step.block == index)
        });
        let pipelines = uses
            .map(|pipeline| pipeline.name.as_str().to_owned())
            .collect();
        let (cases, outputs) = match &spec.proof.golden {
            Some(golden) => {
                let outputs = differences(loaded.source(index), block, golden);
                (
                    golden.cases.len(),
                    outputs.map_err(|cause| StartError::of(spec, cause))?,
                )
            }
            None => (0, Vec::new()),
        };
        found.push(Accuracy {
            block: spec.name.clone(),
            precision: precision.name(),
            pipelines,
            cases,
            outputs,
        });
    }
    Ok(found)
}

fn differences(
    source: BlockSource<'_>,
    block: &PlannedBlock,
    golden: &GoldenSpec,
) -> Result<Vec<OutputAccuracy>, EngineError> {
    let spec = &block.spec;
    let results = |source| -> Result<_, EngineError> {
        let prepared = prepare_for(source, spec.threads, seat(spec))?;
        Ok((
            prepared.signature().clone(),
            outputs_of(&*prepared, golden)?,
        ))
    };
    let (signature, expected) = results(in_fp32(source.clone()))?;
    let (_, seen) = results(source)?;
    Ok(told(&signature, &expected, &seen))
}

fn in_fp32(source: BlockSource<'_>) -> BlockSource<'_> {
    match source {
        BlockSource::Graph {
            graph,
            signature,
            engine,
            passes,
        } => BlockSource::Graph {
            graph,
            signature,
            engine,
            passes: passes.in_precision(Precision::Fp32),
        },
        other => other,
    }
}

/// Returns the outputs of each case.
fn outputs_of(
    prepared: &dyn Prepared,
    golden: &GoldenSpec,
) -> Result<Vec<Vec<Tensor>>, EngineError> {
    let mut session = prepared.session()?;
    let cases = golden.cases.iter().map(|case| {
        let inputs = Golden::read_inputs(&case.inputs, prepared.signature())?;
        session.run_to_host(&inputs)
    });
    cases.collect()
}

fn told(
    signature: &Signature,
    expected: &[Vec<Tensor>],
    seen: &[Vec<Tensor>],
) -> Vec<OutputAccuracy> {
    let outputs = signature.outputs.iter().enumerate();
    let tell = |(place, output): (usize, &crate::types::TensorSpec)| {
        let mut told = OutputAccuracy {
            output: output.name.clone(),
            compared: 0,
            absolute_max: 0.0,
            relative_max: 0.0,
            broken: 0,
        };
        for (expected, seen) in expected.iter().zip(seen) {
            let (Some(expected), Some(seen)) = (expected.get(place), seen.get(place)) else {
                continue;
            };
            let comparison = compare(expected, seen, LOOSE);
            told.compared += comparison.compared;
            told.absolute_max = told.absolute_max.max(comparison.absolute_max);
            told.relative_max = told.relative_max.max(comparison.relative_max);
            told.broken += comparison.different;
        }
        told
    };
    outputs.map(tell).collect()
}
