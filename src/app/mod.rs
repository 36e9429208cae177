//! Composition root: boots a plan, watches signals, shuts down in order.

mod runtime;

pub use runtime::{Loaded, Runtime, StartError, StopReport};
