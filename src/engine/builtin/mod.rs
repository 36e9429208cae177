//! Built-in steps: blocks without a model.

mod decode_image;

pub use decode_image::{DecodeImage, signature};
