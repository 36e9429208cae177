//! The engine that is whichever of the others is faster on a block, found by trying.
//!
//! Both run the block in turn on zeros of its declared shapes, symbolic sizes being 1, for a bounded time; the one with
//! the shorter run stays, the other is dropped. The choice is remembered by all that it depends on ([`key::Key`]), in this
//! process and in a file of the user's cache ([`store`]): a block that is rebuilt, or swapped for one with other weights,
//! runs on the same engine, and the next start tries nothing. Results differ between engines in the last digits: cutting a
//! model with `auto` gives its parts to engines of their own choice.
//!
//! Invariants: no state of the file makes preparing fail; what is remembered has a bounded size.

mod choices;
mod engine;
mod key;
mod store;
mod trial;

pub(super) use engine::Auto;
