//! What a family sees of a node while it makes the kernel.

use std::borrow::Cow;
use std::sync::Arc;

use tch::Tensor;

use crate::graph::{Body, Graph, Initializer, Node, ValueOrigin};
use crate::types::{self, DType, Dim};

use super::super::cause::Cause;
use super::super::ffi::scalar::Number;
use super::args::{Integers, integers, number};
use super::datum::Datum;
use super::plan::Plan;
use super::weights::Weights;

/// A node in its graph, at preparation.
#[derive(Clone, Copy)]
pub(super) struct NodeContext<'graph> {
    graph: &'graph Graph,
    node: &'graph Node,
    weights: &'graph Weights,
}

impl<'graph> NodeContext<'graph> {
    pub(super) fn new(graph: &'graph Graph, node: &'graph Node, weights: &'graph Weights) -> Self {
        Self {
            graph,
            node,
            weights,
        }
    }

    pub(super) fn node(&self) -> &'graph Node {
        self.node
    }

    /// Tells whether the kernel is to run on a device other than the CPU, if its inputs are there.
    pub(super) fn is_for_device(&self) -> bool {
        self.weights.are_for_device()
    }

    pub(super) fn has_input(&self, input: usize) -> bool {
        self.node.inputs.get(input).is_some_and(Option::is_some)
    }

    pub(super) fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    pub(super) fn outputs(&self) -> usize {
        self.node.outputs.len()
    }

    /// Returns the dtype of an input, where it is known before the model runs.
    pub(super) fn input_dtype(&self, input: usize) -> Option<DType> {
        let value = (*self.node.inputs.get(input)?)?;
        self.graph.value(value).dtype
    }

    /// Returns the dtype of an output, where it is known before the model runs.
    pub(super) fn output_dtype(&self, output: usize) -> Option<DType> {
        let value = (*self.node.outputs.get(output)?)?;
        self.graph.value(value).dtype
    }

    /// Returns the sizes of an input, where they are known before the model runs.
    pub(super) fn input_sizes(&self, input: usize) -> Option<Vec<Option<usize>>> {
        let value = (*self.node.inputs.get(input)?)?;
        let dims = &self.graph.value(value).shape.as_ref()?.0;
        Some(dims.iter().map(Dim::fixed).collect())
    }

    /// Returns the tensor of an input that the model file carries.
    pub(super) fn constant(&self, input: usize) -> Option<&'graph types::Tensor> {
        Some(&self.initializer(input)?.tensor)
    }

    /// Returns an input that the model file carries, in memory that is there for as long as the block.
    pub(super) fn weight(&self, input: usize) -> Result<Option<Tensor>, Cause> {
        let Some(initializer) = self.initializer(input) else {
            return Ok(None);
        };
        match self.weights.plain(initializer)?.handle() {
            Datum::Tensor(tensor) => Ok(Some(tensor)),
            _ => Err(Cause::new("expected numbers")),
        }
    }

    /// Returns what is made of an input that the model file carries; `None` if it does not. `form` names the way and all
    /// that decides on the result, which is made only where the device has none of it yet.
    pub(super) fn made_of(
        &self,
        input: usize,
        form: String,
        make: impl FnOnce(&Tensor) -> Result<Tensor, Cause>,
    ) -> Result<Option<Tensor>, Cause> {
        let made = |initializer| self.weights.made(initializer, form, make);
        self.initializer(input).map(made).transpose()
    }

    fn initializer(&self, input: usize) -> Option<&'graph Arc<Initializer>> {
        let value = (*self.node.inputs.get(input)?)?;
        match &self.graph.value(value).origin {
            ValueOrigin::Initializer(initializer) => Some(initializer),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        }
    }

    /// Returns a list of integers: read here where it is constant.
    pub(super) fn integers(&self, input: usize) -> Result<Integers, Cause> {
        match self.constant(input) {
            Some(tensor) => Ok(Integers::Constant(integers(
                Datum::import(tensor)?.tensor()?,
            )?)),
            None if self.has_input(input) => Ok(Integers::Input(input)),
            None => Ok(Integers::Absent),
        }
    }

    /// Returns a number that is constant; `None` where the input is absent or computed.
    pub(super) fn number(&self, input: usize) -> Result<Option<Number>, Cause> {
        self.constant(input)
            .map(|tensor| number(Datum::import(tensor)?.tensor()?))
            .transpose()
    }

    /// Makes a graph that the node runs ready.
    pub(super) fn plan(&self, body: &Body) -> Result<Arc<Plan>, Cause> {
        let plan = Plan::of(body, self.weights);
        plan.map(Arc::new)
            .map_err(|error| Cause::new(error.to_string()))
    }

    /// Refuses a node of which an optional output is used that the engine does not compute.
    pub(super) fn only_first_output(&self) -> Result<(), Cause> {
        match self.node.outputs.iter().skip(1).flatten().next() {
            None => Ok(()),
            Some(&value) => {
                let name: Cow<'_, str> = Cow::Borrowed(&self.graph.value(value).name);
                Err(Cause::new(format!(
                    "output {name:?} of this operator is not supported"
                )))
            }
        }
    }
}
