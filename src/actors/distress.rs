//! The call of a node that its process has to make room for another one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::types::{FaultKind, RestartSpec};

/// What cannot be mended within a process.
#[derive(Debug, Clone)]
pub struct Call {
    pub kind: FaultKind,
    pub block: String,
    pub cause: String,
    /// How often the block may be restarted, its process with it.
    pub restart: RestartSpec,
}

/// Hears the calls of nodes. Cheap to clone; by default it is nobody.
#[derive(Clone, Default)]
pub struct Distress {
    hear: Option<Arc<dyn Fn(Call) + Send + Sync>>,
    muted: Arc<AtomicBool>,
}

impl Distress {
    /// Has `hear` called with every call, on a thread that must not be kept.
    pub fn new(hear: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self {
            hear: Some(Arc::new(hear)),
            muted: Arc::default(),
        }
    }

    /// Returns one for a single node, which can be muted by itself.
    #[must_use]
    pub fn of_one(&self) -> Self {
        Self {
            hear: self.hear.clone(),
            muted: Arc::default(),
        }
    }

    /// Has calls be heard, or not. A node that is not served yet, or not any more, is no reason to end the process.
    pub fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    pub(super) fn call(&self, call: Call) {
        if let Some(hear) = &self.hear
            && !self.muted.load(Ordering::Relaxed)
        {
            hear(call);
        }
    }
}

impl fmt::Debug for Distress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distress")
            .field("muted", &self.muted)
            .finish_non_exhaustive()
    }
}
