//! Key by key, what is not the same in two configurations.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::graph::Digest;
use crate::types::{
    BatchSpec, BlockSpec, LogSpec, ProofSpec, ReloadSpec, RestartSpec, ServerSpec, SourceSpec,
};

use super::diff::{Change, Side, Value};
use super::{Placement, Plan, PlannedBlock, PlannedPipeline, device};

/// Notes a key whose values differ.
pub(super) fn compare<T: PartialEq>(
    values: &mut Vec<Value>,
    key: &'static str,
    [from, to]: [T; 2],
    show: impl Fn(&T) -> String,
) {
    if from != to {
        values.push(Value {
            key,
            from: show(&from),
            to: show(&to),
        });
    }
}

pub(super) fn compare_named<T: Copy>(
    old: BTreeMap<&str, T>,
    new: BTreeMap<&str, T>,
    compare: impl Fn(T, T) -> Option<Change>,
) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (&name, &to) in &new {
        let change = match old.get(name) {
            Some(&from) => compare(from, to),
            None => Some(Change::Add),
        };
        changes.extend(change.map(|change| (name.to_owned(), change)));
    }
    let removed = old.keys().filter(|&name| !new.contains_key(name));
    changes.extend(removed.map(|&name| (name.to_owned(), Change::Remove)));
    changes
}

pub(super) fn compare_settings(
    old: Side<'_>,
    new: Side<'_>,
    settings: &mut Vec<Value>,
    fixed: &mut Vec<Value>,
) {
    // Taken apart whole, so that a new field has to be given its part here.
    let server = |side: Side<'_>| {
        let ServerSpec {
            http,
            host,
            workers,
            body_bytes_max,
            drain,
        } = side.plan.server.clone();
        (http, host, workers, body_bytes_max, drain)
    };
    let (old_server, new_server) = (server(old), server(new));
    compare(fixed, "server.http", [old_server.0, new_server.0], shown);
    compare(fixed, "server.host", [old_server.1, new_server.1], json);
    compare(fixed, "server.workers", [old_server.2, new_server.2], shown);
    let body_bytes_max = [old_server.3, new_server.3];
    compare(fixed, "server.body_bytes_max", body_bytes_max, shown);
    let drain = [old_server.4, new_server.4];
    compare(settings, "server.drain_ms", drain, milliseconds);
    let in_flight_max = [old, new].map(|side| side.plan.limits.in_flight_max);
    compare(settings, "limits.in_flight_max", in_flight_max, shown);
    device::compare_devices(
        settings,
        [old, new].map(|side| side.plan.devices.as_slice()),
    );
    let trials = [old, new].map(|side| {
        let ReloadSpec { shadow, canary } = side.plan.reload.clone();
        (shadow, canary)
    });
    let [(old_shadow, old_canary), (new_shadow, new_canary)] = trials;
    compare(settings, "reload.shadow", [old_shadow, new_shadow], json);
    compare(settings, "reload.canary", [old_canary, new_canary], json);
    let log = |side: Side<'_>| {
        let LogSpec { filter, format } = side.log.clone();
        (filter, format)
    };
    let (old_log, new_log) = (log(old), log(new));
    compare(settings, "log.filter", [old_log.0, new_log.0], json);
    compare(fixed, "log.format", [old_log.1, new_log.1], json);
    // Keys of hosts are replaced by themselves.
    let hosts = |side: Side<'_>| {
        let hosts = side.plan.hosts.iter();
        hosts
            .map(|host| format!("{} at {}:{}", host.name, host.address, host.port))
            .collect::<Vec<_>>()
    };
    compare(fixed, "hosts", [hosts(old), hosts(new)], |hosts| {
        hosts.join(", ")
    });
}

pub(super) fn blocks(side: Side<'_>) -> BTreeMap<&str, (&PlannedBlock, Digest)> {
    let blocks = side.plan.blocks.iter().zip(side.contents);
    blocks
        .map(|(block, content)| (block.spec.name.as_str(), (block, *content)))
        .collect()
}

pub(super) fn compare_blocks(
    (old, old_content): (&PlannedBlock, Digest),
    (new, new_content): (&PlannedBlock, Digest),
) -> Option<Change> {
    let BlockSpec {
        name: _,
        source: _,
        host: _,
        process: _,
        device: _,
        device_choice: _,
        threads,
        instances,
        batch: BatchSpec { rows_max, wait },
        restart:
            RestartSpec {
                budget,
                window,
                backoff_min,
                backoff_max,
            },
        proof:
            ProofSpec {
                warm,
                finite,
                golden,
                cuda_graphs,
            },
        stuck,
        queue_max,
    } = &old.spec;
    let (spec, mut rebuilt, mut retuned) = (&new.spec, Vec::new(), Vec::new());
    compare_sources(&mut rebuilt, &old.spec.source, &spec.source);
    if rebuilt.is_empty() {
        compare(
            &mut rebuilt,
            "model",
            [old_content, new_content],
            |content| format!("content {}", content.short()),
        );
    }
    let Placement {
        host,
        process,
        device,
    } = &old.placement;
    compare(&mut rebuilt, "host", [host, &new.placement.host], json);
    compare(
        &mut rebuilt,
        "process",
        [process, &new.placement.process],
        json,
    );
    compare(
        &mut rebuilt,
        "device",
        [*device, new.placement.device],
        shown,
    );
    compare(&mut rebuilt, "threads", [*threads, spec.threads], shown);
    compare(
        &mut retuned,
        "instances",
        [*instances, spec.instances],
        shown,
    );
    compare(
        &mut retuned,
        "batch.max",
        [*rows_max, spec.batch.rows_max],
        shown,
    );
    compare(
        &mut retuned,
        "batch.wait_ms",
        [*wait, spec.batch.wait],
        milliseconds,
    );
    compare(
        &mut retuned,
        "restart.budget",
        [*budget, spec.restart.budget],
        shown,
    );
    compare(
        &mut retuned,
        "restart.window_s",
        [*window, spec.restart.window],
        seconds,
    );
    let backoff = [*backoff_min, spec.restart.backoff_min];
    compare(
        &mut retuned,
        "restart.backoff_min_ms",
        backoff,
        milliseconds,
    );
    let backoff = [*backoff_max, spec.restart.backoff_max];
    compare(
        &mut retuned,
        "restart.backoff_max_ms",
        backoff,
        milliseconds,
    );
    let proof = &spec.proof;
    compare(&mut retuned, "warm", [warm, &proof.warm], json);
    compare(&mut retuned, "finite", [*finite, proof.finite], shown);
    compare(&mut retuned, "golden", [golden, &proof.golden], json);
    compare(
        &mut retuned,
        "cuda_graphs",
        [*cuda_graphs, proof.cuda_graphs],
        |graphs| graphs.name().to_owned(),
    );
    compare(
        &mut retuned,
        "stuck.run_ms",
        [stuck.run, spec.stuck.run],
        bound,
    );
    compare(
        &mut retuned,
        "stuck.warm_ms",
        [stuck.warm, spec.stuck.warm],
        bound,
    );
    compare(
        &mut retuned,
        "queue_max",
        [*queue_max, spec.queue_max],
        shown,
    );
    Change::of(rebuilt, retuned)
}

fn compare_sources(values: &mut Vec<Value>, old: &SourceSpec, new: &SourceSpec) {
    match (old, new) {
        (
            SourceSpec::Graph {
                path,
                inputs,
                outputs,
                engine,
                passes,
            },
            SourceSpec::Graph {
                path: new_path,
                inputs: new_inputs,
                outputs: new_outputs,
                engine: new_engine,
                passes: new_passes,
            },
        ) => {
            compare(values, "model", [path, new_path], |path| {
                path.display().to_string()
            });
            compare(values, "inputs", [inputs, new_inputs], json);
            compare(values, "outputs", [outputs, new_outputs], json);
            compare(values, "engine", [*engine, *new_engine], json);
            compare(values, "optimize", [*passes, *new_passes], json);
        }
        (
            SourceSpec::TorchScript { path, signature },
            SourceSpec::TorchScript {
                path: new_path,
                signature: new_signature,
            },
        ) => {
            compare(values, "model", [path, new_path], |path| {
                path.display().to_string()
            });
            compare(values, "signature", [signature, new_signature], json);
        }
        (SourceSpec::DecodeImage(old), SourceSpec::DecodeImage(new)) => {
            compare(values, "decode", [old, new], json);
        }
        (SourceSpec::Mock(old), SourceSpec::Mock(new)) => {
            compare(values, "mock", [old, new], json);
        }
        (SourceSpec::Graph { .. }, _)
        | (SourceSpec::TorchScript { .. }, _)
        | (SourceSpec::DecodeImage(_), _)
        | (SourceSpec::Mock(_), _) => {
            compare(values, "source", [kind(old), kind(new)], |kind| {
                (*kind).to_owned()
            });
        }
    }
}

fn kind(source: &SourceSpec) -> &'static str {
    match source {
        SourceSpec::Graph { .. } => "a model",
        SourceSpec::TorchScript { .. } => "a TorchScript file",
        SourceSpec::DecodeImage(_) => "decode",
        SourceSpec::Mock(_) => "mock",
    }
}

type Wired<'a> = (&'a Plan, &'a PlannedPipeline);

pub(super) fn pipelines(side: Side<'_>) -> BTreeMap<&str, Wired<'_>> {
    let pipelines = side.plan.pipelines.iter();
    pipelines
        .map(|pipeline| (pipeline.name.as_str(), (side.plan, pipeline)))
        .collect()
}

pub(super) fn compare_pipelines(old: Wired<'_>, new: Wired<'_>) -> Option<Change> {
    let (mut rebuilt, mut retuned) = (Vec::new(), Vec::new());
    let signatures = [&old.1.signature, &new.1.signature];
    compare(&mut rebuilt, "signature", signatures, json);
    compare(&mut rebuilt, "flow", [edges(old), edges(new)], |edges| {
        edges.join(", ")
    });
    let deadlines = [old.1.deadline, new.1.deadline];
    compare(&mut retuned, "deadline_ms", deadlines, milliseconds);
    Change::of(rebuilt, retuned)
}

/// Writes every edge with the blocks that its steps use.
fn edges((plan, pipeline): Wired<'_>) -> Vec<String> {
    let uses = pipeline.steps.iter().map(|step| {
        let block = &plan.blocks[step.block].spec.name;
        format!("{} uses {block}", step.name)
    });
    let mut edges: Vec<_> = pipeline
        .edges
        .iter()
        .map(|edge| {
            let [from, to] = [
                plan.producer_name(pipeline, edge),
                plan.consumer_name(pipeline, edge),
            ];
            format!("{from} -> {to} over {}", edge.route.carrier)
        })
        .collect();
    edges.sort_unstable();
    uses.chain(edges).collect()
}

fn shown(value: &impl ToString) -> String {
    value.to_string()
}

/// Shows a setting as JSON has it.
fn json(value: &impl Serialize) -> String {
    match serde_json::to_string(value).expect("a setting has a form in JSON") {
        null if null == "null" => "none".to_owned(),
        text => text,
    }
}

fn milliseconds(time: &Duration) -> String {
    time.as_millis().to_string()
}

fn bound(time: &Option<Duration>) -> String {
    milliseconds(&time.unwrap_or_default())
}

fn seconds(time: &Duration) -> String {
    time.as_secs().to_string()
}
