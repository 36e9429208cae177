//! Which device a block is on where the configuration leaves it open.
//!
//! In this order: a block that was placed before stays, if there still is room for it. Blocks that exchange tensors stay
//! together, beside what they exchange most with, else where the least is to be done. Where no device has room for all of them
//! they are cut, where few bytes cross. Invariants: the answer depends on the question alone; no device holds more than its
//! limit if the blocks fit when the largest come first, each on the first device with room for it.

use std::cmp::Reverse;

use crate::types::{Device, DeviceSpec};

use super::Need;
use super::fit::held;

/// A block to be placed, or one that is.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its device counts where it is `fixed`.
    pub need: Need,
    /// Why it cannot be on any device but its own; `None`: it is to be placed.
    pub fixed: Option<String>,
    /// Where it is now.
    pub present: Option<Device>,
    /// Operations of one run.
    pub work: u64,
}

/// Bytes that go from a block to another when each runs once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    pub from: usize,
    pub to: usize,
    pub bytes: u64,
}

/// Where a block is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seating {
    pub device: Device,
    pub reason: String,
}

/// Places blocks on devices, of which there is one at least. Answers stand in the order of the blocks.
pub fn spread(blocks: &[Candidate], flows: &[Flow], devices: &[DeviceSpec]) -> Vec<Seating> {
    let fixed = Seats::of_fixed(blocks, flows, devices);
    let mut stayed = fixed.clone();
    stayed.let_stay();
    let attempts: [fn(&mut Seats<'_>) -> bool; 3] = [
        |seats| seats.by_chains(false),
        |seats| seats.by_chains(true),
        |seats| seats.by_size("the first device with room for it, largest blocks first"),
    ];
    for attempt in attempts {
        let mut seats = stayed.clone();
        if attempt(&mut seats) {
            return seats.answer();
        }
    }
    let mut seats = fixed;
    if seats.by_size("placed anew, as there is no room for all blocks otherwise") {
        return seats.answer();
    }
    stayed.squeeze();
    stayed.answer()
}

/// Blocks, as far as they are placed.
#[derive(Debug, Clone)]
struct Seats<'a> {
    blocks: &'a [Candidate],
    flows: &'a [Flow],
    devices: &'a [DeviceSpec],
    taken: Vec<Option<Seating>>,
}

impl<'a> Seats<'a> {
    fn of_fixed(blocks: &'a [Candidate], flows: &'a [Flow], devices: &'a [DeviceSpec]) -> Self {
        let taken = blocks.iter().map(|block| {
            let reason = block.fixed.clone()?;
            let device = block.need.device;
            Some(Seating { device, reason })
        });
        Self {
            blocks,
            flows,
            devices,
            taken: taken.collect(),
        }
    }

    fn answer(self) -> Vec<Seating> {
        let taken = self.taken.into_iter();
        taken
            .map(|seat| seat.expect("every attempt that succeeds has placed all blocks"))
            .collect()
    }

    fn let_stay(&mut self) {
        for (block, candidate) in self.blocks.iter().enumerate() {
            let present = candidate.present.filter(|_| self.is_open(block));
            let spec = self
                .devices
                .iter()
                .find(|spec| Some(spec.device) == present);
            if let Some(spec) = spec.filter(|spec| self.fits(spec, &[block])) {
                self.take(block, spec.device, "stays where it was".to_owned());
            }
        }
    }

    fn is_open(&self, block: usize) -> bool {
        self.taken[block].is_none()
    }

    fn open(&self) -> Vec<usize> {
        let all = 0..self.blocks.len();
        all.filter(|&block| self.is_open(block)).collect()
    }

    fn take(&mut self, block: usize, device: Device, reason: String) {
        self.taken[block] = Some(Seating { device, reason });
    }

    fn is_on(&self, block: usize, device: Device) -> bool {
        let seat = self.taken[block].as_ref();
        seat.is_some_and(|seat| seat.device == device)
    }

    /// Returns the bytes of a device with some blocks more.
    fn bytes(&self, device: Device, more: &[usize]) -> u64 {
        let all = 0..self.blocks.len();
        let there = all.filter(|block| self.is_on(*block, device) || more.contains(block));
        let needs: Vec<&Need> = there.map(|block| &self.blocks[block].need).collect();
        held(&needs)
    }

    fn fits(&self, spec: &DeviceSpec, more: &[usize]) -> bool {
        let limit = spec.memory_bytes;
        limit.is_none_or(|limit| self.bytes(spec.device, more) <= limit)
    }

    fn room(&self, spec: &DeviceSpec) -> u64 {
        let limit = spec.memory_bytes.unwrap_or(u64::MAX);
        limit.saturating_sub(self.bytes(spec.device, &[]))
    }

    /// Returns the operations of all blocks of a device.
    fn work(&self, device: Device) -> u64 {
        let blocks = self.blocks.iter().enumerate();
        let there = blocks.filter(|(block, _)| self.is_on(*block, device));
        there.fold(0, |sum, (_, block)| sum.saturating_add(block.work))
    }

    /// Returns the bytes that blocks exchange with those of a device.
    fn exchanged(&self, group: &[usize], device: Device) -> u64 {
        let joins = |flow: &&Flow| {
            let (from, to) = (flow.from, flow.to);
            group.contains(&from) && self.is_on(to, device)
                || group.contains(&to) && self.is_on(from, device)
        };
        let flows = self.flows.iter().filter(joins);
        flows.fold(0, |sum, flow| sum.saturating_add(flow.bytes))
    }

    /// Returns the device with room for all of a group, that it exchanges most with, else where the least is done.
    fn best(&self, group: &[usize]) -> Option<&'a DeviceSpec> {
        let fitting = self.devices.iter().filter(|spec| self.fits(spec, group));
        // The first of equals.
        fitting.min_by_key(|spec| {
            let device = spec.device;
            (
                Reverse(self.exchanged(group, device)),
                self.work(device),
                self.bytes(device, &[]),
            )
        })
    }

    /// Places groups that exchange tensors, the largest first. `tight`: whatever is cut fills a device before the next.
    /// Returns whether all found room.
    fn by_chains(&mut self, tight: bool) -> bool {
        let mut groups = self.groups();
        groups.sort_by_key(|group| {
            let needs: Vec<&Need> = group
                .iter()
                .map(|&block| &self.blocks[block].need)
                .collect();
            let work = group.iter().map(|&block| self.blocks[block].work);
            let work = work.fold(0, u64::saturating_add);
            (Reverse(held(&needs)), Reverse(work), group.first().copied())
        });
        groups.into_iter().all(|group| match self.best(&group) {
            Some(spec) => {
                let reason = self.why(&group, spec.device);
                for block in group {
                    self.take(block, spec.device, reason.clone());
                }
                true
            }
            None => self.cut(self.in_order(group), tight),
        })
    }

    fn why(&self, group: &[usize], device: Device) -> String {
        let beside = match group.len() {
            1 => String::new(),
            count => format!("together with {} others, ", count - 1),
        };
        if self.devices.len() == 1 {
            return "the only device there is".to_owned();
        }
        match self.exchanged(group, device) {
            0 => format!("{beside}where the least is done"),
            bytes => format!("{beside}beside blocks that it exchanges {bytes} bytes with"),
        }
    }

    /// Places a group that no device has room for, part by part.
    fn cut(&mut self, mut rest: Vec<usize>, tight: bool) -> bool {
        let mut part = 1;
        while !rest.is_empty() {
            // The most of it that some device takes.
            let reach = |spec: &DeviceSpec| {
                let counts = (1..=rest.len()).rev();
                counts
                    .filter(|&count| self.fits(spec, &rest[..count]))
                    .max()
                    .unwrap_or(0)
            };
            let devices = self.devices.iter().map(|spec| (reach(spec), spec));
            let widest = devices.max_by_key(|(count, spec)| {
                let place = self.devices.iter().position(|one| one == *spec);
                (*count, self.room(spec), Reverse(place))
            });
            let Some((most, spec)) = widest.filter(|(count, _)| *count > 0) else {
                return false;
            };
            let count = if tight {
                most
            } else {
                self.narrowest(&rest, most)
            };
            for block in rest.drain(..count) {
                let reason = format!(
                    "part {part} of blocks that belong together and that no device has room for"
                );
                self.take(block, spec.device, reason);
            }
            part += 1;
        }
        true
    }

    /// Returns how many blocks of a row to take so that few bytes cross: at least half as many as possible.
    fn narrowest(&self, row: &[usize], most: usize) -> usize {
        if most == row.len() {
            return most;
        }
        let crossing = |count: usize| {
            let (taken, left) = row.split_at(count);
            let crosses = |flow: &&Flow| {
                taken.contains(&flow.from) && left.contains(&flow.to)
                    || taken.contains(&flow.to) && left.contains(&flow.from)
            };
            let flows = self.flows.iter().filter(crosses);
            flows.fold(0_u64, |sum, flow| sum.saturating_add(flow.bytes))
        };
        let counts = most.div_ceil(2)..=most;
        counts
            .min_by_key(|&count| (crossing(count), Reverse(count)))
            .unwrap_or(most)
    }

    /// Returns open blocks in groups that are joined by flows, each in the order of the blocks.
    fn groups(&self) -> Vec<Vec<usize>> {
        let mut group: Vec<usize> = (0..self.blocks.len()).collect();
        for flow in self.flows {
            if self.is_open(flow.from) && self.is_open(flow.to) {
                let (one, other) = (group[flow.from], group[flow.to]);
                let joined = one.min(other);
                for of_block in &mut group {
                    if *of_block == one || *of_block == other {
                        *of_block = joined;
                    }
                }
            }
        }
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); self.blocks.len()];
        for block in self.open() {
            groups[group[block]].push(block);
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// Returns a group so that producers come before their consumers, as far as there is such an order.
    fn in_order(&self, mut group: Vec<usize>) -> Vec<usize> {
        let mut ordered = Vec::new();
        while !group.is_empty() {
            let waits = |block: usize| {
                let mut flows = self.flows.iter();
                flows.any(|flow| {
                    flow.to == block && flow.from != block && group.contains(&flow.from)
                })
            };
            // Where blocks feed each other in a circle, the first of them.
            let next = group.iter().position(|&block| !waits(block)).unwrap_or(0);
            ordered.push(group.remove(next));
        }
        ordered
    }

    /// Open blocks, the largest first.
    fn largest_first(&self) -> Vec<usize> {
        let mut open = self.open();
        open.sort_by_key(|&block| Reverse(held(&[&self.blocks[block].need])));
        open
    }

    /// Places each block on the first device with room for it. Returns whether all found room.
    fn by_size(&mut self, reason: &str) -> bool {
        self.largest_first().into_iter().all(|block| {
            let mut devices = self.devices.iter();
            let Some(spec) = devices.find(|spec| self.fits(spec, &[block])) else {
                return false;
            };
            self.take(block, spec.device, reason.to_owned());
            true
        })
    }

    /// Places all blocks though there is no room: what becomes of that is for others to say.
    fn squeeze(&mut self) {
        for block in self.largest_first() {
            let mut devices = self.devices.iter();
            let fitting = devices.find(|spec| self.fits(spec, &[block]));
            let widest = || {
                let all = self.devices.iter().enumerate();
                let widest = all.max_by_key(|(place, spec)| (self.room(spec), Reverse(*place)));
                widest.map(|(_, spec)| spec)
            };
            if let Some(spec) = fitting.or_else(widest) {
                let reason = match fitting {
                    Some(_) => "the first device with room for it, largest blocks first",
                    None => "no device has room for it",
                };
                self.take(block, spec.device, reason.to_owned());
            }
        }
    }
}
