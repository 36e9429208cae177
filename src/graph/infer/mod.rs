//! Dtypes and shapes of what each operator computes, with symbolic dimensions.
//!
//! One operator at a time, from what is known of its inputs: nothing here sees the whole graph. What cannot be known
//! before a model runs stays open ([`Dim::Any`](crate::types::Dim::Any), no shape, no dtype); what contradicts an
//! operator's rules is a [`Fault`](super::Fault). Nothing here panics, whatever the parameters.

mod arithmetic;
mod contents;
mod dims;
mod dispatch;
mod elementwise;
mod fact;
mod join;
mod layout;
mod linear;
mod operands;
mod reduce;
mod spatial;
mod target;

pub(super) use dims::axis;
pub(super) use dispatch::infer;
pub(super) use fact::{CONTENTS_MAX, Fact, Size};
