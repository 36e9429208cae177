//! What [`leaving`](super::leaving) is made of; a test puts other pieces in its place.

pub(super) use std::sync::Arc;
