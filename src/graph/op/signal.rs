//! Parameters of the operators of signal processing.

use crate::types::DType;

/// Transforms, and what is made for them.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// Inputs: data, length?, axis? (the last but one). The last dimension holds the real and the imaginary part, or
    /// the real one alone.
    Fourier { inverse: bool, one_sided: bool },
    /// Inputs: signal, step, window?, length?. The outcome has the dimensions batch, frame, frequency, part.
    ShortTimeFourier { one_sided: bool },
    /// Input: size. `a₀ − a₁ cos x + a₂ cos 2x`, where `x` runs through one period.
    Window {
        coefficients: [f64; 3],
        periodic: bool,
        dtype: DType,
    },
    /// Inputs: number of mel bins, length of the transform, sample rate, lower edge, upper edge.
    MelWeights { dtype: DType },
}

impl Signal {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Fourier { .. } => "DFT",
            Self::ShortTimeFourier { .. } => "STFT",
            Self::Window { .. } => "Window",
            Self::MelWeights { .. } => "MelWeightMatrix",
        }
    }
}
