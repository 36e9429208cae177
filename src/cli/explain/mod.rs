//! `blockflow explain`: what a configuration means, as text, JSON, Graphviz or Mermaid.

mod command;
mod dot;
mod groups;
mod json;
mod labels;
mod mermaid;
mod text;

pub(super) use command::{ExplainArguments, execute};
pub use command::{PlanFormat, render_plan};
pub(super) use text::{block_line, pipeline_line};
