//! Accounts of memory: what blocks hold on each device, of which kind, and within which limit.
//!
//! There is one [`Ledger`] per device. Whoever takes memory there takes a [`Charge`] with it, and gives the memory back by
//! dropping that. What a block has of its own is charged to its [`Lease`], so that memory that outlives the block is
//! found by name. The store charges for weights, which blocks share, each once. A ledger counts what is known: it does not
//! ask a device, and takes nothing itself.
//!
//! Invariants: what a ledger holds is the sum of all charges; a charge that a limit bounds is not made beyond it.

mod accounts;
mod charge;

pub use accounts::{Ledger, Memory, MemoryKind, OutOfMemory, Tenant, set_devices};
pub(super) use charge::Charge;
pub use charge::Lease;
