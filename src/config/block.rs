//! One block: what it runs, where and on what, how often at once, in what batches, and how it is restarted.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::types::{
    BatchSpec, BlockSpec, CudaGraphs, Device, DeviceChoice, DeviceParseError, RestartSpec,
    StuckSpec,
};

use super::defaults;
use super::reader::{Section, Unit};
use super::{place, proof, source};

const THREADS_MAX: u64 = 256;
const INSTANCES_MAX: u64 = 64;
const QUEUE_MAX: u64 = 65_536;
const ROWS_MAX: u64 = 4096;
const WAIT_MS_MAX: u32 = 10_000;
const BUDGET_MAX: u64 = 1000;
const WINDOW_S_MAX: u32 = 86_400;
const BACKOFF_MS_MAX: u32 = 600_000;
const STUCK_MS_MAX: u32 = 86_400_000;

/// Reads a block, and whether it asks for a process of its own.
pub(super) fn block(
    name: &str,
    section: Section<'_>,
    directory: &Path,
) -> Option<(BlockSpec, bool)> {
    let mut section = section.with_defaults(defaults::table("block"));
    let place = place::place(name, &mut section);
    // Where it is not clear whether it is a worker, what a worker may do is not held against it.
    let isolated = place.as_ref().is_none_or(|place| place.process.is_some());
    let source = source::source(&mut section, directory, isolated);
    let device = device(&mut section);
    let threads = section.size("threads", 1..=THREADS_MAX);
    let instances = section.size("instances", 1..=INSTANCES_MAX);
    let batch = section.section("batch").and_then(batch);
    let restart = section.section("restart").and_then(restart);
    let proof = proof::proof(&mut section, directory);
    let stuck = section.section("stuck").and_then(stuck);
    let queue_max = section.size("queue_max", 1..=QUEUE_MAX);
    if let (Some((device, DeviceChoice::Named)), Some(proof)) = (&device, &proof)
        && proof.cuda_graphs == CudaGraphs::Required
        && !matches!(device, Device::Cuda(_))
    {
        let expected = format!("expected \"auto\" or false on {device}, which has no CUDA graphs");
        section.wrong("cuda_graphs", "is true".to_owned(), expected);
    }
    let noun = source.as_ref().map_or("a block", source::noun);
    section.finish(noun);
    let place = place?;
    let alone = place.alone;
    let (device, device_choice) = device?;
    let spec = BlockSpec {
        name: name.to_owned(),
        source: source?,
        host: place.host,
        process: place.process,
        device,
        device_choice,
        threads: threads?,
        instances: instances?,
        batch: batch?,
        restart: restart?,
        proof: proof?,
        stuck: stuck?,
        queue_max: queue_max?,
    };
    Some((spec, alone))
}

/// Reads the name of a device, or that it is left open.
fn device(section: &mut Section<'_>) -> Option<(Device, DeviceChoice)> {
    let expected = "expected \"cpu\", \"cuda:0\" or \"sim:0\" and so on, or \"auto\"";
    match section.parsed("device", expected)? {
        Wanted::Auto => Some((Device::Cpu, DeviceChoice::Open)),
        Wanted::One(device) => Some((device, DeviceChoice::Named)),
    }
}

/// What is written of a device.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Auto,
    One(Device),
}

impl FromStr for Wanted {
    type Err = DeviceParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::One),
        }
    }
}

fn batch(mut section: Section<'_>) -> Option<BatchSpec> {
    let rows_max = section.size("max", 1..=ROWS_MAX);
    let wait = section.duration("wait_ms", Unit::Milliseconds, 0..=WAIT_MS_MAX);
    section.finish("batch");
    Some(BatchSpec {
        rows_max: rows_max?,
        wait: wait?,
    })
}

fn restart(mut section: Section<'_>) -> Option<RestartSpec> {
    let budget = section.size("budget", 0..=BUDGET_MAX);
    let window = section.duration("window_s", Unit::Seconds, 1..=WINDOW_S_MAX);
    let backoff_min = section.duration("backoff_min_ms", Unit::Milliseconds, 1..=BACKOFF_MS_MAX);
    let backoff_max = section.duration("backoff_max_ms", Unit::Milliseconds, 1..=BACKOFF_MS_MAX);
    if let (Some(least), Some(most)) = (backoff_min, backoff_max)
        && least > most
    {
        section.wrong(
            "backoff_min_ms",
            format!("is {}", least.as_secs_f64() * 1000.0),
            format!(
                "expected at most backoff_max_ms, which is {}",
                most.as_secs_f64() * 1000.0
            ),
        );
    }
    section.finish("restart");
    Some(RestartSpec {
        budget: budget?,
        window: window?,
        backoff_min: backoff_min?,
        backoff_max: backoff_max?,
    })
}

/// Reads how long is too long; 0 milliseconds are no bound.
fn stuck(mut section: Section<'_>) -> Option<StuckSpec> {
    let run = section.duration("run_ms", Unit::Milliseconds, 0..=STUCK_MS_MAX);
    let warm = section.duration("warm_ms", Unit::Milliseconds, 0..=STUCK_MS_MAX);
    section.finish("stuck");
    let bound = |time: Duration| (!time.is_zero()).then_some(time);
    Some(StuckSpec {
        run: bound(run?),
        warm: bound(warm?),
    })
}
