//! Convolutions and products whose weights are constant, over weights that are packed for the machine at preparation.
//!
//! Which library runs a shape depends on nothing but the shape, its parameters, the number of threads and the machine: the
//! first of a fixed order that works. So blocks that compute the same do it alike, in whatever process, and a model gives
//! the same to the last bit wherever it is cut. Machines of different kinds may differ in the last bits.
//!
//! Packed copies lie in the device's store under the digest of the weight and all that decides how it is packed: the
//! library, the geometry and the number of threads. A weight that is only read packed is held in no other form.
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
