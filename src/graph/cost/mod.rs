//! What running a graph takes: floating-point operations, parameters, bytes of weights and activations.
//!
//! Conventions. A multiply-add is two operations. A convolution, a product of matrices and a pooling count every window
//! in full, padding included. A comparison, an exponential or any other function of one element is one operation.
//! Moving, viewing or converting elements is none. Where an operator is normally computed in several passes, the passes
//! count: 5 operations an element for Softmax, 7 for a normalisation that computes its statistics, 2 for one that has
//! them. Reading between elements is a multiply-add for each that is read. A body counts as often as it runs, and of
//! branches the one that takes more. Symbolic sizes are given; one that is not is 1. What depends on data alone, as how
//! many boxes overlap, is not guessed but told to be missing.

mod attention;
mod bodies;
mod costs;
mod extent;
mod flops;
mod recurrent;
mod sampling;
mod shapes;
mod signal;
mod sizes;

pub use costs::{Cost, Costs};
pub use extent::Extent;
