//! Element types by their ONNX numbers.

use crate::types::DType;

use crate::graph::Defect;

/// Returns the dtype of an ONNX element type; an error names the type and the tensor.
pub(super) fn dtype(element_type: i32, tensor: &str) -> Result<DType, Defect> {
    from_number(element_type).ok_or_else(|| Defect::ElementType {
        tensor: tensor.to_owned(),
        seen: name(element_type),
    })
}

pub(super) fn from_number(element_type: i32) -> Option<DType> {
    DType::ALL
        .into_iter()
        .find(|&dtype| number(dtype) == element_type)
}

/// Returns the number that the ONNX specification gives a dtype.
pub(super) fn number(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bytes => 8,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::BF16 => 16,
        DType::F8E4M3FN => 17,
        DType::F8E4M3FNUZ => 18,
        DType::F8E5M2 => 19,
        DType::F8E5M2FNUZ => 20,
        DType::U4 => 21,
        DType::I4 => 22,
        DType::F4E2M1 => 23,
        DType::F8E8M0 => 24,
        DType::U2 => 25,
        DType::I2 => 26,
    }
}

/// Returns the dtype of an element type by the name that the ONNX specification gives it.
pub(super) fn from_name(name: &str) -> Option<DType> {
    let number = NAMES.iter().position(|known| *known == name)?;
    from_number(i32::try_from(number).ok()?)
}

const NAMES: [&str; 27] = [
    "UNDEFINED",
    "FLOAT",
    "UINT8",
    "INT8",
    "UINT16",
    "INT16",
    "INT32",
    "INT64",
    "STRING",
    "BOOL",
    "FLOAT16",
    "DOUBLE",
    "UINT32",
    "UINT64",
    "COMPLEX64",
    "COMPLEX128",
    "BFLOAT16",
    "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ",
    "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ",
    "UINT4",
    "INT4",
    "FLOAT4E2M1",
    "FLOAT8E8M0",
    "UINT2",
    "INT2",
];

/// Returns the name that the ONNX specification gives an element type.
pub(super) fn name(element_type: i32) -> String {
    let known = usize::try_from(element_type)
        .ok()
        .and_then(|number| NAMES.get(number));
    known.map_or_else(|| element_type.to_string(), |&name| name.to_owned())
}
