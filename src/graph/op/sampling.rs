//! Parameters of operators that read images between their elements.

/// How the coordinate in the data follows from that in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    HalfPixel,
    /// As half-pixel, but centred where the output's size had to be rounded.
    HalfPixelSymmetric,
    /// As half-pixel, but the first element where the output has one only.
    PytorchHalfPixel,
    /// As half-pixel, without the way back from centre to corner.
    TensorflowHalfPixel,
    AlignCorners,
    Asymmetric,
    /// Over a region of the data, and possibly beyond it.
    CropAndResize,
}

/// Which element a coordinate between two elements means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    HalfDown,
    HalfUp,
    Floor,
    Ceil,
    /// As opset 10 does: down where the image grows, up where it shrinks.
    ByScale,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    Nearest(Rounding),
    Linear,
    Cubic { coefficient: f32 },
}

/// What becomes of the given sizes where they would distort the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    Stretch,
    NotLarger,
    NotSmaller,
}

impl Aspect {
    /// Returns new sizes of axes, of which each is given with its old size and the size wanted.
    ///
    /// The factor is one for all axes unless they may be stretched; products are rounded to the nearest, halves up.
    pub fn fitted(self, axes: &[(usize, usize)]) -> Vec<usize> {
        let factor = self.factor(axes);
        let fit = |&(size, wanted): &(usize, usize)| match factor {
            None => wanted,
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "sizes are far below 2^53, and factors are positive"
            )]
            Some(factor) => (size as f64 * factor + 0.5) as usize,
        };
        axes.iter().map(fit).collect()
    }

    /// Returns the factor that all axes have in common, if they have.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    pub fn factor(self, axes: &[(usize, usize)]) -> Option<f64> {
        let factors = axes
            .iter()
            .map(|&(size, wanted)| wanted as f64 / size.max(1) as f64);
        match self {
            Self::Stretch => None,
            Self::NotLarger => factors.reduce(f64::min),
            Self::NotSmaller => factors.reduce(f64::max),
        }
    }
}

/// Parameters of a change of size.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    pub interpolation: Interpolation,
    pub coordinates: Coordinates,
    /// Factor for each axis as far as the model states it; empty: an input gives factors or sizes.
    pub scales: Vec<f32>,
    /// Axes that region, factors and sizes are about, in that order; all where there are none.
    pub axes: Option<Vec<i64>>,
    pub aspect: Aspect,
    /// Whether elements beyond the edge weigh nothing; they repeat the edge otherwise.
    pub exclude_outside: bool,
    /// Whether an image that shrinks is smoothed.
    pub antialias: bool,
    /// What is read outside of the data, where a region reaches there.
    pub extrapolation: f32,
}

/// What is read outside of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    Zeros,
    Border,
    Reflection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridMode {
    Nearest,
    Linear,
    Cubic,
}

/// Parameters of sampling at given places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridSample {
    pub mode: GridMode,
    pub outside: Outside,
    /// Whether −1 and 1 are the centres of the outermost elements, or their outer edges.
    pub align_corners: bool,
}

/// Parameters of the samples of regions of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiAlign {
    /// Height and width of the output.
    pub size: [usize; 2],
    /// Factor from the coordinates of regions to those of the data.
    pub scale: f32,
    /// Samples of an output element along each dimension; 0: as many as the region has elements there.
    pub samples: usize,
    /// Whether the maximum of the samples is taken, or their average.
    pub maximum: bool,
    /// Whether regions are given with centres of elements at halves.
    pub half_pixel: bool,
}

/// Colours of a decoded image, and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    Rgb,
    Bgr,
    Grayscale,
}
