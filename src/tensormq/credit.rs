//! Credits: the small frames that flow from consumer to producer.

use super::LinkError;
use super::envelope::{MAGIC, VERSION};

/// Envelopes one producer may have waiting at one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(pub u32);

/// Permission to send that many more tensor envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant(pub u32);

const GRANT_BYTES: usize = 12;
const KIND_GRANT: u8 = 0x81;

impl Grant {
    /// Layout, little-endian: magic `u32`, version `u8`, kind `u8`, zero `u16`, credits `u32`.
    pub fn encode(self) -> [u8; GRANT_BYTES] {
        let mut frame = [0; GRANT_BYTES];
        frame[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        frame[4] = VERSION;
        frame[5] = KIND_GRANT;
        frame[8..12].copy_from_slice(&self.0.to_le_bytes());
        frame
    }

    pub fn decode(frame: &[u8]) -> Result<Self, LinkError> {
        let frame: &[u8; GRANT_BYTES] = frame.try_into().map_err(|_| LinkError::HeaderLength {
            bytes: frame.len(),
            expected: GRANT_BYTES,
        })?;
        let [m0, m1, m2, m3, version, kind, _, _, c0, c1, c2, c3] = *frame;
        let magic = u32::from_le_bytes([m0, m1, m2, m3]);
        if magic != MAGIC {
            return Err(LinkError::Magic { seen: magic });
        }
        if version != VERSION {
            return Err(LinkError::Version {
                seen: version,
                expected: VERSION,
            });
        }
        if kind != KIND_GRANT {
            return Err(LinkError::Field {
                field: "kind",
                seen: kind.into(),
            });
        }
        Ok(Self(u32::from_le_bytes([c0, c1, c2, c3])))
    }
}
