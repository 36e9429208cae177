//! From a specification and the signatures of its blocks to a plan, or to everything that is wrong with it.

use std::collections::BTreeSet;

use crate::types::{Encoding, Epoch, FlowSpec, PipelineSpec, Problem, Signature, Spec, Unsound};

use super::draft::{Blocks, Draft};
use super::place::Places;
use super::{
    Edge, EdgeFrom, EdgeTo, Plan, PlannedBlock, PlannedPipeline, Route, Step, agree, chain, device,
    digest, graph, limits, order, place, proof, wire,
};

/// Ids of pipelines, steps and blocks are 16 bits wide on the wire.
const INDEX_MAX: usize = u16::MAX as usize;

/// Compiles a specification. `signatures` stand in the order of `spec.blocks`; `None` marks a block whose model could
/// not be read, which has been reported already: what depends on it is not checked, and the result is an error, perhaps
/// with no further problem in it. A block that no pipeline uses is allowed, and so is a
/// specification without pipelines.
pub fn compile(
    spec: &Spec,
    signatures: &[Option<Signature>],
    epoch: Epoch,
) -> Result<Plan, Vec<Problem>> {
    compile_sound(spec, signatures, &Unsound::default(), epoch)
}

/// Compiles what is sound of a specification. What refers to something unsound is not checked further, and the result
/// is an error then, perhaps with no further problem in it.
pub fn compile_sound(
    spec: &Spec,
    signatures: &[Option<Signature>],
    unsound: &Unsound,
    epoch: Epoch,
) -> Result<Plan, Vec<Problem>> {
    let blocks = Blocks::new(&spec.blocks, signatures, &unsound.blocks);
    let mut problems = Vec::new();
    check_names(spec, &mut problems);
    check_batches(spec, blocks, &mut problems);
    proof::check(spec, blocks, &mut problems);
    let places = Places::of(spec);
    place::check(spec, &places, &unsound.hosts, &mut problems);
    device::check(spec, &unsound.blocks, &mut problems);
    let planned = plan_blocks(spec, blocks, &places);
    let mut pipelines = Vec::new();
    for pipeline in &spec.pipelines {
        pipelines.extend(compile_pipeline(pipeline, &places, blocks, &mut problems));
    }
    match planned {
        Some(blocks)
            if problems.is_empty()
                && pipelines.len() == spec.pipelines.len()
                && *unsound == Unsound::default() =>
        {
            let (server, limits) = (spec.server.clone(), spec.limits.clone());
            limits::check(Plan {
                epoch,
                digest: digest(spec),
                server,
                limits,
                devices: spec.devices.clone(),
                reload: spec.reload.clone(),
                hosts: places.hosts,
                gateway: places.gateway,
                blocks,
                pipelines,
            })
        }
        _ => {
            problems.sort();
            problems.dedup();
            Err(problems)
        }
    }
}

fn check_names(spec: &Spec, problems: &mut Vec<Problem>) {
    for (kind, count) in [
        ("blocks", spec.blocks.len()),
        ("pipelines", spec.pipelines.len()),
    ] {
        if count > INDEX_MAX {
            let expected = format!("expected at most {INDEX_MAX}");
            problems.push(Problem::new(kind, format!("declares {count}"), expected));
        }
    }
    let hosts = spec.hosts.iter().map(|host| ("hosts", &host.name));
    let blocks = spec.blocks.iter().map(|block| ("blocks", &block.name));
    let pipelines = spec
        .pipelines
        .iter()
        .map(|pipeline| ("pipelines", &pipeline.name));
    let mut seen = BTreeSet::new();
    for (kind, name) in hosts.chain(blocks).chain(pipelines) {
        if !seen.insert((kind, name)) {
            let key = format!("{kind}.{name}");
            problems.push(Problem::new(
                key,
                "is declared twice",
                "expected each name once",
            ));
        }
    }
}

fn check_batches(spec: &Spec, blocks: Blocks<'_>, problems: &mut Vec<Problem>) {
    for (index, block) in spec.blocks.iter().enumerate() {
        let Some(signature) = blocks.signature(index) else {
            continue;
        };
        if block.batch.rows_max > 1 && !signature.batchable() {
            let specs = signature.inputs.iter().chain(&signature.outputs);
            let specs: Vec<_> = specs.map(ToString::to_string).collect();
            let seen = format!(
                "is {}, but the first dimension is not one and the same name everywhere ({})",
                block.batch.rows_max,
                specs.join(", ")
            );
            let key = format!("blocks.{}.batch.max", block.name);
            problems.push(Problem::new(key, seen, "expected 1"));
        }
    }
}

fn plan_blocks(spec: &Spec, blocks: Blocks<'_>, places: &Places) -> Option<Vec<PlannedBlock>> {
    let planned = spec.blocks.iter().enumerate().map(|(index, block)| {
        Some(PlannedBlock {
            spec: block.clone(),
            signature: blocks.signature(index)?.clone(),
            placement: places.blocks[index].clone(),
        })
    });
    planned.collect()
}

fn compile_pipeline(
    pipeline: &PipelineSpec,
    places: &Places,
    blocks: Blocks<'_>,
    problems: &mut Vec<Problem>,
) -> Option<PlannedPipeline> {
    let key = format!("pipelines.{}", pipeline.name);
    let reported = problems.len();
    let (mut draft, place) = match &pipeline.flow {
        FlowSpec::Chain(flow) => (chain::chain(&key, flow, blocks, problems), "flow"),
        FlowSpec::Graph(flow) => (graph::graph(&key, flow, blocks, problems), "edges"),
    };
    let wire_key = format!("{key}.wire");
    let key = format!("{key}.{place}");
    if draft.steps.len() > INDEX_MAX {
        let seen = format!("has {} steps", draft.steps.len());
        problems.push(Problem::new(
            &key,
            seen,
            format!("expected at most {INDEX_MAX}"),
        ));
        return None;
    }
    order::check_ends(&key, &draft, blocks, problems);
    order::sort(&key, &mut draft, problems);
    let signature = agree::agree(&draft, blocks, problems);
    let encodings = wire::encodings(&wire_key, &pipeline.wire, &draft, blocks, problems);
    if problems.len() > reported {
        return None;
    }
    Some(PlannedPipeline {
        name: pipeline.name.clone(),
        signature: signature?,
        deadline: pipeline.deadline,
        edges: route_edges(&draft, &encodings, places),
        steps: draft
            .steps
            .into_iter()
            .map(|step| Step {
                name: step.name,
                block: step.block,
            })
            .collect(),
    })
}

/// Routes edges, whose encodings stand in their order.
fn route_edges(draft: &Draft, encodings: &[Encoding], places: &Places) -> Vec<Edge> {
    let placement = |step: usize| &places.blocks[draft.steps[step].block];
    let routed = draft.edges.iter().zip(encodings).map(|(edge, encoding)| {
        let producer = match edge.from {
            EdgeFrom::Input(_) => &places.gateway,
            EdgeFrom::Step { step, .. } => placement(step),
        };
        let consumer = match edge.to {
            EdgeTo::Output(_) => &places.gateway,
            EdgeTo::Step { step, .. } => placement(step),
        };
        Edge {
            from: edge.from,
            to: edge.to,
            route: Route::between(producer, consumer),
            encoding: *encoding,
        }
    });
    routed.collect()
}
