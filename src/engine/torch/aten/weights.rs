//! Weights of a graph and of the bodies inside of it, in aligned memory; once where values share them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::EngineError;
use crate::graph::{Graph, Initializer, ValueOrigin};
use crate::types::Tensor;

use super::super::cause::Cause;
use super::datum::Weight;

/// What has been copied so far. The graph outlives this, so that addresses tell initialisers apart.
#[derive(Debug)]
pub(super) struct Weights {
    /// That the operators of one session use, for which weights are packed.
    threads: usize,
    copies: RefCell<HashMap<*const Initializer, Arc<Weight>>>,
    bytes: RefCell<usize>,
}

impl Weights {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            copies: RefCell::default(),
            bytes: RefCell::default(),
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Counts what kernels hold in a form of their own.
    pub(super) fn count_packed(&self, bytes: usize) {
        *self.bytes.borrow_mut() += bytes;
    }

    /// Returns the bytes of all copies, packed ones included.
    pub(super) fn bytes(&self) -> usize {
        *self.bytes.borrow()
    }

    /// Returns the weights of a graph that `is_used` asks for, each with its slot, in the order of the slots.
    pub(super) fn load(
        &self,
        graph: &Graph,
        is_used: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Arc<Weight>)>, EngineError> {
        let mut weights = Vec::new();
        for (slot, value) in graph.values.iter().enumerate() {
            let ValueOrigin::Initializer(initializer) = &value.origin else {
                continue;
            };
            if is_used(slot) {
                let weight = self.copy(initializer).map_err(|cause| EngineError::Load {
                    path: graph.path.clone(),
                    cause: format!("initializer {:?}: {cause}", value.name),
                })?;
                weights.push((slot, weight));
            }
        }
        Ok(weights)
    }

    /// Copies elements once, also from a file's memory, which is aligned to nothing.
    fn copy(&self, initializer: &Arc<Initializer>) -> Result<Arc<Weight>, Cause> {
        let mut copies = self.copies.borrow_mut();
        if let Some(known) = copies.get(&Arc::as_ptr(initializer)) {
            return Ok(known.clone());
        }
        let source = &initializer.tensor;
        let copy = Tensor::copy_of(source.dtype(), source.shape().to_vec(), source.bytes());
        let copy = copy.map_err(|error| Cause::new(error.to_string()))?;
        let weight = Arc::new(Weight::import(&copy)?);
        *self.bytes.borrow_mut() += source.bytes().len();
        copies.insert(Arc::as_ptr(initializer), weight.clone());
        Ok(weight)
    }
}
