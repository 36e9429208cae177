//! Composition root: reads models, boots a plan, serves it, watches signals, shuts down in order.

mod begin;
mod captures;
mod control;
pub mod doctor;
mod epoch;
mod golden;
mod history;
mod hold;
mod inheritance;
mod keys;
mod load;
mod memory;
mod overrides;
mod prepared;
mod reload;
mod runtime;
mod serve;
mod shutdown;
mod sockets;
mod spread;
mod steps;
mod trial;
mod watch;
mod worker;

pub use crate::actors::{StopReport, WorkerCommand};
pub use begin::{Beginning, begin};
pub use control::{Answer, Changed, Control, ControlError, Planned, Status, Weights, plan_against};
pub use history::{
    HistoryError, Journal, Record, Recorded, RecordedFile, RecordedModel, Trigger, state_directory,
};
pub use inheritance::Inheritance;
pub use keys::{KeyError, key_file, make_key, read_key};
pub use load::Loaded;
pub use overrides::{Overrides, Swap};
pub use reload::{Read, Source};
pub use runtime::{Part, Runtime, StartError};
pub use serve::{Announcement, ServeFailure, Served, serve};
pub use steps::Step;
pub use worker::{Orders, WorkFailure, work};
