//! What a machine has of what blocks need: looked at, explained, with what to type where something lacks.
//!
//! Each check is a file of two halves: one that looks, and one that judges what was seen, which is pure. Looking changes
//! nothing: no device is initialised for work, no model is prepared, no file is written. Invariant: something fails an
//! examination only if the given configuration needs it ([`Report::fails`]); without one nothing does.

mod configuration;
mod devices;
mod driver;
mod examine;
mod finding;
mod libtorch;
mod limits;
mod links;
mod messaging;
mod needs;
mod onnxruntime;
mod shared_memory;

pub use configuration::Subject;
pub use examine::examine;
pub use finding::{Finding, Report, Status};
