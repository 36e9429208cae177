//! The types that every engine implements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::graph::Graph;
use crate::types::{Device, EagerReason, Heap, Passes, Rooms, Signature, Tensor};

use super::{EngineError, Held, Lease, to_host};

/// A way to run graphs.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Returns the name that configurations use.
    fn name(&self) -> &'static str;

    /// Tells why this machine lacks the engine, if it does.
    fn available(&self) -> Result<(), EngineError>;

    /// Makes a graph ready. `signature` describes its inputs and outputs in their order; `threads` is the number that
    /// the operators of one session use; `passes` are those that rewrite the graph before.
    fn prepare(
        &self,
        graph: &Graph,
        signature: Signature,
        threads: usize,
        passes: Passes,
    ) -> Result<Arc<dyn Prepared>, EngineError>;
}

/// A block made ready: weights loaded, operators looked up. Shared by all instances.
pub trait Prepared: Send + Sync + fmt::Debug {
    fn signature(&self) -> &Signature;

    /// Returns the bytes of the weights that the block uses, packed copies included, also of those that other blocks
    /// use. A weight that it uses several times is counted once.
    fn weight_bytes(&self) -> usize;

    /// Returns what it holds, as far as engines account for it.
    fn held(&self) -> Held {
        Held::default()
    }

    /// Has what it holds be accounted for on another device, within its limit; where that fails, all stays as it was. To be
    /// called while it has no session.
    fn move_to(&self, _device: Device) -> Result<(), EngineError> {
        Ok(())
    }

    /// Tells it under which lease it has its memory.
    fn settle(&self, _lease: &Arc<Lease>) {}

    /// Returns by which number the ledger of its device knows it.
    fn tenant(&self) -> Option<u64> {
        None
    }

    /// Returns how long it took to be made.
    fn load_time(&self) -> Duration {
        Duration::ZERO
    }

    /// Makes the state of one instance, on the thread that will run it.
    fn session(&self) -> Result<Box<dyn Session>, EngineError>;
}

/// What came of asking a session to capture its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// It runs where there is nothing to capture.
    Senseless,
    /// Runs on such inputs are replayed from now on. That takes so many bytes of the device.
    Done { bytes: u64 },
    /// Runs are launched as before.
    Refused { why: EagerReason, cause: String },
}

/// The state with which one thread runs one block.
pub trait Session: fmt::Debug {
    /// Runs the block once on tensors in the order of the signature's inputs; returns those of its outputs.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        self.run_in(inputs, &Heap)
    }

    /// As [`Session::run`]; outputs lie where the host can read them.
    fn run_to_host(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let outputs = self.run(inputs)?;
        let readable = |output| Ok(to_host(&output)?.unwrap_or(output));
        outputs.into_iter().map(readable).collect()
    }

    /// As [`Session::run`]; outputs are written into rooms where there are any and the engine can do that.
    fn run_in(&mut self, inputs: &[Tensor], rooms: &dyn Rooms) -> Result<Vec<Tensor>, EngineError>;

    /// Tells whether a run on zeros before traffic does any good.
    fn wants_warming(&self) -> bool {
        true
    }

    /// Tells whether its runs are ones that a device may replay by itself.
    fn can_capture(&self) -> bool {
        false
    }

    /// Has runs on inputs of these shapes, on which it has run before, be captured and replayed from now on, where the engine
    /// can do that. Fails where the session is of no use any more, as when its device is lost.
    fn capture(&mut self, _inputs: &[Tensor]) -> Result<Capture, EngineError> {
        Ok(Capture::Senseless)
    }

    /// Gives up what was captured last.
    fn forget_capture(&mut self) {}

    /// Tells whether the last run was a replay; `None`: it captured nothing.
    fn replayed(&self) -> Option<bool> {
        None
    }
}
