//! How the payload of an edge is written where it leaves its host: narrowed, compressed, both, or as it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DType, PipelineId, StepId};

/// What is done to a payload before it is sent as bytes to another host, and undone there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Encoding {
    /// Elements are rounded to this type on the way. Of FP32 tensors only.
    pub narrow: Option<Narrow>,
    /// Loses nothing. Not of BYTES tensors.
    pub compress: Option<Compress>,
}

/// A type of half the bits of FP32. Rounds to nearest, ties to even; infinities, NaN and the sign of zero are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Narrow {
    /// IEEE 754 binary16: 11 significant bits. Beyond ±65,504 (from 65,520 on) an element becomes infinite, below 6e-8 zero.
    F16,
    /// The upper half of FP32: its range, with 8 significant bits.
    BF16,
}

/// Who makes bytes fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Compress {
    /// Blocks of LZ4: fast, finds repetitions, such as the zeros behind a ReLU.
    Lz4,
    /// Frames of Zstandard: slower, also packs what repeats often, such as exponents.
    Zstd,
}

/// Encodings of edges, by pipeline, step and port of the consumer, which every edge has for itself. An edge that is not
/// among them is sent as it is.
pub type Encodings = BTreeMap<(PipelineId, StepId, u16), Encoding>;

impl Encoding {
    pub const PLAIN: Self = Self {
        narrow: None,
        compress: None,
    };

    /// All there are, the plain one first.
    pub const ALL: [Self; 9] = [
        Self::PLAIN,
        Self::of(Some(Narrow::F16), None),
        Self::of(Some(Narrow::BF16), None),
        Self::of(None, Some(Compress::Lz4)),
        Self::of(Some(Narrow::F16), Some(Compress::Lz4)),
        Self::of(Some(Narrow::BF16), Some(Compress::Lz4)),
        Self::of(None, Some(Compress::Zstd)),
        Self::of(Some(Narrow::F16), Some(Compress::Zstd)),
        Self::of(Some(Narrow::BF16), Some(Compress::Zstd)),
    ];

    pub const fn of(narrow: Option<Narrow>, compress: Option<Compress>) -> Self {
        Self { narrow, compress }
    }

    pub fn is_plain(self) -> bool {
        self == Self::PLAIN
    }

    /// Returns what of it applies to a tensor of the dtype.
    pub fn for_dtype(self, dtype: DType) -> Self {
        Self {
            narrow: self.narrow.filter(|_| dtype == DType::F32),
            compress: self.compress.filter(|_| dtype.size().is_some()),
        }
    }
}

impl Narrow {
    pub const ALL: [Self; 2] = [Self::F16, Self::BF16];

    pub const fn dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
}

impl Compress {
    pub const ALL: [(&'static str, Self); 2] = [("lz4", Self::Lz4), ("zstd", Self::Zstd)];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Encoding {
    /// Writes `BF16`, `lz4`, `BF16 lz4` or `plain`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let narrow = self.narrow.map(|narrow| narrow.dtype().name());
        let words = [narrow, self.compress.map(Compress::name)];
        let words: Vec<_> = words.into_iter().flatten().collect();
        f.write_str(match words.as_slice() {
            [] => "plain",
            [only] => only,
            _ => return f.write_str(&words.join(" ")),
        })
    }
}
