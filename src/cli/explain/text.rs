//! A plan as aligned text.

use crate::plan::{Placement, Plan, PlannedBlock, PlannedPipeline};

use super::groups::{process, several};
use super::labels;
use crate::cli::output::columns;

pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for pipeline in &plan.pipelines {
        text.push_str(&render_pipeline(plan, pipeline));
        text.push('\n');
    }
    text.push_str("blocks\n");
    text.push_str(&render_blocks(plan));
    let chosen = plan.blocks.iter().filter_map(|block| {
        let reason = labels::choice(block)?.to_owned();
        let (name, device) = (&block.spec.name, block.placement.device);
        Some(vec![name.clone(), device.to_string(), reason])
    });
    let chosen: Vec<_> = chosen.collect();
    if !chosen.is_empty() {
        text.push_str("\ndevices chosen\n");
        text.push_str(&columns(2, &chosen));
    }
    if several(plan) || plan.hosts.len() > 1 {
        text.push_str("\nhosts\n");
        text.push_str(&render_hosts(plan));
    }
    text
}

/// Writes what is captured of the runs of blocks on CUDA devices; nothing where there are none.
pub(super) fn captures(said: &[(&str, String)]) -> String {
    if said.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = said
        .iter()
        .map(|(block, captured)| vec![(*block).to_owned(), captured.clone()])
        .collect();
    format!("\ncuda graphs\n{}", columns(2, &rows))
}

/// Cells of the line that names a pipeline and what it takes and gives.
pub(in crate::cli) fn pipeline_line(pipeline: &PlannedPipeline) -> Vec<String> {
    let signature = &pipeline.signature;
    vec![
        "pipeline".to_owned(),
        pipeline.name.clone(),
        format!(
            "{} -> {}",
            labels::specs(&signature.inputs),
            labels::specs(&signature.outputs)
        ),
    ]
}

/// Cells of the line that names a block and where it runs.
pub(in crate::cli) fn block_line(block: &PlannedBlock) -> Vec<String> {
    let instances = block.spec.instances;
    let mut cells = vec![
        "block".to_owned(),
        block.spec.name.clone(),
        block.spec.source.engine().name().to_owned(),
        block.placement.device.to_string(),
        format!(
            "{instances} instance{}",
            if instances == 1 { "" } else { "s" }
        ),
    ];
    let process = &block.placement.process;
    if process != Placement::MAIN {
        cells.push(format!("process {process}"));
    }
    cells
}

fn render_pipeline(plan: &Plan, pipeline: &PlannedPipeline) -> String {
    let facts = [
        vec![
            "inputs".to_owned(),
            labels::specs(&pipeline.signature.inputs),
        ],
        vec![
            "outputs".to_owned(),
            labels::specs(&pipeline.signature.outputs),
        ],
        vec!["deadline".to_owned(), labels::duration(pipeline.deadline)],
    ];
    let steps: Vec<_> = pipeline
        .steps
        .iter()
        .map(|step| {
            let block = &plan.blocks[step.block];
            let name = &block.spec.name;
            let use_of = if *name == step.name {
                String::new()
            } else {
                format!("block {name}")
            };
            vec![step.name.clone(), place(block), use_of]
        })
        .collect();
    let edges: Vec<_> = pipeline
        .edges
        .iter()
        .map(|edge| {
            vec![
                plan.producer_name(pipeline, edge),
                "->".to_owned(),
                plan.consumer_name(pipeline, edge),
                labels::type_of(labels::tensor(plan, pipeline, edge)),
                labels::route(edge),
                labels::reason(edge),
            ]
        })
        .collect();
    format!(
        "pipeline {}\n{}  steps\n{}  edges\n{}",
        pipeline.name,
        columns(2, &facts),
        columns(4, &steps),
        columns(4, &edges)
    )
}

fn render_blocks(plan: &Plan) -> String {
    let heading = [
        "NAME",
        "ENGINE",
        "PLACE",
        "INSTANCES",
        "THREADS",
        "BATCH",
        "SOURCE",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(plan.blocks.iter().map(|block| {
        let batch = &block.spec.batch;
        let batch = match batch.rows_max {
            0 | 1 => "none".to_owned(),
            rows => format!("{rows} rows, {}", labels::duration(batch.wait)),
        };
        vec![
            block.spec.name.clone(),
            block.spec.source.engine().name().to_owned(),
            place(block),
            block.spec.instances.to_string(),
            block.spec.threads.to_string(),
            batch,
            labels::source(&block.spec.source),
        ]
    }));
    columns(2, &rows)
}

fn render_hosts(plan: &Plan) -> String {
    let heading = ["NAME", "ADDRESS", "PORTS", "PROCESSES"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(plan.hosts.iter().map(|host| {
        let ports = match plan.receivers_on(&host.name) {
            0 => "none".to_owned(),
            count => format!("{count} from {}", host.port),
        };
        let processes = plan.processes(&host.name).into_iter().map(|name| {
            let gateway = (&*plan.gateway.host, &*plan.gateway.process) == (&*host.name, name);
            format!("{name}{}", if gateway { " (gateway)" } else { "" })
        });
        let processes: Vec<_> = processes.collect();
        vec![
            host.name.clone(),
            host.address.to_string(),
            ports,
            processes.join(", "),
        ]
    }));
    columns(2, &rows)
}

fn place(block: &PlannedBlock) -> String {
    let placement = &block.placement;
    format!("{}/{}", process(placement), placement.device)
}
