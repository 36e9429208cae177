//! What an operator does with a running server: `reload`, `plan`, `history`, `rollback`, `swap`.

mod answer;
mod history;
mod moment;
mod plan;
mod reload;
mod rollback;
mod server;
mod swap;

pub(super) use history::{HistoryArguments, execute as history};
pub(super) use plan::{PlanArguments, execute as plan};
pub(super) use reload::{ReloadArguments, execute as reload};
pub(super) use rollback::{RollbackArguments, execute as rollback};
pub(super) use server::StateArgument;
pub(super) use swap::{SwapArguments, execute as swap};
