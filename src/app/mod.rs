//! Composition root: reads models, boots a plan, serves it, watches signals, shuts down in order.

mod epoch;
mod golden;
mod hold;
mod inheritance;
mod keys;
mod load;
mod memory;
mod reload;
mod runtime;
mod serve;
mod shutdown;
mod sockets;
mod trial;
mod watch;
mod worker;

pub use crate::actors::{StopReport, WorkerCommand};
pub use inheritance::Inheritance;
pub use keys::{KeyError, key_file, make_key, read_key};
pub use load::Loaded;
pub use reload::Source;
pub use runtime::{Part, Runtime, StartError};
pub use serve::{Announcement, ServeFailure, Served, serve};
pub use worker::{Orders, WorkFailure, work};
