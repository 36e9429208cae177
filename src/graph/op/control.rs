//! Operators that run graphs of their own.
//!
//! A body stands alone: what it takes from the graphs around it are further inputs of the node and of the body, after
//! those that the operator itself gives it, in the same order. So whoever cuts a graph or follows the life of a value
//! sees every use of it in the inputs of nodes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::graph::Graph;

/// A graph that an operator runs, shared by all copies of the operator.
#[derive(Clone)]
pub struct Body(Arc<Graph>);

/// By content: what a body is called, and where it was read, changes nothing.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({})", self.0.content_hash())
    }
}

/// An operator that decides while it runs what is computed, or how often.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// Inputs: condition, then those of `then`, then those of `otherwise`. The outputs are those of the body that runs.
    If {
        then: Body,
        otherwise: Body,
    },
    /// Inputs: trip count?, condition?, `states` initial states, then what the body takes from outside.
    ///
    /// The body is given iteration number, condition, states and what is from outside; it puts out the condition, the
    /// states, and elements. Outputs: the last states, then the elements of all iterations, stacked.
    Loop {
        body: Body,
        states: usize,
    },
    Scan(Scan),
    /// Inputs: `mapped` sequences and tensors, of which the first is a sequence, then what the body takes from outside.
    ///
    /// The body runs on one element of each sequence at a time, and on the tensors. Outputs: the sequences of results.
    SequenceMap {
        body: Body,
        mapped: usize,
    },
}

/// Inputs: sequence lengths? (only where `batched`), `states` initial states, as many tensors to scan as `inputs` has,
/// then what the body takes from outside.
///
/// The body is given states, one slice of each scanned tensor, and what is from outside; it puts out the states and
/// elements. Outputs: the last states, then the elements of all steps, stacked as `outputs` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    pub body: Body,
    pub states: usize,
    pub inputs: Vec<Scanned>,
    pub outputs: Vec<Scanned>,
    /// Of opset 8: everything has a batch dimension in front, and the body is run for each row of it.
    pub batched: bool,
}

/// How a tensor is taken apart or put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scanned {
    /// The dimension of the steps. A negative one counts from the end.
    pub axis: i64,
    /// From the last to the first.
    pub reverse: bool,
}

impl Body {
    pub fn new(graph: Graph) -> Self {
        Self(Arc::new(graph))
    }
}

impl Deref for Body {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.0
    }
}

/// Bodies are equal if they are the same one.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Control {
    /// Returns the graphs that the operator runs.
    pub fn bodies(&self) -> Vec<&Body> {
        match self {
            Self::If { then, otherwise } => vec![then, otherwise],
            Self::Loop { body, .. } | Self::SequenceMap { body, .. } => vec![body],
            Self::Scan(scan) => vec![&scan.body],
        }
    }
}
