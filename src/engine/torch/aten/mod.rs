//! The `aten` engine: a graph run operator by operator with libtorch.
//!
//! Preparation looks up a kernel for each node, takes the weights from the device's store, which copies or packs what it
//! lacks, and reads parameters that are constant; a run only calls kernels. The kernel of an operator that runs a graph holds a plan of that graph, made ready with the whole.
//! Invariants: an activation is freed at its last use; a kernel writes only to memory that it made, or that nobody else
//! sees and nobody needs any more.

mod activation;
mod args;
mod attention;
mod averaging;
mod bounds;
mod cast;
mod container;
mod context;
mod control;
mod convolution;
mod coordinates;
mod cubic;
mod cuda_graphs;
mod cuda_prepared;
mod cuda_session;
mod datum;
mod deformable;
mod division;
mod dropout;
mod elements;
mod elementwise;
mod escape;
mod evaluate;
mod fill;
mod fold;
mod frame;
mod fused;
mod grid;
mod image_file;
mod index;
mod labels;
mod layout;
mod linear;
mod linear_attention;
mod loss;
mod mask;
mod mersenne;
mod narrow;
mod ngram;
mod normalisation;
mod numerals;
mod order;
mod packed;
mod pad;
mod plan;
mod pooling;
mod prepared;
mod quantised;
mod quantised_product;
mod random;
mod recurrent;
mod recurrent_step;
mod reduce;
mod regions;
mod registry;
mod resize;
mod rotary;
mod scatter;
mod session;
mod shape;
mod signal;
mod sites;
mod softmax;
mod space_depth;
mod storage;
mod strings;
mod support;
mod suppression;
mod text;
mod transposed;
mod unpool;
mod unsigned;
mod weights;
mod window;

pub use cuda_prepared::AtenCudaPrepared;
pub(super) use cuda_session::Failed;
pub use prepared::AtenPrepared;
pub use sites::on_devices;
pub use support::{misplaced, uncaptured, unsupported};
