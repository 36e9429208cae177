//! Worker processes: this program, started again to run some blocks of a plan apart from the others.
//!
//! A worker reads its assignment, one line, from its standard input, and lives for as long as that stays open: when its
//! parent ends, however it ends, the kernel closes the pipe and the worker goes too. It writes a line of counts to its standard output
//! now and then. What it and its libraries write to standard error is passed on line by line, with the worker's name. Tensors
//! and the states of its blocks travel over links, not here.
//!
//! A [`Worker`] owns the child. Threads of its own write to it, so that one that does not read blocks nobody, pass on what it
//! writes, and tell when it has ended.

mod child;
mod relay;

pub use child::{Assignment, EXIT_DEVICE_LOST, EXIT_STUCK, FAREWELL, WorkerCommand, Workers};
pub(super) use child::{End, Worker};
