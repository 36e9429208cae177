//! What the blocks of a plan are prepared into, and what that depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{Held, Prepared, Seat, prepare_for};
use crate::graph::Digest;
use crate::plan::{Plan, PlannedBlock, Site};
use crate::types::{BlockSpec, Device, SourceSpec};

use super::memory::Tenants;
use super::{Loaded, StartError};

/// What blocks were prepared into, by what that depends on.
pub(super) type Known = BTreeMap<Digest, Arc<dyn Prepared>>;

/// By block of the plan; those of another process are not there.
pub(super) type PreparedBlocks = Vec<Option<Arc<dyn Prepared>>>;

/// Prepares the blocks that live in a process, if they are not known yet.
pub(super) fn prepare_all(
    loaded: &Loaded,
    site: &Site,
    known: Option<&Known>,
) -> Result<PreparedBlocks, StartError> {
    let blocks = loaded.plan.blocks.iter().enumerate();
    let prepared = blocks.map(|(index, block)| {
        if !site.has(&block.placement) {
            return Ok(None);
        }
        let spec = &block.spec;
        let identity = || identity(spec, loaded.content(index));
        if let Some(prepared) = known.and_then(|known| known.get(&identity())) {
            return Ok(Some(prepared.clone()));
        }
        let prepared = prepare_for(loaded.source(index), spec.threads, seat(spec));
        prepared
            .map(Some)
            .map_err(|cause| StartError::of(spec, cause))
    });
    prepared.collect()
}

/// Returns where a block is to run.
pub(super) fn seat(spec: &BlockSpec) -> Seat<'_> {
    Seat {
        block: &spec.name,
        device: spec.device,
        rows_max: spec.batch.rows_max,
        cuda: spec.cuda,
    }
}

/// Returns what was prepared, by what that depends on.
pub(super) fn known_now(
    plan: &Plan,
    contents: &[Digest],
    prepared: &[Option<Arc<dyn Prepared>>],
) -> Known {
    let blocks = plan.blocks.iter().zip(contents).zip(prepared);
    blocks
        .filter_map(|((block, content), prepared)| {
            Some((identity(&block.spec, *content), prepared.clone()?))
        })
        .collect()
}

/// Returns the digest of all that what a block is prepared into depends on.
pub(super) fn identity(spec: &BlockSpec, content: Digest) -> Digest {
    let how = match &spec.source {
        SourceSpec::Graph { engine, passes, .. } => Some((engine, passes)),
        SourceSpec::TorchScript { .. } | SourceSpec::DecodeImage(_) | SourceSpec::Mock(_) => None,
    };
    // Only a simulated device counts what runs of so many rows take.
    let rows_max = matches!(spec.device, Device::Sim(_)).then_some(spec.batch.rows_max);
    // Its memory, faults and counts bear its name.
    let cuda = matches!(spec.device, Device::Cuda(_)).then_some(spec.cuda);
    let seat = (&spec.name, spec.device, rows_max, cuda);
    let parts = (content.bytes(), how, spec.threads, seat);
    let text = serde_json::to_vec(&parts).expect("its parts have a form in JSON");
    Digest::of("prepared", &text)
}

/// Returns the devices that blocks of this process are on, and by which numbers the ledgers there know them.
pub(super) fn placed(
    plan: &Plan,
    prepared: &[Option<Arc<dyn Prepared>>],
) -> (Vec<Device>, Tenants) {
    let blocks = plan.blocks.iter().zip(prepared);
    let place = |(block, prepared): (&PlannedBlock, &Option<Arc<dyn Prepared>>)| {
        Some((block.spec.device, prepared.as_ref()?.tenant()))
    };
    let places: Vec<_> = blocks.filter_map(place).collect();
    let devices = places.iter().map(|(device, _)| *device).collect();
    let tenants = places
        .into_iter()
        .filter_map(|(device, tenant)| Some((device, tenant?)));
    (devices, tenants.collect())
}

/// Those of the main process are known exactly.
pub(super) fn estimates(loaded: &Loaded) -> Vec<Held> {
    let blocks = loaded.plan.blocks.iter().enumerate();
    let estimate = |(index, block): (usize, &PlannedBlock)| {
        if block.placement.is_main() {
            Held::default()
        } else {
            loaded.estimate(index)
        }
    };
    blocks.map(estimate).collect()
}
