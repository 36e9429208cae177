//! Turning the edges of sockets into a stream that an actor handles.

use futures_util::stream::{self, Stream};

use crate::tensormq::Edges;

/// Something may have happened: drain every socket until it has nothing, then wait again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wake;

/// Returns a stream that yields after each edge.
pub(super) fn wakes(edges: Edges) -> impl Stream<Item = Wake> {
    stream::unfold(edges, |edges| async move {
        edges.next().await?;
        Some((Wake, edges))
    })
}
