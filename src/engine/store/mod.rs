//! What a device holds for its blocks, each thing once: weights as files carry them, and copies that kernels packed.
//!
//! There is one [`Store`] per device. An entry is found by its content, the BLAKE3 digest of dtype, shape and elements, by
//! the form it is held in, and by its type: a packed copy has a form that names the kernel and all that decides how it
//! packs. So equal weights are there once, whichever blocks, files and values they come from, and a copy packed for one
//! block serves the next that would pack the same.
//!
//! A block collects what it uses in a [`Holding`], and gives that to whoever runs it. The store itself keeps nothing
//! alive: an entry goes with the last holding that has it. Invariant: what a store counts as resident is the union of all
//! holdings.
//!
//! No lock is held while something is made. Of two threads that make the same at once one result stays and the other is
//! dropped, so for a moment there may be two of it.
//!
//! Entries never refer to the file of a model. Its mapping is read while the block is prepared and is then given up: a
//! file that is truncated or overwritten under a mapping would change weights, or end the process, in the middle of
//! serving. Until then the rule of the reader holds, that a model is replaced by renaming a new file over it.

mod entry;
mod held;
mod holding;
mod stores;

pub use held::Held;
pub(super) use holding::Holding;
pub use stores::{Store, Usage};
