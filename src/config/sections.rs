//! The sections that a configuration has once: server, limits, log.

use crate::types::{LimitsSpec, LogFormat, LogSpec, ServerSpec};

use super::place;
use super::reader::{Section, Unit};

const WORKERS_MAX: u64 = 256;
const BODY_BYTES_MIN: u64 = 1024;
const BODY_BYTES_MAX: u64 = 1 << 40;
const DRAIN_MS_MAX: u32 = 3_600_000;
const IN_FLIGHT_MAX: u64 = 1_000_000;

pub(super) fn server(mut section: Section<'_>) -> Option<ServerSpec> {
    let http = section.parsed(
        "http",
        "expected an address and a port such as \"127.0.0.1:8000\"",
    );
    let workers = section.size("workers", 1..=WORKERS_MAX);
    let body_bytes_max = section.size("body_bytes_max", BODY_BYTES_MIN..=BODY_BYTES_MAX);
    let drain = section.duration("drain_ms", Unit::Milliseconds, 0..=DRAIN_MS_MAX);
    // One of a wrong name is reported, and the first stands for it.
    let host = place::host(&mut section).flatten();
    section.finish("[server]");
    Some(ServerSpec {
        http: http?,
        host,
        workers: workers?,
        body_bytes_max: body_bytes_max?,
        drain: drain?,
    })
}

pub(super) fn limits(mut section: Section<'_>) -> Option<LimitsSpec> {
    let in_flight_max = section.size("in_flight_max", 1..=IN_FLIGHT_MAX);
    section.finish("[limits]");
    Some(LimitsSpec {
        in_flight_max: in_flight_max?,
    })
}

pub(super) fn log(mut section: Section<'_>) -> Option<LogSpec> {
    let filter = section.text(
        "filter",
        "expected a filter such as \"info,blockflow::actors=debug\"",
    );
    let format = section.word(
        "format",
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    );
    section.finish("[log]");
    Some(LogSpec {
        filter: filter?,
        format: format?,
    })
}
