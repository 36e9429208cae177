//! `blockflow worker`: some blocks of a running configuration, in a process of their own.

use std::io;

use super::error::CliError;
use super::exit::Exit;
use crate::app::{self, Orders};
use crate::telemetry;

/// Does what the parent process orders on standard input, until that is closed.
pub(super) fn execute() -> Result<Exit, CliError> {
    let orders = Orders::read(io::stdin().lock())?;
    telemetry::init(&orders.spec.log)?;
    app::work(orders, io::stdin(), io::stdout())?;
    Ok(Exit::Success)
}
