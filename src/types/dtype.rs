//! Element types of tensors. Those of the Open Inference Protocol v2 have its names, the others those of ONNX.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Type of one tensor element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
    /// Elements of less than 8 bits take a byte each: an integer extended to 8 bits, a float by its code in the low bits.
    U2,
    I2,
    U4,
    I4,
    /// The narrow floats of the ONNX specification; F8 ones by the names of the OCP and Graphcore papers.
    F4E2M1,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    F8E8M0,
    /// Byte strings of any length: each element is a little-endian `u32` length followed by that many bytes.
    Bytes,
}

/// A name that is no dtype of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown datatype {seen:?}, expected one of {}", DType::ALL.map(DType::name).join(" "))]
pub struct DTypeParseError {
    pub seen: String,
}

impl DType {
    pub const ALL: [Self; 24] = [
        Self::Bool,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F16,
        Self::BF16,
        Self::F32,
        Self::F64,
        Self::U2,
        Self::I2,
        Self::U4,
        Self::I4,
        Self::F4E2M1,
        Self::F8E4M3FN,
        Self::F8E4M3FNUZ,
        Self::F8E5M2,
        Self::F8E5M2FNUZ,
        Self::F8E8M0,
        Self::Bytes,
    ];

    /// Returns the size of one element in bytes, or `None` for [`DType::Bytes`].
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::Bool
            | Self::U8
            | Self::I8
            | Self::U2
            | Self::I2
            | Self::U4
            | Self::I4
            | Self::F4E2M1
            | Self::F8E4M3FN
            | Self::F8E4M3FNUZ
            | Self::F8E5M2
            | Self::F8E5M2FNUZ
            | Self::F8E8M0 => Some(1),
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// Returns the number of bits that tell elements apart, or `None` for [`DType::Bytes`].
    pub const fn bits(self) -> Option<usize> {
        match self {
            Self::U2 | Self::I2 => Some(2),
            Self::U4 | Self::I4 | Self::F4E2M1 => Some(4),
            _ => match self.size() {
                Some(size) => Some(size * 8),
                None => None,
            },
        }
    }

    /// Returns the datatype name: of the Open Inference Protocol v2 (`FP32`, `INT64`, …) where that has one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "UINT8",
            Self::U16 => "UINT16",
            Self::U32 => "UINT32",
            Self::U64 => "UINT64",
            Self::I8 => "INT8",
            Self::I16 => "INT16",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::F16 => "FP16",
            Self::BF16 => "BF16",
            Self::F32 => "FP32",
            Self::F64 => "FP64",
            Self::U2 => "UINT2",
            Self::I2 => "INT2",
            Self::U4 => "UINT4",
            Self::I4 => "INT4",
            Self::F4E2M1 => "FLOAT4E2M1",
            Self::F8E4M3FN => "FLOAT8E4M3FN",
            Self::F8E4M3FNUZ => "FLOAT8E4M3FNUZ",
            Self::F8E5M2 => "FLOAT8E5M2",
            Self::F8E5M2FNUZ => "FLOAT8E5M2FNUZ",
            Self::F8E8M0 => "FLOAT8E8M0",
            Self::Bytes => "BYTES",
        }
    }

    /// Tells whether arithmetic takes the type as it is: a float of at least 16 bits.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// Tells whether it is a float of 4 or 8 bits, which models store and convert, but do not compute with.
    pub const fn is_narrow_float(self) -> bool {
        matches!(
            self,
            Self::F4E2M1
                | Self::F8E4M3FN
                | Self::F8E4M3FNUZ
                | Self::F8E5M2
                | Self::F8E5M2FNUZ
                | Self::F8E8M0
        )
    }

    /// Tells whether elements can be written as JSON numbers, booleans or strings.
    pub const fn has_json_form(self) -> bool {
        !self.is_narrow_float()
            && !matches!(self, Self::BF16 | Self::U2 | Self::I2 | Self::U4 | Self::I4)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = DTypeParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.name() == text)
            .ok_or_else(|| DTypeParseError {
                seen: text.to_owned(),
            })
    }
}
