//! The weights of one block, as they are loaded: what the device's store has of them, and what it lacks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::store::Holding;
use crate::graph::{Digest, Graph, Initializer, ValueOrigin};
use crate::types::{self, Device};

use super::super::cause::Cause;
use super::super::ffi::SharedTensor;
use super::datum::{Datum, Weight};
use super::storage;

/// What the block holds so far. The graph outlives this, so that addresses tell initialisers apart.
#[derive(Debug)]
pub(super) struct Weights {
    /// That the operators of one session use, for which weights are packed.
    threads: usize,
    for_device: bool,
    digests: RefCell<HashMap<*const Initializer, Digest>>,
    holding: RefCell<Holding>,
}

/// A weight by its content, and its elements on the host in the dtype that a run keeps them in.
#[derive(Debug)]
pub(super) struct Sited {
    pub(super) content: Digest,
    pub(super) tensor: types::Tensor,
}

impl Weights {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            for_device: false,
            digests: RefCell::default(),
            holding: RefCell::new(Holding::new(Device::Cpu)),
        }
    }

    /// Returns those of a block that runs on another device than the CPU.
    pub(super) fn for_device(threads: usize) -> Self {
        Self {
            for_device: true,
            ..Self::new(threads)
        }
    }

    pub(super) fn are_for_device(&self) -> bool {
        self.for_device
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Returns what the block holds, to be kept for as long as it runs.
    pub(super) fn into_holding(self) -> Holding {
        self.holding.into_inner()
    }

    /// Returns the weights of a graph that `is_used` asks for, each with its slot, in the order of the slots.
    pub(super) fn load(
        &self,
        graph: &Graph,
        is_used: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Weight)>, EngineError> {
        let mut weights = Vec::new();
        for (slot, value) in graph.values.iter().enumerate() {
            let ValueOrigin::Initializer(initializer) = &value.origin else {
                continue;
            };
            if is_used(slot) {
                let weight = self.plain(initializer).map_err(|cause| EngineError::Load {
                    path: graph.path.clone(),
                    cause: format!("initializer {:?}: {cause}", value.name),
                })?;
                weights.push((slot, weight));
            }
        }
        Ok(weights)
    }

    /// Returns the weights of a graph that `is_used` asks for, as they are to be had on any device, each with its slot.
    pub(super) fn sited(
        &self,
        graph: &Graph,
        is_used: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Sited)>, EngineError> {
        let mut weights = Vec::new();
        for (slot, value) in graph.values.iter().enumerate() {
            let ValueOrigin::Initializer(initializer) = &value.origin else {
                continue;
            };
            if is_used(slot) {
                let copy = storage::copied(&initializer.tensor);
                let copy = copy.map_err(|cause| EngineError::Load {
                    path: graph.path.clone(),
                    cause: format!("initializer {:?}: {cause}", value.name),
                })?;
                let sited = Sited {
                    content: self.digest(initializer),
                    tensor: copy,
                };
                weights.push((slot, sited));
            }
        }
        Ok(weights)
    }

    /// Returns the elements of a weight in aligned memory, in the dtype that a run keeps them in.
    pub(super) fn plain(&self, initializer: &Arc<Initializer>) -> Result<Weight, Cause> {
        let source = &initializer.tensor;
        let form = storage::kept_as(source.dtype()).name().to_owned();
        let held = self.holding.borrow_mut().get(
            self.digest(initializer),
            form,
            || -> Result<(types::Tensor, usize), Cause> {
                let copy = storage::copied(source)?;
                let bytes = copy.bytes().len();
                Ok((copy, bytes))
            },
        )?;
        Weight::import(&held)
    }

    /// Returns a tensor made of a weight's elements alone, in the way that `form` says; it has memory of its own.
    pub(super) fn made(
        &self,
        initializer: &Arc<Initializer>,
        form: String,
        make: impl FnOnce(&Tensor) -> Result<Tensor, Cause>,
    ) -> Result<Tensor, Cause> {
        let content = self.digest(initializer);
        let held = self.holding.borrow_mut().get(content, form, || {
            let made = make(Datum::import(&initializer.tensor)?.tensor()?)?;
            let bytes = made.numel() * made.f_kind()?.elt_size_in_bytes();
            Ok::<_, Cause>((SharedTensor::new(made), bytes))
        })?;
        Ok(held.handle())
    }

    fn digest(&self, initializer: &Arc<Initializer>) -> Digest {
        let mut digests = self.digests.borrow_mut();
        let digest = digests.entry(Arc::as_ptr(initializer));
        *digest.or_insert_with(|| initializer.digest())
    }
}
