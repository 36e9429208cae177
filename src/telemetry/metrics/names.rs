//! What things are called on the page of metrics.

/// An edge of a pipeline and what carries it; of no value but that it is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EdgeLabels {
    pub pipeline: String,
    /// Producer and consumer, as `explain` names them.
    pub from: String,
    pub to: String,
    pub carrier: String,
    pub travels: String,
    /// What is done to the payload on its way; `plain`: nothing.
    pub encoding: String,
}

/// What of a configuration is shown by name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub blocks: Vec<String>,
    pub pipelines: Vec<String>,
    /// Of workers.
    pub processes: Vec<String>,
}
