//! The command line: words in, words out.

mod npy;

pub use npy::{NpyError, read_npy, write_npy};
