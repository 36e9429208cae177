//! What the CUDA devices of a machine can do for each other, and the routes that follow from it.

use crate::types::Device;

use super::{EdgeFrom, EdgeTo, Plan};

impl Plan {
    /// Has the routes between CUDA devices of this machine say what the devices can. `reads` tells whether a device, the first,
    /// reads the memory of another one directly; `shares`, whether processes share memory of a device. `None`: nobody knows.
    pub fn note_reach(
        &mut self,
        reads: impl Fn(u16, u16) -> Option<bool>,
        shares: impl Fn(u16) -> Option<bool>,
    ) {
        for pipeline in &mut self.pipelines {
            let device = |step: usize| {
                let block = &self.blocks[pipeline.steps[step].block];
                // Another host speaks for itself.
                let here = block.spec.host.is_none();
                here.then_some(block.placement.device)
            };
            for edge in &mut pipeline.edges {
                let (EdgeFrom::Step { step: from, .. }, EdgeTo::Step { step: to, .. }) =
                    (edge.from, edge.to)
                else {
                    continue;
                };
                let (Some(Device::Cuda(from)), Some(Device::Cuda(to))) = (device(from), device(to))
                else {
                    continue;
                };
                if let Some(shared) = shares(from) {
                    edge.route.note_sharing(shared);
                }
                if let Some(reads) = reads(to, from) {
                    edge.route.note_reading(reads);
                }
            }
        }
    }
}
