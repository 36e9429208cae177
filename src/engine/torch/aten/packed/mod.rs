//! Convolutions and products whose weights are constant, over weights that are packed for the machine at preparation.
//!
//! Which library runs a shape is measured once per process, never guessed, and depends on nothing but the shape, its
//! parameters and the number of threads: blocks of one process that compute the same do it alike, so a model gives the
//! same to the last bit wherever it is cut. Two processes may choose differently where two ways are nearly as fast, and
//! then differ in the last bits; machines of different kinds always may.
//!
//! What is fused into a convolution is tried against the same in steps, and not used where a bit differs. The exception is
//! NaN, which a fused activation may turn into one of its bounds.

mod choice;
mod convolution;
mod dense;
mod dispatch;
mod linear;
mod one_dnn;
mod problem;
mod sample;

pub(super) use dispatch::{Packed, kernel};
