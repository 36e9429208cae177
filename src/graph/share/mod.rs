//! What several graphs have in common, by content: the prefix that they compute alike from their inputs, and
//! sub-networks with equal weights elsewhere.

mod convex;
mod growth;
mod prefix;
mod report;
mod segments;

pub use report::{Segment, SharedPrefix, SharedSegment, Sharing, share};
