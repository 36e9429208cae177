//! Tensors of libtorch on CUDA devices, and the streams in which they are computed.
//!
//! A session has a stream of its own, which is the thread's current one during a run ([`InStream`]): its kernels are in that
//! order and in no other, and memory it takes is its stream's. A tensor that leaves ([`leave`]) takes along the event after
//! which it is computed ([`CudaMemory`](memory::CudaMemory)). Whoever takes it in ([`take_in`]) has its own stream wait for that event, and tells
//! the allocator that the memory is used there: the allocator knows the stream that the memory was taken for and would
//! otherwise give it to that stream's next tensor as soon as the last handle is dropped, while the reader's kernels still run.
//!
//! Between the host and a device ([`upload`](copies::upload), [`download`]) bytes go through pinned memory in a stream of their own, so that
//! a copy and the kernels of another run overlap.
//!
//! Invariants:
//! - What was taken in is never a sole owner ([`is_sole_owner`](super::is_sole_owner)) while a run lasts, since the memory
//!   holds a handle and so does the run: another stream may still read what this one sees the last handle of.
//! - Nothing here waits for a device but [`download`], which waits for one event.

mod allocator;
mod call;
mod copies;
mod current;
mod error;
mod graphs;
mod memory;
mod numbers;
mod place;
mod pool;

pub(crate) use allocator::give_back_device_memory;
pub use allocator::{AllocatorMemory, allocator_memory};
pub(crate) use copies::{download, download_into};
pub(crate) use current::InStream;
pub(crate) use error::TransferError;
pub(crate) use graphs::{Graph, while_none_is_captured};
pub use graphs::{NoGraphs, carries_graphs, graphs_available};
pub(crate) use memory::{leave, take_in};
pub(crate) use numbers::{Geometry, Numbers, WithNumbers, convolution};
pub(crate) use place::{beside, is_on_host, noting, with_noted};
pub use pool::{device_pool, pool_opener};
