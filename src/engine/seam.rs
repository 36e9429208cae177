//! The types that every engine implements.

use std::fmt;
use std::sync::Arc;

use crate::graph::Graph;
use crate::types::{Heap, Passes, Rooms, Signature, Tensor};

use super::EngineError;

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

    /// Makes the state of one instance, on the thread that will run it.
    fn session(&self) -> Result<Box<dyn Session>, EngineError>;
}

/// The state with which one thread runs one block.
pub trait Session: fmt::Debug {
    /// Runs the block once on tensors in the order of the signature's inputs; returns those of its outputs.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        self.run_in(inputs, &Heap)
    }

    /// As [`Session::run`]; outputs are written into rooms where there are any and the engine can do that.
    fn run_in(&mut self, inputs: &[Tensor], rooms: &dyn Rooms) -> Result<Vec<Tensor>, EngineError>;

    /// Tells whether a run on zeros before traffic does any good.
    fn wants_warming(&self) -> bool {
        true
    }
}
