//! Payloads that leave their host in fewer bytes: narrowed, compressed, or both.
//!
//! The producer encodes when it sends bytes to another host, on its own thread, and the consumer undoes it on receipt, so
//! that a block gets the dtype and shape of its signature. Where compressing does not pay, which payloads show, it is
//! left; narrowing is done always, so that results do not depend on what compresses.

mod codec;
mod encoder;
mod trial;

pub use codec::{EncodingError, PayloadEncoder, RATIO_MAX, decode_payload};
pub use encoder::COMPRESS_BYTES_MIN;
pub(super) use encoder::Encoder;
pub use trial::{MISSES_MAX, PAUSE_MAX, PAUSE_MIN};
