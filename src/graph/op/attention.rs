//! Attention, and what prepares its inputs.

use crate::types::DType;

/// Scaled dot-product attention.
///
/// Inputs: Q, K, V, attn_mask?, past_key?, past_value?, nonpad_kv_seqlen?. Outputs: Y, present_key, present_value,
/// qk_matmul_output. Q, K and V are `[batch, heads, sequence, size]`, or `[batch, sequence, heads · size]` where
/// `heads` is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    pub heads: Option<Heads>,
    pub causal: bool,
    /// Otherwise one by the square root of the size of a head.
    pub scale: Option<f32>,
    /// Bounds scores softly to less than this, before the mask.
    pub softcap: Option<f32>,
    /// What the last output shows.
    pub scores: Scores,
    /// In which dtype the softmax is computed, if not in that of Q.
    pub softmax_dtype: Option<DType>,
}

/// Numbers of heads. Each of `key_value` serves as many query heads as there are to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    pub query: usize,
    pub key_value: usize,
}

/// A stage in the computation of attention scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    Scaled,
    Capped,
    Masked,
    Softmax,
}

/// Rotary position embedding.
///
/// Inputs: X, cos_cache, sin_cache, position_ids?. X is `[batch, heads, sequence, size]`, or `[batch, sequence,
/// heads · size]` where `heads` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotaryEmbedding {
    pub heads: Option<usize>,
    /// How many of a head's elements are rotated, from the first; otherwise all.
    pub size: Option<usize>,
    /// Whether elements 2i and 2i + 1 are one pair, in place of i and i + size / 2.
    pub interleaved: bool,
}
