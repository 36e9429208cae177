//! Recurrent layers.

use super::Unary;

/// One layer of a recurrent network.
///
/// Inputs: X, W, R, B?, sequence_lens?, initial_h?, and of an LSTM also initial_c?, P?. The gates lie in W, R, B and P
/// in the order of ONNX: z r h of a GRU, i o f c of an LSTM. Outputs: Y, Y_h, and of an LSTM also Y_c.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrent {
    pub cell: Cell,
    pub direction: Direction,
    /// [`Cell::functions`] of each direction, one direction after the other.
    pub activations: Vec<CellFunction>,
    /// Bounds what goes into the activation of each gate to `-clip..=clip`, as onnxruntime reads the specification.
    pub clip: Option<f32>,
    /// Whether the batch comes before the time, in the states as in the sequences.
    pub batch_first: bool,
    /// What the model says it is; otherwise that of R.
    pub hidden_size: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    Rnn,
    Gru {
        /// Whether the reset gate follows the recurrent weights of the hidden gate, in place of preceding them.
        linear_before_reset: bool,
    },
    Lstm {
        /// Whether the forget gate is one minus the input gate.
        input_forget: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
    /// Forward first, then reverse.
    Both,
}

/// A function that a gate ends in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CellFunction {
    Function(Unary),
    /// `alpha · x + beta`.
    Affine {
        alpha: f32,
        beta: f32,
    },
    /// `alpha · tanh(beta · x)`.
    ScaledTanh {
        alpha: f32,
        beta: f32,
    },
    /// x where it is at least `alpha`, else 0.
    ThresholdedRelu {
        alpha: f32,
    },
}

impl Cell {
    /// Number of gates, each with its rows in W and R.
    pub const fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }

    /// The activations that one direction has unless it is told others: as many as it takes.
    pub const fn functions(self) -> &'static [Unary] {
        match self {
            Self::Rnn => &[Unary::Tanh],
            Self::Gru { .. } => &[Unary::Sigmoid, Unary::Tanh],
            Self::Lstm { .. } => &[Unary::Sigmoid, Unary::Tanh, Unary::Tanh],
        }
    }
}

impl Direction {
    pub const fn count(self) -> usize {
        match self {
            Self::Forward | Self::Reverse => 1,
            Self::Both => 2,
        }
    }
}

impl Recurrent {
    /// Tells whether the activations are those that the cell has by default.
    pub fn has_default_activations(&self) -> bool {
        let defaults = self.cell.functions().iter().cycle();
        let mut pairs = self.activations.iter().zip(defaults);
        pairs.all(|(own, default)| *own == CellFunction::Function(*default))
    }

    /// Tells whether the activations are those that the cell has by default, and nothing is clipped.
    pub fn is_plain(&self) -> bool {
        self.clip.is_none() && self.has_default_activations()
    }
}
