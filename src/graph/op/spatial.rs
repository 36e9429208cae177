//! Parameters of convolutions and of padding.

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

/// Parameters of a transposed convolution. Empty vectors stand for the ONNX defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConvTranspose {
    /// Of the convolution that it is the transpose of.
    pub conv: Conv,
    /// Elements added behind each spatial dimension.
    pub output_padding: Vec<usize>,
    /// Spatial sizes of the output, from which padding follows.
    pub output_shape: Vec<usize>,
}

/// Parameters of a deformable convolution, of two or three spatial dimensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeformConv {
    pub conv: Conv,
    /// Channels are split into this many groups, of offsets and masks of their own.
    pub offset_groups: usize,
}

/// Parameters with which blocks were taken from an image. Empty vectors stand for the ONNX defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Col2Im {
    /// All begins, then all ends.
    pub pads: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    Constant,
    /// As a mirror at the first and the last element shows them, which it does not repeat.
    Reflect,
    Edge,
    /// From the other end.
    Wrap,
}
