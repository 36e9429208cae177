//! In which numbers a block computes, and what it asks of a CUDA device.

use serde::{Deserialize, Serialize};

use super::DType;

/// The numbers that FP32 of a model is computed in.
///
/// Inputs and outputs of a block keep the dtypes of its signature whatever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Precision {
    /// As the model says.
    #[default]
    Fp32,
    /// Products and convolutions of a CUDA device read 10 bits of each mantissa; all else, weights too, is FP32.
    Tf32,
    Fp16,
    Bf16,
}

/// What a block asks of a CUDA device; elsewhere it means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CudaSpec {
    /// Whether cuDNN tries its algorithms on each new shape of a convolution and keeps the fastest.
    pub cudnn_autotune: bool,
    pub stream_priority: StreamPriority,
}

/// Which of the streams of a device that have work get free multiprocessors first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum StreamPriority {
    #[default]
    Normal,
    /// Before the normal ones.
    High,
}

impl Precision {
    /// By the names that users write.
    pub const ALL: [(&'static str, Self); 4] = [
        ("fp32", Self::Fp32),
        ("tf32", Self::Tf32),
        ("fp16", Self::Fp16),
        ("bf16", Self::Bf16),
    ];

    /// Returns the name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }

    /// Returns the dtype that weights and activations have in place of FP32, if it is another.
    pub const fn narrowed(self) -> Option<DType> {
        match self {
            Self::Fp32 | Self::Tf32 => None,
            Self::Fp16 => Some(DType::F16),
            Self::Bf16 => Some(DType::BF16),
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl StreamPriority {
    /// By the names that users write.
    pub const ALL: [(&'static str, Self); 2] = [("normal", Self::Normal), ("high", Self::High)];

    /// Returns the name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_lists() {
        for (name, precision) in Precision::ALL {
            assert_eq!(precision.name(), name);
        }
        for (name, priority) in StreamPriority::ALL {
            assert_eq!(priority.name(), name);
        }
    }
}
