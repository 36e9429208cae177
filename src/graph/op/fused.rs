//! Operators that do the work of several, which no model file names: passes make them.
//!
//! What an engine owes for them: a fused activation or addend gives, to the last bit, what the operators that it stands
//! for give one after the other. So a model gives the same wherever it is cut. A bias is part of its product, as it is in
//! ONNX's own `Conv` and `Gemm`, and rounds as the engine likes.

use super::{Conv, Unary};

/// What is applied to each element of a result before it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    Relu,
    /// As `Clip` with both bounds; an infinite one stands for an absent one.
    Clip {
        min: f64,
        max: f64,
    },
    HardSwish,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    Sigmoid,
    Tanh,
    Swish {
        alpha: f32,
    },
    Gelu {
        tanh: bool,
    },
    LeakyRelu {
        alpha: f32,
    },
}

/// A convolution, an addend that broadcasts with its result (a residual connection), and an activation, in that order.
#[derive(Debug, Clone, PartialEq)]
pub struct FusedConv {
    pub conv: Conv,
    pub activation: Option<Activation>,
}

/// Attention: `softmax(scale · q · kᵀ + mask) · v`. A row of which the mask leaves nothing gives zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaledDotProduct {
    pub scale: f64,
    /// Whether row `i` sees only the columns up to `i`.
    pub causal: bool,
}

impl Activation {
    /// Returns the activation that is the function, if there is one.
    pub fn of(function: Unary) -> Option<Self> {
        Some(match function {
            Unary::Relu => Self::Relu,
            Unary::HardSwish => Self::HardSwish,
            Unary::HardSigmoid { alpha, beta } => Self::HardSigmoid { alpha, beta },
            Unary::Sigmoid => Self::Sigmoid,
            Unary::Tanh => Self::Tanh,
            Unary::Swish { alpha } => Self::Swish { alpha },
            Unary::Gelu { tanh } => Self::Gelu { tanh },
            Unary::LeakyRelu { alpha } => Self::LeakyRelu { alpha },
            _ => return None,
        })
    }

    /// Returns the function that the activation is; `None` for `Clip`, which is an operator of its own.
    pub fn function(self) -> Option<Unary> {
        Some(match self {
            Self::Relu => Unary::Relu,
            Self::Clip { .. } => return None,
            Self::HardSwish => Unary::HardSwish,
            Self::HardSigmoid { alpha, beta } => Unary::HardSigmoid { alpha, beta },
            Self::Sigmoid => Unary::Sigmoid,
            Self::Tanh => Unary::Tanh,
            Self::Swish { alpha } => Unary::Swish { alpha },
            Self::Gelu { tanh } => Unary::Gelu { tanh },
            Self::LeakyRelu { alpha } => Unary::LeakyRelu { alpha },
        })
    }
}
