//! Cuts of a graph into parts: at any set of tensors, at points that one tensor crosses, in equal shares.
//!
//! Nothing here changes a graph: a part is a new graph over the same weights.

mod balance;
mod constant;
mod partition;
mod points;

pub(super) use constant::is_computed;
pub use partition::Part;
pub use points::CutPoint;
