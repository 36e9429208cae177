//! CUDA devices. So far only whether there are any.

mod presence;

pub use presence::{Presence, presence};
