//! Pure decisions about a configuration: which blocks, wired how, placed where, over which routes.
//!
//! No I/O, threads, sockets or logging: specifications and signatures go in, a [`Plan`] or every [`Problem`] comes
//! out. Invariants of a plan: every index points into its list; a pipeline is acyclic and its steps stand in
//! topological order; every input of every step and every output of the pipeline has exactly one producer; dtypes and
//! shapes agree along every edge; what an edge asks for on its way between hosts fits its tensor.
//!
//! [`Problem`]: crate::types::Problem

mod address;
mod agree;
mod chain;
mod compare;
mod compile;
mod device;
mod diff;
mod digest;
mod draft;
mod fit;
mod graph;
mod limits;
mod model;
mod names;
mod order;
mod place;
mod proof;
mod reach;
mod route;
mod site;
mod spread;
mod wire;
mod wiring;

pub use compile::{compile, compile_sound};
pub use diff::{Change, Diff, Side, Value};
pub use digest::digest;
pub use fit::{Fit, Misfit, Need, Strategy, fit, overall};
pub use model::{Edge, EdgeFrom, EdgeTo, Placement, Plan, PlannedBlock, PlannedPipeline, Step};
pub use route::{Carrier, Copies, Route, Travels};
pub use site::Site;
pub use spread::{Candidate, Flow, Seating, spread};
pub use wiring::{Delivery, Receiver, Wiring};
