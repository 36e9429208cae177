//! Dtypes and shapes of what each operator computes, with symbolic dimensions.
//!
//! One operator at a time, from what is known of its inputs: nothing here sees the whole graph. What cannot be known
//! before a model runs stays open ([`Dim::Any`](crate::types::Dim::Any), no shape, no dtype); what contradicts an
//! operator's rules is a [`Fault`](super::Fault). Nothing here panics, whatever the parameters.

mod arithmetic;
mod aten;
mod attention;
mod container;
mod contents;
mod control;
mod convolution;
mod dims;
mod dispatch;
mod einsum;
mod elementwise;
mod extent;
mod fact;
mod fill;
mod fused;
mod index;
mod join;
mod layout;
mod linear;
mod linear_attention;
mod loss;
mod normalisation;
mod operands;
mod order;
mod pooling;
mod quantised;
mod recurrent;
mod reduce;
mod sampling;
mod signal;
mod target;
mod text;
mod window;

pub(super) use control::{loop_header, slice_of};
pub(super) use dims::axis;
pub(super) use dispatch::infer;
pub(super) use fact::{CONTENTS_MAX, Fact, Size};
pub(super) use join::either_fact;
