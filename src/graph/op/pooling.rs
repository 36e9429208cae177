//! Parameters of operators that reduce windows to one element, and of their inverse.

use super::AutoPad;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PoolKind {
    Average,
    Max,
    /// The p-norm.
    Lp {
        p: f32,
    },
}

/// Parameters of a pooling. Empty vectors stand for the ONNX defaults.
#[derive(Debug, Clone, PartialEq)]
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
    /// Maximum only: whether indices count the elements of an image along its first dimension first.
    pub column_major: bool,
}

/// Parameters of a pooling that is undone. Empty vectors stand for the ONNX defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxUnpool {
    pub kernel: Vec<usize>,
    pub pads: Vec<usize>,
    pub strides: Vec<usize>,
}

/// Parameters of the maximum over regions of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxRoiPool {
    /// Height and width of the output.
    pub size: [usize; 2],
    /// Factor from the coordinates of regions to those of the data.
    pub scale: f32,
}
