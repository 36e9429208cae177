//! `blockflow shared`: what models have in common, as text, JSON or Graphviz.

mod command;
mod dot;
mod text;
mod view;

pub(super) use command::{SharedArguments, execute};
