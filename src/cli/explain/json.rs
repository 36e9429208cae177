//! A plan as JSON. Fields are added, never renamed.

use serde::Serialize;

use crate::plan::{Edge, Plan, PlannedBlock, PlannedPipeline};
use crate::types::{Compress, Dim, HostSpec, TensorSpec};

use super::labels;

#[derive(Debug, Serialize)]
pub(super) struct PlanView {
    epoch: u32,
    /// Equal wherever a configuration means the same to those who exchange tensors.
    digest: String,
    http: String,
    in_flight_max: usize,
    hosts: Vec<HostView>,
    gateway: GatewayView,
    blocks: Vec<BlockView>,
    pipelines: Vec<PipelineView>,
}

#[derive(Debug, Serialize)]
struct HostView {
    name: String,
    address: String,
    /// First of as many ports as `receivers`.
    port: u16,
    receivers: usize,
    processes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct GatewayView {
    host: String,
    process: String,
}

#[derive(Debug, Serialize)]
struct BlockView {
    name: String,
    engine: &'static str,
    precision: &'static str,
    source: String,
    host: String,
    process: String,
    device: String,
    /// Why, where the configuration leaves it open.
    device_reason: Option<String>,
    instances: usize,
    threads: usize,
    batch_rows_max: usize,
    batch_wait_us: u64,
    queue_max: usize,
    inputs: Vec<TensorView>,
    outputs: Vec<TensorView>,
}

#[derive(Debug, Serialize)]
struct PipelineView {
    name: String,
    deadline_ms: u64,
    inputs: Vec<TensorView>,
    outputs: Vec<TensorView>,
    steps: Vec<StepView>,
    edges: Vec<EdgeView>,
}

#[derive(Debug, Serialize)]
struct StepView {
    name: String,
    block: String,
}

#[derive(Debug, Serialize)]
struct EdgeView {
    from: String,
    to: String,
    tensor: TensorView,
    carrier: String,
    travels: String,
    copies: String,
    reason: &'static str,
    /// What the configuration asks for, if anything.
    encoding: Option<EncodingView>,
}

#[derive(Debug, Serialize)]
struct EncodingView {
    dtype: Option<&'static str>,
    compress: Option<&'static str>,
    /// `false`: the edge does not leave its host, so that it has no effect.
    used: bool,
}

#[derive(Debug, Serialize)]
struct TensorView {
    name: String,
    datatype: &'static str,
    shape: Vec<DimView>,
}

/// A number where the size is fixed, the symbol or `"?"` where it is not.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum DimView {
    Size(usize),
    Symbol(String),
}

pub(super) fn describe(plan: &Plan) -> PlanView {
    PlanView {
        epoch: plan.epoch.0,
        digest: plan.digest.to_string(),
        http: plan.server.http.to_string(),
        in_flight_max: plan.limits.in_flight_max,
        hosts: plan.hosts.iter().map(|one| host(plan, one)).collect(),
        gateway: GatewayView {
            host: plan.gateway.host.clone(),
            process: plan.gateway.process.clone(),
        },
        blocks: plan.blocks.iter().map(block).collect(),
        pipelines: plan
            .pipelines
            .iter()
            .map(|one| pipeline(plan, one))
            .collect(),
    }
}

fn host(plan: &Plan, host: &HostSpec) -> HostView {
    let processes = plan.processes(&host.name);
    HostView {
        name: host.name.clone(),
        address: host.address.to_string(),
        port: host.port,
        receivers: plan.receivers_on(&host.name),
        processes: processes.into_iter().map(str::to_owned).collect(),
    }
}

fn block(block: &PlannedBlock) -> BlockView {
    let PlannedBlock {
        spec,
        signature,
        placement,
    } = block;
    BlockView {
        name: spec.name.clone(),
        engine: spec.source.engine().name(),
        precision: spec.source.precision().name(),
        source: labels::source(&spec.source),
        host: placement.host.clone(),
        process: placement.process.clone(),
        device: placement.device.to_string(),
        device_reason: labels::choice(block).map(str::to_owned),
        instances: spec.instances,
        threads: spec.threads,
        batch_rows_max: spec.batch.rows_max,
        batch_wait_us: u64::try_from(spec.batch.wait.as_micros()).unwrap_or(u64::MAX),
        queue_max: spec.queue_max,
        inputs: tensors(&signature.inputs),
        outputs: tensors(&signature.outputs),
    }
}

fn pipeline(plan: &Plan, pipeline: &PlannedPipeline) -> PipelineView {
    let steps = pipeline.steps.iter().map(|step| StepView {
        name: step.name.clone(),
        block: plan.blocks[step.block].spec.name.clone(),
    });
    let edges = pipeline.edges.iter().map(|edge| EdgeView {
        from: plan.producer_name(pipeline, edge),
        to: plan.consumer_name(pipeline, edge),
        tensor: tensor(labels::tensor(plan, pipeline, edge)),
        carrier: edge.route.carrier.to_string(),
        travels: edge.route.travels.to_string(),
        copies: edge.route.copies.to_string(),
        reason: edge.route.reason,
        encoding: encoding(edge),
    });
    PipelineView {
        name: pipeline.name.clone(),
        deadline_ms: u64::try_from(pipeline.deadline.as_millis()).unwrap_or(u64::MAX),
        inputs: tensors(&pipeline.signature.inputs),
        outputs: tensors(&pipeline.signature.outputs),
        steps: steps.collect(),
        edges: edges.collect(),
    }
}

fn encoding(edge: &Edge) -> Option<EncodingView> {
    let asked = edge.encoding;
    (!asked.is_plain()).then(|| EncodingView {
        dtype: asked.narrow.map(|narrow| narrow.dtype().name()),
        compress: asked.compress.map(Compress::name),
        used: !edge.encoded().is_plain(),
    })
}

fn tensors(specs: &[TensorSpec]) -> Vec<TensorView> {
    specs.iter().map(tensor).collect()
}

fn tensor(spec: &TensorSpec) -> TensorView {
    let shape = spec.shape.0.iter().map(|dim| match dim {
        Dim::Fixed(size) => DimView::Size(*size),
        Dim::Symbol(_) | Dim::Any => DimView::Symbol(dim.to_string()),
    });
    TensorView {
        name: spec.name.clone(),
        datatype: spec.dtype.name(),
        shape: shape.collect(),
    }
}
