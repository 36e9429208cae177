//! Functions of single elements, and the reductions that share their names.

use crate::types::DType;

/// Element-wise functions of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    Relu,
    Sigmoid,
    Tanh,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Sign,
    Erf,
    Not,
    /// Of integers.
    BitwiseNot,
    IsNaN,
    IsInf {
        negative: bool,
        positive: bool,
    },
    Softplus,
    Softsign,
    HardSwish,
    Mish,
    /// `max(0, min(1, alpha · x + beta))`.
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    LeakyRelu {
        alpha: f32,
    },
    Elu {
        alpha: f32,
    },
    Gelu {
        tanh: bool,
    },
    /// `gamma · x` above zero, `gamma · alpha · (exp(x) − 1)` below.
    Selu {
        alpha: f32,
        gamma: f32,
    },
    /// `max(0, x) + min(0, alpha · (exp(x / alpha) − 1))`.
    Celu {
        alpha: f32,
    },
    /// Numbers up to `lambda` from zero become 0, others move `bias` towards it.
    Shrink {
        bias: f32,
        lambda: f32,
    },
    /// 0 up to `alpha`.
    ThresholdedRelu {
        alpha: f32,
    },
    /// `x · sigmoid(alpha · x)`; that of 1 is also called SiLU.
    Swish {
        alpha: f32,
    },
}

/// Element-wise functions of two tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// Integers truncate towards zero.
    Div,
    /// Takes the sign of the divisor; with `truncated`, as in C, that of the dividend.
    Mod {
        truncated: bool,
    },
    /// Has the type of the base, whatever that of the exponent.
    Pow,
    PRelu,
    And,
    Or,
    Xor,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    /// Of unsigned integers; zeros come in.
    ShiftLeft,
    ShiftRight,
}

/// A conversion to a narrow float that is not the default one, which saturates and, for F8E8M0, rounds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Narrowing {
    pub to: DType,
    /// Whether what is too large becomes the largest number, not infinity or NaN.
    pub saturate: bool,
    /// Of F8E8M0, which has powers of two only. The others round to nearest, ties to even.
    pub round: RoundMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundMode {
    Up,
    Down,
    Nearest,
}

/// Reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}
