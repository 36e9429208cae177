//! Composition root: boots a plan, watches signals, shuts down in order.

mod runtime;
mod serve;

pub use runtime::{Loaded, Runtime, StartError, StopReport};
pub use serve::{Announcement, ServeFailure, serve};
