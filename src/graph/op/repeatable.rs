//! Which operators give the same whenever they are given the same.

use super::Op;

/// ONNX names of operators that draw numbers, or whose bodies may.
const UNREPEATABLE: [&str; 12] = [
    "ATen",
    "Bernoulli",
    "Dropout",
    "If",
    "Loop",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Scan",
    "SequenceMap",
];

impl Op {
    /// Tells whether the operator computes its outputs from its inputs alone: nothing random.
    pub fn is_repeatable(&self) -> bool {
        !UNREPEATABLE.contains(&self.name())
    }
}
