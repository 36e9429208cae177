//! A new epoch that runs and does not serve yet.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::app::Runtime;
use crate::app::epoch::Serving;
use crate::telemetry::metrics::Names;

use super::retired::LastEpoch;

/// An epoch that may take over, or not.
#[derive(Debug)]
pub(super) struct Candidate {
    pub runtime: Runtime,
    /// Where the gateway lives here.
    pub serving: Option<Arc<Serving>>,
    /// The longest that a request in it may take.
    pub drain: Duration,
    /// Blocks and pipelines that are left when it goes.
    pub names: Names,
}

/// The epoch that is prepared and does not serve yet, where a stop finds it.
pub(super) type Tried = Arc<Mutex<Option<Candidate>>>;

impl Candidate {
    /// Takes no more requests, and ends it once those that began in it are over, in the background; then calls `over`.
    pub(super) fn end(self, retiring: &LastEpoch, over: impl FnOnce() + Send + 'static) {
        if let Some(serving) = &self.serving {
            serving.gateway.close();
        }
        retiring.retire(self.runtime, self.serving, self.drain, self.names, over);
    }
}
