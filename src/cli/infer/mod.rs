//! `blockflow infer`: runs a model file or a configured pipeline on files, once or a few times.

mod chain;
mod command;
mod outputs;
mod runner;

pub(super) use command::{InferArguments, execute};
