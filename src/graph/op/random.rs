//! Random numbers.

use crate::types::DType;

/// Draws numbers. Nodes with equal parameters draw different ones unless they have a seed, so they are not to be merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Random {
    pub distribution: Distribution,
    pub dtype: DType,
    /// With a seed every run draws the same.
    pub seed: Option<f32>,
}

/// What numbers are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Inputs: shape. Numbers in `low..high`.
    Uniform { low: f32, high: f32 },
    /// Inputs: shape.
    Normal { mean: f32, deviation: f32 },
    /// Inputs: for each row, unnormalised logarithms of the probabilities of classes. Draws `samples` classes a row.
    Classes { samples: usize },
}
