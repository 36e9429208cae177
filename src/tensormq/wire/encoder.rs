//! The producer's half: which payloads of a link are encoded, and how.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{DType, Encoding, Encodings, PipelineId, StepId, Tensor};

use super::codec::{self, PayloadEncoder};
use super::trial::{Trial, pays};

/// Payloads of fewer bytes are not compressed: what that saves is less than their headers.
pub const COMPRESS_BYTES_MIN: usize = 512;

/// Encodes what a link sends as bytes, on the thread that sends it.
#[derive(Debug, Default)]
pub(in crate::tensormq) struct Encoder {
    encodings: Arc<Encodings>,
    /// By edge; no more than there are encodings.
    trials: HashMap<Edge, Trial>,
    packer: PayloadEncoder,
}

/// An edge by its consumer: pipeline, step, port.
type Edge = (PipelineId, StepId, u16);

impl Encoder {
    pub(in crate::tensormq) fn new(encodings: Arc<Encodings>) -> Self {
        Self {
            encodings,
            ..Self::default()
        }
    }

    /// Returns what travels in place of a tensor, as a tensor of bytes, and in which encoding; `None`: it travels as it is.
    pub(in crate::tensormq) fn encode(
        &mut self,
        edge: Edge,
        tensor: &Tensor,
    ) -> Option<(Tensor, Encoding)> {
        let asked = self.encodings.get(&edge)?.for_dtype(tensor.dtype());
        if tensor.byte_count() == 0 {
            return None;
        }
        let narrowed = asked.narrow.map(|to| codec::narrow(tensor.bytes(), to));
        let bytes = narrowed.as_ref().map_or(tensor.byte_count(), Vec::len);
        // Settled before the elements are looked at, which may have to be put in their order for that.
        let due = bytes >= COMPRESS_BYTES_MIN
            && asked.compress.is_some()
            && self.trials.entry(edge).or_default().is_due();
        let compress = asked.compress.filter(|_| due);
        let packed = compress.and_then(|how| {
            let plain = narrowed.as_deref().unwrap_or_else(|| tensor.bytes());
            let packed = self.packer.compress(plain, how);
            packed.filter(|packed| pays(plain.len(), packed.len()))
        });
        if due {
            self.trials.entry(edge).or_default().learn(packed.is_some());
        }
        let compress = compress.filter(|_| packed.is_some());
        let bytes = packed.or(narrowed)?;
        let encoding = Encoding::of(asked.narrow, compress);
        let payload = Tensor::new(DType::U8, vec![bytes.len()], Arc::new(bytes)).ok()?;
        Some((payload, encoding))
    }
}
