//! The call of a node that its process has to make room for another one.

use std::fmt;
use std::sync::Arc;

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
pub struct Distress(Option<Arc<dyn Fn(Call) + Send + Sync>>);

impl Distress {
    /// Has `hear` called with every call, on a thread that must not be kept.
    pub fn new(hear: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    pub(super) fn call(&self, call: Call) {
        if let Some(hear) = &self.0 {
            hear(call);
        }
    }
}

impl fmt::Debug for Distress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Distress").field(&self.0.is_some()).finish()
    }
}
