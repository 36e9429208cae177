//! Identity of graphs by content: of their structure, of their weights, and of both.
//!
//! Structure is operators with their parameters, wiring, and the dtypes and shapes of weights. Names have no part in it,
//! nor have the order of the nodes in the file, the shapes of the inputs, and whether two nodes that compute the same
//! are one. Equal digests mean equal computations; the digest is BLAKE3 with 256 bits.

mod digest;
mod fingerprint;
mod hashes;
mod weights;

pub use digest::Digest;
pub(super) use fingerprint::{Fingerprints, operator};
pub use hashes::Hashes;
pub(super) use weights::WeightDigests;
