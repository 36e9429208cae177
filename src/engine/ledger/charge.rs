//! What is held of a ledger, given back when dropped.

use std::sync::Arc;

use super::{Ledger, MemoryKind, OutOfMemory};

/// Bytes of a device.
#[derive(Debug)]
pub(in crate::engine) struct Charge {
    ledger: Arc<Ledger>,
    kind: MemoryKind,
    bytes: u64,
    /// Whose they are alone.
    lease: Option<Arc<Lease>>,
}

/// That a block has memory on a device. What it has of its own keeps it.
#[derive(Debug)]
pub struct Lease {
    ledger: Arc<Ledger>,
    id: u64,
}

impl Charge {
    pub(super) fn new(ledger: Arc<Ledger>, kind: MemoryKind, bytes: u64) -> Self {
        Self {
            ledger,
            kind,
            bytes,
            lease: None,
        }
    }
}

impl Lease {
    pub(super) fn new(ledger: Arc<Ledger>, id: u64) -> Self {
        Self { ledger, id }
    }

    pub(in crate::engine) fn id(&self) -> u64 {
        self.id
    }

    /// Takes workspace within the limit.
    pub(in crate::engine) fn workspace_within(
        self: &Arc<Self>,
        bytes: u64,
    ) -> Result<Charge, OutOfMemory> {
        let charge = self.ledger.charge_within(MemoryKind::Workspace, bytes)?;
        Ok(self.own(charge))
    }

    /// Takes workspace without looking at the limit.
    pub(in crate::engine) fn workspace(self: &Arc<Self>, bytes: u64) -> Charge {
        self.own(self.ledger.charge(MemoryKind::Workspace, bytes))
    }

    /// The block uses no weights any more.
    pub(in crate::engine) fn forget_weights(&self) {
        self.ledger.forget_weights(self.id);
    }

    fn own(self: &Arc<Self>, mut charge: Charge) -> Charge {
        let bytes = charge.bytes;
        self.ledger
            .note(self.id, |workspace| workspace.saturating_add(bytes));
        charge.lease = Some(self.clone());
        charge
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.uncharge(self.kind, self.bytes);
        if let Some(lease) = &self.lease {
            let bytes = self.bytes;
            self.ledger
                .note(lease.id, |workspace| workspace.saturating_sub(bytes));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ledger.end_lease(self.id);
    }
}
