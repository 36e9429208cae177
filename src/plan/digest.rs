//! What processes that exchange tensors have to agree on, as one digest.
//!
//! Covered is what gives a message its meaning and its way: hosts, blocks with their places, what determines their
//! signatures, how many requests may be joined or wait, pipelines with what their edges do on the wire, and limits. Left out is what each process settles for
//! itself: the log, HTTP, devices, reloads, keys (which may be replaced on one host after the other), engines, threads, restarts, what blocks have to show before they serve, and the directories that models lie in, which may differ between
//! hosts. What is left unsaid counts as what it stands for.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::graph::Digest;
use crate::types::{
    BatchSpec, BlockSpec, Device, HostSpec, ImageLayout, ImageSpec, LimitsSpec, MockSpec,
    PipelineSpec, Signature, SourceSpec, Spec,
};

use super::Placement;
use super::place::Places;

#[derive(Debug, Serialize)]
struct Agreed<'a> {
    hosts: Vec<(&'a str, IpAddr, u16)>,
    gateway: &'a str,
    in_flight_max: usize,
    blocks: Vec<AgreedBlock<'a>>,
    pipelines: &'a [PipelineSpec],
}

#[derive(Debug, Serialize)]
struct AgreedBlock<'a> {
    name: &'a str,
    source: AgreedSource<'a>,
    host: &'a str,
    process: &'a str,
    device: Device,
    instances: usize,
    rows_max: usize,
    wait: Duration,
    queue_max: usize,
}

#[derive(Debug, Serialize)]
enum AgreedSource<'a> {
    Graph {
        file: Option<Cow<'a, str>>,
        inputs: Option<&'a [String]>,
        outputs: Option<&'a [String]>,
    },
    TorchScript {
        file: Option<Cow<'a, str>>,
        signature: &'a Signature,
    },
    DecodeImage {
        width: usize,
        height: usize,
        channels: usize,
        layout: ImageLayout,
    },
    Mock {
        signature: &'a Signature,
    },
}

/// Returns the digest of what the processes of a configuration agree on. It is the same in every process.
pub fn digest(spec: &Spec) -> Digest {
    // Each specification is taken apart whole, so that a new field has to be given its part here or be left out aloud.
    let Spec {
        server: _,
        limits: LimitsSpec { in_flight_max },
        log: _,
        devices: _,
        reload: _,
        hosts: _,
        blocks,
        pipelines,
    } = spec;
    let places = Places::of(spec);
    let placed = blocks.iter().zip(&places.blocks);
    let agreed = Agreed {
        hosts: places.hosts.iter().map(host).collect(),
        gateway: &places.gateway.host,
        in_flight_max: *in_flight_max,
        blocks: placed
            .map(|(spec, placement)| block(spec, placement))
            .collect(),
        pipelines,
    };
    let text = serde_json::to_vec(&agreed).expect("its parts have a form in JSON");
    Digest::of("configuration", &text)
}

fn host(spec: &HostSpec) -> (&str, IpAddr, u16) {
    let HostSpec {
        name,
        address,
        port,
        keys: _,
    } = spec;
    (name, *address, *port)
}

fn block<'a>(spec: &'a BlockSpec, placement: &'a Placement) -> AgreedBlock<'a> {
    let BlockSpec {
        name,
        source,
        host: _,
        process: _,
        device: _,
        device_choice: _,
        cuda: _,
        threads: _,
        instances,
        batch: BatchSpec { rows_max, wait },
        restart: _,
        proof: _,
        stuck: _,
        queue_max,
    } = spec;
    let Placement {
        host,
        process,
        device,
    } = placement;
    AgreedBlock {
        name,
        source: self::source(source),
        host,
        process,
        device: *device,
        instances: *instances,
        rows_max: *rows_max,
        wait: *wait,
        queue_max: *queue_max,
    }
}

fn source(source: &SourceSpec) -> AgreedSource<'_> {
    match source {
        SourceSpec::Graph {
            path,
            inputs,
            outputs,
            engine: _,
            passes: _,
        } => AgreedSource::Graph {
            file: file(path),
            inputs: inputs.as_deref(),
            outputs: outputs.as_deref(),
        },
        SourceSpec::TorchScript { path, signature } => AgreedSource::TorchScript {
            file: file(path),
            signature,
        },
        SourceSpec::DecodeImage(ImageSpec {
            width,
            height,
            channels,
            layout,
            scale: _,
            mean: _,
            deviation: _,
        }) => AgreedSource::DecodeImage {
            width: *width,
            height: *height,
            channels: *channels,
            layout: *layout,
        },
        SourceSpec::Mock(MockSpec {
            signature,
            latency: _,
            weight_bytes: _,
            failure: _,
        }) => AgreedSource::Mock { signature },
    }
}

fn file(path: &Path) -> Option<Cow<'_, str>> {
    Some(path.file_name()?.to_string_lossy())
}
