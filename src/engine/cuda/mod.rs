//! CUDA devices: whether there are any.

mod presence;

pub use presence::{Presence, presence};
