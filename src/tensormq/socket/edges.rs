//! Waiting for sockets without blocking a thread.

#![expect(
    unsafe_code,
    reason = "tokio asks for an oath that the watched descriptor stays open"
)]

use std::future::poll_fn;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::task::Poll;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::tensormq::LinkError;

/// Edges of the descriptors of one end of a link: something may have happened, so drain the end, then wait again.
#[derive(Debug)]
pub struct Edges(Vec<AsyncFd<OwnedFd>>);

impl Edges {
    /// Waits for the next edge. Readiness is cleared before this returns, so an edge that comes while the owner drains
    /// is not lost. `None` means that the runtime is shutting down.
    pub async fn next(&self) -> Option<()> {
        poll_fn(|context| {
            let mut seen = Poll::Pending;
            for descriptor in &self.0 {
                match descriptor.poll_read_ready(context) {
                    Poll::Ready(Ok(mut ready)) => {
                        ready.clear_ready();
                        seen = Poll::Ready(Some(()));
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending => {}
                }
            }
            seen
        })
        .await
    }

    /// Watches descriptors that stay open for the length of this call.
    pub(in crate::tensormq) fn of(descriptors: &[RawFd]) -> Result<Self, LinkError> {
        let watch = |&descriptor: &RawFd| {
            // SAFETY: the caller's descriptors are open; libzmq keeps one open for as long as its socket is.
            let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
            let owned = borrowed.try_clone_to_owned()?;
            // SAFETY: the descriptor is a duplicate that the `AsyncFd` owns and that nobody else closes.
            let watched = unsafe { AsyncFd::register_with_interest(owned, Interest::READABLE) };
            watched.map_err(Into::into)
        };
        let watched: std::io::Result<_> = descriptors.iter().map(watch).collect();
        watched
            .map(Self)
            .map_err(|error| LinkError::Socket(error.to_string()))
    }

    /// Joins the edges of several sockets.
    pub(in crate::tensormq) fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(parts.into_iter().flat_map(|part| part.0).collect())
    }
}
