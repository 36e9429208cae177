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
    Some(match element_type {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        8 => DType::Bytes,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        17 => DType::F8E4M3FN,
        18 => DType::F8E4M3FNUZ,
        19 => DType::F8E5M2,
        20 => DType::F8E5M2FNUZ,
        21 => DType::U4,
        22 => DType::I4,
        23 => DType::F4E2M1,
        24 => DType::F8E8M0,
        25 => DType::U2,
        26 => DType::I2,
        _ => return None,
    })
}

/// Returns the name that the ONNX specification gives an element type.
pub(super) fn name(element_type: i32) -> String {
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
    let known = usize::try_from(element_type)
        .ok()
        .and_then(|number| NAMES.get(number));
    known.map_or_else(|| element_type.to_string(), |&name| name.to_owned())
}
