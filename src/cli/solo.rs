//! Specifications of blocks and pipelines that stand in no configuration file.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::types::{
    BatchSpec, BlockSpec, CudaSpec, Device, DeviceChoice, LimitsSpec, LogFormat, LogSpec,
    PipelineSpec, ProofSpec, ReloadSpec, RestartSpec, ServerSpec, SourceSpec, Spec, StuckSpec,
};

/// Bytes of a request body; unused, for such a specification is never served.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Requests admitted at once.
const IN_FLIGHT_MAX: usize = 64;

/// Returns a block that runs one request at a time and is not rebuilt when it fails.
pub(super) fn block(name: &str, source: SourceSpec, device: Device, threads: usize) -> BlockSpec {
    BlockSpec {
        name: name.to_owned(),
        source,
        host: None,
        process: None,
        device,
        device_choice: DeviceChoice::Named,
        cuda: CudaSpec::default(),
        threads,
        instances: 1,
        batch: BatchSpec {
            rows_max: 1,
            wait: Duration::ZERO,
        },
        restart: RestartSpec {
            budget: 0,
            window: Duration::from_secs(1),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(1),
        },
        proof: ProofSpec {
            finite: false,
            ..ProofSpec::default()
        },
        stuck: StuckSpec::default(),
        queue_max: IN_FLIGHT_MAX,
    }
}

/// Returns a configuration of one pipeline that runs in this process.
pub(super) fn spec(blocks: Vec<BlockSpec>, pipeline: PipelineSpec) -> Spec {
    Spec {
        server: ServerSpec {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host: None,
            workers: 1,
            body_bytes_max: BODY_BYTES_MAX,
            drain: Duration::ZERO,
        },
        limits: LimitsSpec {
            in_flight_max: IN_FLIGHT_MAX,
        },
        log: LogSpec {
            filter: String::new(),
            format: LogFormat::Text,
        },
        devices: Vec::new(),
        reload: ReloadSpec::default(),
        hosts: Vec::new(),
        blocks,
        pipelines: vec![pipeline],
    }
}
