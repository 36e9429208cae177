//! `blockflow split`: a model as block files, with a configuration that runs them as one pipeline.

mod blocks;
mod command;
mod dot;
mod text;
mod wiring;

pub(super) use command::{SplitArguments, execute};
