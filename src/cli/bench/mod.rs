//! `blockflow bench`: how long requests take and how many there are in a second, in this process or over HTTP.
//!
//! A latency counts from the moment its request was meant to be sent. In an open loop that moment comes from the clock
//! and not from earlier replies, so a stall shows in every request that it delayed.

mod arrivals;
mod command;
mod driver;
mod http;
mod report;
mod synthetic;
mod target;

pub use arrivals::Arrivals;
pub(super) use command::{BenchArguments, execute};
