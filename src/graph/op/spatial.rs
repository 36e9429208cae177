//! Parameters of operators over spatial dimensions.

/// How padding is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoPad {
    #[default]
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// Parameters of a convolution. Empty vectors stand for the ONNX defaults (ones, zeros).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conv {
    pub auto_pad: AutoPad,
    /// All begins, then all ends.
    pub pads: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub groups: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    Average,
    Max,
}

/// Parameters of a pooling. Empty vectors stand for the ONNX defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub kind: PoolKind,
    pub kernel: Vec<usize>,
    pub auto_pad: AutoPad,
    pub pads: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub ceil_mode: bool,
    /// Average only: whether padding counts in the divisor.
    pub count_include_pad: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
}
