//! Element types of this program and those of libtorch.

use tch::Kind;

use crate::types::DType;

use super::cause::Cause;

/// Every dtype that libtorch has, its `tch` name, and its number in `c10::ScalarType`.
const PAIRS: [(DType, Kind, i8); 10] = [
    (DType::Bool, Kind::Bool, 11),
    (DType::U8, Kind::Uint8, 0),
    (DType::I8, Kind::Int8, 1),
    (DType::I16, Kind::Int16, 2),
    (DType::I32, Kind::Int, 3),
    (DType::I64, Kind::Int64, 4),
    (DType::F16, Kind::Half, 5),
    (DType::BF16, Kind::BFloat16, 15),
    (DType::F32, Kind::Float, 6),
    (DType::F64, Kind::Double, 7),
];

fn find(dtype: DType) -> Result<(Kind, i8), Cause> {
    PAIRS
        .iter()
        .find(|pair| pair.0 == dtype)
        .map(|pair| (pair.1, pair.2))
        .ok_or_else(|| {
            Cause::new(format!(
                "datatype {dtype} is not one that libtorch computes with"
            ))
        })
}

pub(crate) fn kind_of(dtype: DType) -> Result<Kind, Cause> {
    find(dtype).map(|(kind, _)| kind)
}

/// Returns the number of the dtype in `c10::ScalarType`.
pub(crate) fn scalar_type(dtype: DType) -> Result<i8, Cause> {
    find(dtype).map(|(_, number)| number)
}

/// Returns the number of the type in `c10::ScalarType`.
pub(crate) fn number_of(kind: Kind) -> Result<i8, Cause> {
    let pair = PAIRS.iter().find(|pair| pair.1 == kind);
    pair.map(|pair| pair.2)
        .ok_or_else(|| Cause::new(format!("type {kind:?} is not supported")))
}

pub(crate) fn dtype_of(kind: Kind) -> Option<DType> {
    PAIRS.iter().find(|pair| pair.1 == kind).map(|pair| pair.0)
}
