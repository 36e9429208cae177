//! `blockflow inspect`: what a model holds and costs, as text, JSON or Graphviz.

mod command;
mod dot;
mod text;
mod view;

pub(super) use command::{InspectArguments, execute};
