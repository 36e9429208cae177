//! What the ends of an edge are called.

use super::{Edge, EdgeFrom, EdgeTo, Plan, PlannedPipeline};

impl Plan {
    /// Returns `step.output`, or the name of a pipeline input.
    pub fn producer_name(&self, pipeline: &PlannedPipeline, edge: &Edge) -> String {
        match edge.from {
            EdgeFrom::Input(input) => pipeline.signature.inputs[input].name.clone(),
            EdgeFrom::Step { step, output } => {
                let step = &pipeline.steps[step];
                let output = &self.blocks[step.block].signature.outputs[output];
                format!("{}.{}", step.name, output.name)
            }
        }
    }

    /// Returns `step.input`, or the name of a pipeline output.
    pub fn consumer_name(&self, pipeline: &PlannedPipeline, edge: &Edge) -> String {
        match edge.to {
            EdgeTo::Output(output) => pipeline.signature.outputs[output].name.clone(),
            EdgeTo::Step { step, input } => {
                let step = &pipeline.steps[step];
                let input = &self.blocks[step.block].signature.inputs[input];
                format!("{}.{}", step.name, input.name)
            }
        }
    }
}
