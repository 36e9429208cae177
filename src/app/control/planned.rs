//! What a reload would do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::Overrides;
use crate::app::begin::restore;
use crate::app::history::{Journal, Record};
use crate::app::load::Weights as ByDevice;
use crate::app::memory::check_room;
use crate::app::reload::{Source, Standing};
use crate::graph::Digest;
use crate::plan::{Change, Diff, Plan};
use crate::types::Epoch;

/// What a reload would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// What it is compared with.
    pub epoch: u32,
    /// Blocks that stay as they are.
    pub kept: Vec<String>,
    pub blocks: Vec<Changed>,
    pub pipelines: Vec<Changed>,
    /// What holds for all of them together.
    pub settings: Vec<String>,
    pub weights: Vec<Weights>,
    /// How each device with a limit would get from one to the other: both at once, or requests wait for so long.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Why it would be rejected.
    pub refused: Vec<String>,
    /// What an operator has set that would still hold.
    pub overrides: Overrides,
}

/// What would become of a block or a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub name: String,
    /// `added`, `removed`, `rebuilt` or `retuned`.
    pub change: String,
    /// Keys whose values are others.
    pub values: Vec<String>,
}

/// Bytes of weights on a device, as they are in the models: what several blocks use is counted once, copies that an engine packs
/// are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    pub device: String,
    pub before: u64,
    pub after: u64,
    /// While both are there.
    pub peak: u64,
}

impl Planned {
    pub(in crate::app) fn refused(
        epoch: Epoch,
        reasons: Vec<String>,
        overrides: Overrides,
    ) -> Self {
        Self {
            epoch: epoch.0,
            kept: Vec::new(),
            blocks: Vec::new(),
            pipelines: Vec::new(),
            settings: Vec::new(),
            weights: Vec::new(),
            devices: Vec::new(),
            refused: reasons,
            overrides,
        }
    }

    pub(in crate::app) fn of(
        epoch: Epoch,
        diff: &Diff,
        new: &Plan,
        weights: [&ByDevice; 2],
        overrides: Overrides,
    ) -> Self {
        let blocks = new.blocks.iter().map(|block| &block.spec.name);
        let kept = blocks.filter(|name| !diff.blocks.contains_key(*name));
        Self {
            epoch: epoch.0,
            kept: kept.cloned().collect(),
            blocks: changed(&diff.blocks),
            pipelines: changed(&diff.pipelines),
            settings: diff.settings.iter().map(ToString::to_string).collect(),
            weights: compare(weights),
            devices: Vec::new(),
            refused: Vec::new(),
            overrides,
        }
    }

    /// Tells whether a reload would do anything.
    pub fn changes_anything(&self) -> bool {
        !(self.blocks.is_empty() && self.pipelines.is_empty() && self.settings.is_empty())
    }
}

/// Compares what is configured with the epoch that was applied last, where no server runs.
pub fn plan_against(
    source: &impl Source,
    mut journal: Journal,
    last: &Record,
) -> Result<Planned, Vec<String>> {
    let standing = Standing {
        overrides: last.overrides.clone(),
        base: None,
    };
    let old = restore(source, &mut journal, last, &standing.overrides).map_err(|reasons| {
        let told = |cause| format!("epoch {} cannot be compared with: {cause}", last.epoch);
        reasons.into_iter().map(told).collect::<Vec<_>>()
    })?;
    let overrides = standing.overrides.after_start().after_change();
    let epoch = Epoch(last.epoch);
    let new = match source.load(&overrides) {
        Ok(new) => new,
        Err(reasons) => return Ok(Planned::refused(epoch, reasons, overrides)),
    };
    let (old, new) = (old.loaded, new.loaded);
    let contents = [old.contents(), new.contents()];
    let diff = Diff::between(old.side(&contents[0]), new.side(&contents[1]));
    let weights = [&old.weights(), &new.weights()];
    let mut planned = Planned::of(epoch, &diff, &new.plan, weights, overrides);
    // A start can change them.
    let fixed = diff.fixed.iter().map(ToString::to_string);
    planned.settings.extend(fixed);
    match check_room(&new) {
        Ok(fits) => planned.devices = fits.iter().map(ToString::to_string).collect(),
        Err(misfits) => planned
            .refused
            .extend(misfits.iter().map(ToString::to_string)),
    }
    Ok(planned)
}

fn changed(changes: &BTreeMap<String, Change>) -> Vec<Changed> {
    let changed = changes.iter().map(|(name, change)| Changed {
        name: name.clone(),
        change: change.word().to_owned(),
        values: change.values().iter().map(ToString::to_string).collect(),
    });
    changed.collect()
}

fn compare([before, after]: [&ByDevice; 2]) -> Vec<Weights> {
    let mut both = before.clone();
    for (device, weights) in after {
        both.entry(*device).or_default().extend(weights);
    }
    let none = BTreeMap::<Digest, u64>::new();
    let bytes = |weights: &BTreeMap<Digest, u64>| weights.values().sum();
    both.iter()
        .map(|(device, together)| Weights {
            device: device.to_string(),
            before: bytes(before.get(device).unwrap_or(&none)),
            after: bytes(after.get(device).unwrap_or(&none)),
            peak: bytes(together),
        })
        .collect()
}
