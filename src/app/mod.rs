//! Composition root: reads models, boots a plan, serves it, watches signals, shuts down in order.

mod load;
mod runtime;
mod serve;

pub use crate::actors::StopReport;
pub use load::Loaded;
pub use runtime::{Runtime, StartError};
pub use serve::{Announcement, ServeFailure, serve};
