//! Whether the blocks of another configuration fit beside those of now, and what is to be done where they do not.
//!
//! Decided for each device from what blocks need there, before anything is loaded. Weights that both configurations have are
//! there once: within the main process whatever is the same is shared, between worker processes nothing is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::graph::Digest;
use crate::types::{Device, DeviceSpec};

use super::Placement;

/// What a block needs of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub block: String,
    /// Of all that it is prepared from: blocks of both configurations with equal ones are one block.
    pub identity: Digest,
    pub device: Device,
    pub process: String,
    /// Bytes of weights by what is in them and the form in which they are held. Under no form stands a guess, for all forms
    /// that are not known yet.
    pub weights: BTreeMap<Digest, BTreeMap<String, u64>>,
    /// Bytes of all its sessions.
    pub workspace: u64,
    /// How long it took to load, where it was.
    pub load: Duration,
}

/// How a configuration takes the place of another on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Both are there for a while; no request waits.
    Overlap,
    /// The new blocks are made on the host; requests wait while the old ones go and the new ones come.
    StageOnHost,
    /// Requests wait while the old blocks go and the new ones are loaded.
    EvictFirst,
}

/// What a device holds on the way, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    pub device: Device,
    pub strategy: Strategy,
    pub limit: Option<u64>,
    pub before: u64,
    /// If both overlapped.
    pub both: u64,
    /// Of blocks that stay, while the others are gone.
    pub between: u64,
    pub after: u64,
    /// How long requests are likely to wait.
    pub pause: Duration,
}

/// A device that has no room for what is to be placed there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Misfit {
    pub device: Device,
    pub needed: u64,
    pub limit: u64,
    /// Blocks there, with what each needs.
    pub blocks: Vec<(String, u64)>,
}

/// Decides for each device that either side has blocks on. `devices` say what holds of them.
pub fn fit(old: &[Need], new: &[Need], devices: &[DeviceSpec]) -> Result<Vec<Fit>, Vec<Misfit>> {
    let used: BTreeSet<Device> = old.iter().chain(new).map(|need| need.device).collect();
    let spec = |device| DeviceSpec::of(devices, device);
    let (mut fits, mut misfits) = (Vec::new(), Vec::new());
    // The host first: others may have their blocks wait there.
    let mut host = Host {
        free: spec(Device::Cpu).memory_bytes,
    };
    for device in [Device::Cpu]
        .into_iter()
        .chain(used.iter().copied().filter(|one| *one != Device::Cpu))
    {
        match Both::on(device, old, new).decide(&spec(device), &mut host) {
            Ok(fit) if used.contains(&device) => fits.push(fit),
            Ok(_) => {}
            Err(misfit) => misfits.push(misfit),
        }
    }
    if misfits.is_empty() {
        Ok(fits)
    } else {
        Err(misfits)
    }
}

/// Returns what is done as a whole: requests wait if they have to on any device.
pub fn overall(fits: &[Fit]) -> Strategy {
    let strategies = fits.iter().map(|fit| fit.strategy);
    strategies.max().unwrap_or(Strategy::Overlap)
}

/// Room on the host for blocks of other devices; `None`: as much as they like.
struct Host {
    free: Option<u64>,
}

impl Host {
    fn take(&mut self, bytes: u64) -> bool {
        match &mut self.free {
            None => true,
            Some(free) => match free.checked_sub(bytes) {
                Some(rest) => {
                    *free = rest;
                    true
                }
                None => false,
            },
        }
    }
}

/// Blocks of both configurations on one device.
struct Both<'a> {
    device: Device,
    old: Vec<&'a Need>,
    new: Vec<&'a Need>,
}

impl<'a> Both<'a> {
    fn on(device: Device, old: &'a [Need], new: &'a [Need]) -> Self {
        let there = |needs: &'a [Need]| needs.iter().filter(|need| need.device == device);
        Self {
            device,
            old: there(old).collect(),
            new: there(new).collect(),
        }
    }

    fn decide(&self, spec: &DeviceSpec, host: &mut Host) -> Result<Fit, Misfit> {
        let (before, after) = (held(&self.old), held(&self.new));
        let both = self.overlapped();
        let kept: Vec<&Need> = self.kept().collect();
        let between = weights(&kept);
        let limit = spec.memory_bytes;
        if let Some(limit) = limit.filter(|limit| after > *limit) {
            let blocks = self.new.iter();
            return Err(Misfit {
                device: self.device,
                needed: after,
                limit,
                blocks: blocks
                    .map(|need| (need.block.clone(), held(&[need])))
                    .collect(),
            });
        }
        let coming = weights(&self.new).saturating_sub(between);
        let going = weights(&self.old).saturating_sub(between);
        let strategy = if limit.is_none_or(|limit| both <= limit) {
            Strategy::Overlap
        } else if self.can_wait_on_host() && host.take(coming.saturating_add(going)) {
            Strategy::StageOnHost
        } else {
            Strategy::EvictFirst
        };
        if self.device == Device::Cpu {
            host.free = match strategy {
                Strategy::Overlap => limit.map(|limit| limit - both),
                Strategy::StageOnHost | Strategy::EvictFirst => Some(0),
            };
        }
        let copies = |bytes: u64| match spec.copy_bytes_per_s {
            #[expect(clippy::cast_precision_loss, reason = "a guess in the first place")]
            Some(rate) if rate > 0 => Duration::from_secs_f64(bytes as f64 / rate as f64),
            _ => Duration::ZERO,
        };
        let pause = match strategy {
            Strategy::Overlap => Duration::ZERO,
            Strategy::StageOnHost => copies(coming.saturating_add(going)),
            Strategy::EvictFirst => copies(coming) + self.load_time(),
        };
        Ok(Fit {
            device: self.device,
            strategy,
            limit,
            before,
            both,
            between,
            after,
            pause,
        })
    }

    /// Returns blocks that stay as they are.
    fn kept(&self) -> impl Iterator<Item = &'a Need> {
        let new = |identity| {
            let mut main = self.new.iter().filter(|need| need.is_in_main());
            main.any(|need| need.identity == identity)
        };
        let main = self.old.iter().copied().filter(|need| need.is_in_main());
        main.filter(move |need| new(need.identity))
    }

    /// Returns what is held while both are there.
    fn overlapped(&self) -> u64 {
        let main = self.old.iter().chain(&self.new).copied();
        let main: Vec<_> = main.filter(|need| need.is_in_main()).collect();
        let apart = |needs: &[&'a Need]| {
            let apart: Vec<_> = needs
                .iter()
                .copied()
                .filter(|need| !need.is_in_main())
                .collect();
            weights(&apart)
        };
        let all = [
            weights(&main),
            apart(&self.old),
            apart(&self.new),
            workspace(&self.old),
            workspace(&self.new),
        ];
        all.into_iter().fold(0, u64::saturating_add)
    }

    /// Only the main process makes blocks before they have room, and only for another device than the host.
    fn can_wait_on_host(&self) -> bool {
        self.device != Device::Cpu && self.new.iter().all(|need| need.is_in_main())
    }

    /// Returns how long the blocks that go took to load.
    fn load_time(&self) -> Duration {
        let kept: BTreeSet<_> = self.kept().map(|need| need.identity).collect();
        let gone = self
            .old
            .iter()
            .filter(|need| !kept.contains(&need.identity));
        gone.map(|need| need.load).sum()
    }
}

impl Need {
    /// Tells whether the block lives in the process that the user starts.
    pub fn is_in_main(&self) -> bool {
        self.process == Placement::MAIN
    }
}

/// Returns the bytes of all weights: of a process, equal ones in the same form once. A guess counts where it is more than all that
/// is known of a content.
fn weights(needs: &[&Need]) -> u64 {
    let mut contents: BTreeMap<(&str, Digest), BTreeMap<&str, u64>> = BTreeMap::new();
    for need in needs {
        for (content, forms) in &need.weights {
            let known = contents.entry((&need.process, *content)).or_default();
            for (form, bytes) in forms {
                let largest = known.entry(form).or_default();
                *largest = (*largest).max(*bytes);
            }
        }
    }
    let each = contents.into_values().map(|mut forms| {
        let guess = forms.remove("").unwrap_or_default();
        forms.into_values().fold(0, u64::saturating_add).max(guess)
    });
    each.fold(0, u64::saturating_add)
}

fn workspace(needs: &[&Need]) -> u64 {
    let each = needs.iter().map(|need| need.workspace);
    each.fold(0, u64::saturating_add)
}

fn held(needs: &[&Need]) -> u64 {
    weights(needs).saturating_add(workspace(needs))
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "overlap",
            Self::StageOnHost => "stage on host",
            Self::EvictFirst => "evict first",
        })
    }
}

/// One line: `sim:0: stage on host, 40000000 bytes before, 80000000 with both, 40000000 after, limit 64000000, pause about 80ms`.
impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            strategy,
            limit,
            before,
            both,
            after,
            pause,
            between: _,
        } = self;
        write!(
            f,
            "{device}: {strategy}, {before} bytes before, {both} with both, {after} after"
        )?;
        if let Some(limit) = limit {
            write!(f, ", limit {limit}")?;
        }
        if *strategy != Strategy::Overlap {
            write!(f, ", pause about {pause:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            needed,
            limit,
            blocks,
        } = self;
        let blocks: Vec<_> = blocks
            .iter()
            .map(|(block, bytes)| format!("{block:?} {bytes}"))
            .collect();
        write!(
            f,
            "device {device} has room for {limit} bytes, and its blocks need {needed} ({}): place fewer there, or raise \
             memory_mb of devices.{:?}",
            blocks.join(", "),
            device.to_string()
        )
    }
}
