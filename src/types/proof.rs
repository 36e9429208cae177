//! What a block has to show before it serves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{CudaGraphs, Shape};

/// What every new session of a block is put through before it gets requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProofSpec {
    /// Shapes that it is run on once each: by input, all inputs named.
    pub warm: Vec<BTreeMap<String, Shape>>,
    /// Floating outputs of runs on zeros have to be finite.
    pub finite: bool,
    pub golden: Option<GoldenSpec>,
    /// Whether runs on the declared shapes are captured where they run on a CUDA device.
    #[serde(default)]
    pub cuda_graphs: CudaGraphs,
}

/// Inputs with the outputs that they have to give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenSpec {
    /// One at least.
    pub cases: Vec<GoldenCase>,
    pub tolerance: Tolerance,
}

/// Files of arrays: `.npz` by name, or `.npy` where there is only one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldenCase {
    /// All inputs of the block.
    pub inputs: PathBuf,
    /// Those outputs of the block that are compared, one at least.
    pub outputs: PathBuf,
}

/// By how much floating numbers may differ: by `absolute`, and by `relative` times what was expected on top of that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    pub relative: f32,
    pub absolute: f32,
}

impl Default for ProofSpec {
    fn default() -> Self {
        Self {
            warm: Vec::new(),
            finite: true,
            golden: None,
            cuda_graphs: CudaGraphs::Auto,
        }
    }
}

impl Tolerance {
    /// Returns the largest difference from a finite number that is let through.
    pub fn around(self, expected: f64) -> f64 {
        f64::from(self.absolute) + f64::from(self.relative) * expected.abs()
    }

    /// Tells whether a number is as good as the expected one. NaN is as good as NaN, and an infinity as itself.
    pub fn allows(self, expected: f64, seen: f64) -> bool {
        if expected.is_nan() || seen.is_nan() {
            return expected.is_nan() && seen.is_nan();
        }
        expected == seen
            || (expected.is_finite() && (expected - seen).abs() <= self.around(expected))
    }
}
