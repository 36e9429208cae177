//! What blocks need of devices, for the decision whether another configuration fits, and what outlives them there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::{Held, Ledger, workspace_bytes};
use crate::graph::{Digest, Graph, ValueOrigin};
use crate::plan::{Fit, Misfit, Need, Plan, PlannedBlock, fit};
use crate::telemetry::{Event, MemoryLeaked, metrics};
use crate::types::{Device, GraphEngine, Precision, SourceSpec};

use super::load::Loaded;
use super::prepared::{Known, identity};

/// Blocks that have memory, by their numbers in the ledgers of devices.
pub(super) type Tenants = BTreeSet<(Device, u64)>;

/// Returns what every block of a plan needs. What is known is known exactly; `estimate` tells of the others.
pub(super) fn needs(
    plan: &Plan,
    contents: &[Digest],
    known: &Known,
    estimate: impl Fn(usize) -> Held,
) -> Vec<Need> {
    let blocks = plan.blocks.iter().zip(contents).enumerate();
    let need = |(index, (block, content)): (usize, (&PlannedBlock, &Digest))| {
        let spec = &block.spec;
        let identity = identity(spec, *content);
        let main = block.placement.is_main();
        let prepared = known.get(&identity).filter(|_| main);
        let held = prepared.map_or_else(|| estimate(index), |prepared| prepared.held());
        let sessions = spec.instances as u64;
        let session = match spec.device {
            Device::Sim(_) | Device::Cuda(_) => {
                workspace_bytes(&block.signature, spec.batch.rows_max)
            }
            Device::Cpu => 0,
        };
        let mut weights = held.by_content;
        if held.own > 0 {
            weights.insert(identity, guess(held.own));
        }
        Need {
            block: spec.name.clone(),
            identity,
            device: spec.device,
            process: block.placement.process.clone(),
            weights,
            workspace: sessions.saturating_mul(held.by_session.saturating_add(session)),
            load: prepared
                .map(|prepared| prepared.load_time())
                .unwrap_or_default(),
        }
    };
    blocks.map(need).collect()
}

/// Tells how all that is to be loaded fits, each device for itself. Without limits there is nothing to tell.
pub(super) fn check_room(loaded: &Loaded) -> Result<Vec<Fit>, Vec<Misfit>> {
    let devices = &loaded.plan.devices;
    if devices.iter().all(|spec| spec.memory_bytes.is_none()) {
        return Ok(Vec::new());
    }
    let none = Known::new();
    let needs = needs(&loaded.plan, &loaded.contents(), &none, |block| {
        loaded.estimate(block)
    });
    fit(&[], &needs, devices)
}

/// Returns what a block is going to hold, as far as its source tells. Weights are told apart by what is in them only where
/// `by_content`, for which they are read.
pub(super) fn estimate(block: &PlannedBlock, graph: Option<&Graph>, by_content: bool) -> Held {
    let own = |own| Held {
        own,
        ..Held::default()
    };
    match (&block.spec.source, graph) {
        (SourceSpec::Graph { engine, passes, .. }, Some(graph)) => {
            of_graph(graph, *engine, passes.precision(), by_content)
        }
        (SourceSpec::TorchScript { path, .. }, _) => {
            own(path.metadata().map_or(0, |file| file.len()))
        }
        (SourceSpec::Mock(mock), _) => own(mock.weight_bytes),
        (SourceSpec::Graph { .. } | SourceSpec::DecodeImage(_), _) => Held::default(),
    }
}

/// Bytes of a content whose forms are not told apart.
pub(super) fn guess(bytes: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(String::new(), bytes)])
}

fn of_graph(graph: &Graph, engine: GraphEngine, precision: Precision, by_content: bool) -> Held {
    if let Some(dtype) = precision.narrowed() {
        let mut held = Held::default();
        if by_content {
            let weights = graph.weights_in(dtype).into_iter();
            held.by_content = weights.map(|(one, bytes)| (one, guess(bytes))).collect();
        } else {
            held.own = graph.weight_bytes_in(dtype);
        }
        return held;
    }
    let mut met = HashSet::new();
    let initializers = graph.values.iter().filter_map(|value| match &value.origin {
        ValueOrigin::Initializer(initializer) => Some(initializer),
        ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
    });
    let initializers = initializers.filter(|one| met.insert(Arc::as_ptr(one)));
    let mut held = Held::default();
    for initializer in initializers {
        let bytes = initializer.tensor.byte_count() as u64;
        match engine {
            GraphEngine::OnnxRuntime => held.by_session += bytes,
            GraphEngine::Aten | GraphEngine::Auto if by_content => {
                held.by_content.insert(initializer.digest(), guess(bytes));
            }
            GraphEngine::Aten | GraphEngine::Auto => held.own += bytes,
        }
    }
    held
}

/// How long memory may take to go with its block.
const GONE_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether it is gone.
const GONE_POLL: Duration = Duration::from_millis(10);

/// Tells what is held for blocks that are none of those that live, once it has had a moment to go. Blocks the calling thread.
pub(super) fn watch_leaks(live: &Tenants) {
    let limit = Instant::now() + GONE_MAX;
    loop {
        let leaks: Vec<_> = Ledger::all()
            .iter()
            .map(|ledger| (ledger.device(), leaks(ledger, live)))
            .collect();
        let clean = leaks.iter().all(|(_, leaks)| leaks.is_empty());
        if clean || Instant::now() >= limit {
            for (device, leaks) in &leaks {
                tell_leaks(*device, leaks);
            }
            return;
        }
        thread::sleep(GONE_POLL);
    }
}

/// Returns the bytes that are held for blocks that live no more.
fn leaks(ledger: &Ledger, live: &Tenants) -> BTreeMap<String, u64> {
    let mut leaks: BTreeMap<String, u64> = BTreeMap::new();
    for tenant in ledger.tenants() {
        if !live.contains(&(ledger.device(), tenant.id)) {
            *leaks.entry(tenant.block).or_default() += tenant.weights + tenant.workspace;
        }
    }
    leaks
}

/// Tells of leaks that have changed.
fn tell_leaks(device: Device, leaks: &BTreeMap<String, u64>) {
    let metrics = metrics::device(&device.to_string());
    let told = metrics.leaked();
    for (block, &bytes) in leaks {
        if told.get(block) != Some(&bytes) {
            MemoryLeaked {
                device,
                block,
                bytes,
            }
            .emit();
        }
    }
    for block in told.keys().filter(|block| !leaks.contains_key(*block)) {
        metrics.set_leaked(block, 0);
    }
}
