//! The call of a node that its process has to make room for another one.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::types::{FaultKind, RestartSpec, lock};

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
    /// What a muted node called that does not heal by itself.
    unheard: Arc<Mutex<Option<Call>>>,
}

impl Distress {
    /// Has `hear` called with every call, on a thread that must not be kept.
    pub fn new(hear: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self {
            hear: Some(Arc::new(hear)),
            ..Self::default()
        }
    }

    /// Returns one for a single node, which can be muted by itself.
    #[must_use]
    pub fn of_one(&self) -> Self {
        Self {
            hear: self.hear.clone(),
            ..Self::default()
        }
    }

    /// Has calls be heard, or not. A node that is not served yet, or not any more, is no reason to end the process.
    pub fn mute(&self, muted: bool) {
        let mut unheard = lock(&self.unheard);
        self.muted.store(muted, Ordering::Relaxed);
        if !muted && let (Some(hear), Some(call)) = (&self.hear, unheard.take()) {
            hear(call);
        }
    }

    pub(super) fn call(&self, call: Call) {
        let mut unheard = lock(&self.unheard);
        if self.muted.load(Ordering::Relaxed) {
            // What is stuck may still end.
            if call.kind == FaultKind::DeviceLost {
                *unheard = Some(call);
            }
        } else if let Some(hear) = &self.hear {
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
