//! Attention by a recurrent state.

use super::Heads;

/// Attention that keeps a matrix per key-value head in place of all keys and values.
///
/// Inputs: query, key, value, past_state?, decay?, beta?; sequences are `[batch, sequence, heads · size]`, the state is
/// `[batch, heads, key size, value size]`. Outputs: output, present_state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearAttention {
    pub heads: Heads,
    /// Otherwise one by the square root of the size of a key.
    pub scale: Option<f32>,
    /// Whether `exp(decay)` scales the state before a step.
    pub gated: bool,
    /// Whether a step writes `beta` times what the state lacks of the value, in place of the value.
    pub delta: bool,
}
