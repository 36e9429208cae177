//! Simulated devices: memory, a link and faults, as a configuration declares them.
//!
//! Blocks of any engine compute on the CPU there, with the same results. What makes it a device: memory that is counted and
//! bounded by the [ledger](super::ledger), a link to the host over which bytes really are copied, and no faster than declared,
//! and faults that come in declared calls. So whatever goes wrong with an accelerator can be tried on any machine.
//!
//! Invariant: which calls a fault happens in depends on the declared script and the calls alone, not on time.

mod device;
mod script;

pub(super) use device::SimDevice;
