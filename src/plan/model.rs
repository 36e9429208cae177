//! The plan: what a configuration means.

use std::time::Duration;

use crate::graph::Digest;
use crate::types::{
    BlockSpec, Device, DeviceSpec, Encoding, Epoch, HostSpec, LimitsSpec, ReloadSpec, ServerSpec,
    Signature,
};

use super::{Carrier, Route};

/// One configuration, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub epoch: Epoch,
    /// What all its processes have in common, by [`digest`](super::digest()).
    pub digest: Digest,
    pub server: ServerSpec,
    pub limits: LimitsSpec,
    /// Those of which the configuration says something.
    pub devices: Vec<DeviceSpec>,
    /// How it is tried before it takes over from another.
    pub reload: ReloadSpec,
    /// One at least; every placement names one of them.
    pub hosts: Vec<HostSpec>,
    pub gateway: Placement,
    /// In the order of the configuration.
    pub blocks: Vec<PlannedBlock>,
    pub pipelines: Vec<PlannedPipeline>,
}

/// A block with its signature and place.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedBlock {
    pub spec: BlockSpec,
    pub signature: Signature,
    pub placement: Placement,
}

/// Where a block or the gateway lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub host: String,
    /// Process on that host: [`Placement::MAIN`], or a worker by its name.
    pub process: String,
    pub device: Device,
}

/// A pipeline, wired.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPipeline {
    pub name: String,
    pub signature: Signature,
    pub deadline: Duration,
    pub steps: Vec<Step>,
    pub edges: Vec<Edge>,
}

/// One use of a block in a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: String,
    /// Index into [`Plan::blocks`].
    pub block: usize,
}

/// A tensor's way from where it is made to where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: EdgeFrom,
    pub to: EdgeTo,
    pub route: Route,
    /// What the configuration asks for, should the edge lead to another host.
    pub encoding: Encoding,
}

/// Producer of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EdgeFrom {
    /// Input of the pipeline, by position.
    Input(usize),
    /// Output of a step, by positions.
    Step { step: usize, output: usize },
}

/// Consumer of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EdgeTo {
    /// Input of a step, by positions.
    Step { step: usize, input: usize },
    /// Output of the pipeline, by position.
    Output(usize),
}

impl Edge {
    /// Returns how the payload is written on its way: as the configuration asks where the edge leads to another host, else
    /// as it is.
    pub fn encoded(&self) -> Encoding {
        match self.route.carrier {
            Carrier::Tcp => self.encoding,
            Carrier::Inproc | Carrier::Ipc => Encoding::PLAIN,
        }
    }
}

impl Plan {
    /// Replaces the routes over pools of devices whose memory processes do not share here.
    pub fn without_pools(&mut self, unshared: impl Fn(Device) -> bool) {
        for pipeline in &mut self.pipelines {
            for edge in &mut pipeline.edges {
                let EdgeFrom::Step { step, .. } = edge.from else {
                    continue;
                };
                let device = self.blocks[pipeline.steps[step].block].placement.device;
                if unshared(device) {
                    edge.route = edge.route.clone().without_pool();
                }
            }
        }
    }

    /// Returns the longest that a request may take.
    pub fn deadline_max(&self) -> Duration {
        let deadlines = self.pipelines.iter().map(|pipeline| pipeline.deadline);
        deadlines.max().unwrap_or_default()
    }

    /// Returns how many steps of all pipelines use a block.
    pub fn uses(&self, block: usize) -> usize {
        let steps = self.pipelines.iter().flat_map(|pipeline| &pipeline.steps);
        steps.filter(|step| step.block == block).count()
    }
}

impl Placement {
    /// The process that the user starts: home of the gateway and of blocks that ask for no other.
    pub const MAIN: &'static str = BlockSpec::MAIN;

    /// Returns a place in the main process of a host.
    pub fn main(host: &str, device: Device) -> Self {
        Self {
            host: host.to_owned(),
            process: Self::MAIN.to_owned(),
            device,
        }
    }

    /// Tells whether it is in the process that the user starts.
    pub fn is_main(&self) -> bool {
        self.process == Self::MAIN
    }
}
