//! The command line: words in, words out.
//!
//! One file or folder per subcommand. Results go to stdout, errors and logs to stderr, and every way to end has one
//! exit code ([`Exit`]). Nothing here decides about requests, blocks or wiring; it asks the rooms below.

mod args;
mod bench;
mod check;
mod compose;
mod dims;
mod doctor;
mod dot;
mod duration;
mod entry;
mod error;
mod exit;
mod explain;
mod histogram;
mod image;
mod infer;
mod inspect;
mod keys;
mod operate;
mod output;
mod progress;
mod quantity;
mod request;
mod restart;
mod run;
mod shared;
mod solo;
mod split;
mod tensors;
mod worker;

pub use bench::Arrivals;
pub use duration::parse_duration;
pub use entry::main;
pub use error::CliError;
pub use exit::Exit;
pub use explain::{PlanFormat, render_plan};
pub use histogram::Histogram;
