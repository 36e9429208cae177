//! How a command ends.

use std::process::ExitCode;

use crate::actors::{EXIT_DEVICE_LOST, EXIT_STUCK};

/// Exit codes of `blockflow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Success = 0,
    /// The operation failed: a request, a benchmark with errors, a file that cannot be written.
    Failed = 1,
    /// The command line is wrong, or its inputs do not fit the signature.
    Usage = 2,
    /// The configuration has problems.
    Configuration = 3,
    /// A model cannot be loaded, an address is taken: nothing was served or run.
    CannotStart = 4,
    /// Requests were still unanswered when the drain time was over.
    Stragglers = 5,
    /// Of a worker: one of its devices is lost.
    DeviceLost = EXIT_DEVICE_LOST,
    /// Of a worker: one of its blocks is stuck.
    Stuck = EXIT_STUCK,
}

/// What `blockflow --help` says about exit codes.
pub(super) const HELP: &str = "Exit codes:
  0  success
  1  the operation failed (a request, a benchmark with errors, an unwritable file)
  2  wrong usage, or inputs that do not fit the signature
  3  problems in the configuration
  4  cannot start (model not loadable, address in use, device missing)
  5  stopped with requests still unanswered
  6  a worker whose device is lost, which is started again
  7  a worker with a stuck block, likewise";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
