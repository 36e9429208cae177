//! What can be wrong with the log.

/// Why the log could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("log filter {filter:?} is no filter such as \"info,blockflow::actors=debug\": {cause}")]
    Filter { filter: String, cause: String },
    #[error("a log is set up already")]
    Twice,
}
