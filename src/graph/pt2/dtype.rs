//! Dtypes, layouts and memory formats by the numbers of the schema.

use crate::graph::MemoryFormat;
use crate::types::DType;

/// `Layout.Strided`.
pub(super) const STRIDED: i64 = 7;

/// `ScalarType`; `None` for unknown and complex ones.
pub(super) fn dtype(number: i64) -> Option<DType> {
    Some(match number {
        1 => DType::U8,
        2 => DType::I8,
        3 => DType::I16,
        4 => DType::I32,
        5 => DType::I64,
        6 => DType::F16,
        7 => DType::F32,
        8 => DType::F64,
        12 => DType::Bool,
        13 => DType::BF16,
        28 => DType::U16,
        29 => DType::F8E4M3FN,
        30 => DType::F8E5M2,
        31 => DType::F8E4M3FNUZ,
        32 => DType::F8E5M2FNUZ,
        _ => return None,
    })
}

/// `MemoryFormat`; `None` for unknown ones.
pub(super) fn memory_format(number: i64) -> Option<MemoryFormat> {
    Some(match number {
        1 => MemoryFormat::Contiguous,
        2 => MemoryFormat::ChannelsLast,
        3 => MemoryFormat::ChannelsLast3d,
        4 => MemoryFormat::Preserve,
        _ => return None,
    })
}

const fn category(dtype: DType) -> u8 {
    match dtype {
        DType::Bool => 0,
        dtype if dtype.is_float() => 2,
        _ => 1,
    }
}

/// Returns the dtype in which ATen computes with tensors of dimensions, tensors without, and numbers: a kind of less
/// weight counts only where it is of a higher category (truth value, integer, float).
pub(super) fn common(kinds: [Option<DType>; 3]) -> Option<DType> {
    kinds.into_iter().flatten().reduce(|strong, weak| {
        if category(weak) > category(strong) {
            weak
        } else {
            strong
        }
    })
}

/// Returns the least dtype that both convert to, by the table of `torch.promote_types`; `None` where it has none.
pub(super) fn promoted(a: DType, b: DType) -> Option<DType> {
    use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};
    if a == b {
        return Some(a);
    }
    let (low, high) = if category(a) <= category(b) {
        (a, b)
    } else {
        (b, a)
    };
    if category(low) < category(high) {
        return Some(high);
    }
    Some(match (low, high) {
        (F64, F16 | BF16 | F32) | (F16 | BF16 | F32, F64) => F64,
        (F16 | BF16 | F32, F16 | BF16 | F32) => F32,
        (U8, I8) | (I8, U8) => I16,
        (Bool, other) | (other, Bool) => other,
        _ => {
            let rank = |dtype: DType| [I8, U8, I16, I32, I64].iter().position(|&own| own == dtype);
            if rank(low)? > rank(high)? { low } else { high }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dtypes_are_promoted_as_torch_does() {
        for (a, b, expected) in [
            (DType::F16, DType::BF16, Some(DType::F32)),
            (DType::F32, DType::F64, Some(DType::F64)),
            (DType::I64, DType::F16, Some(DType::F16)),
            (DType::U8, DType::I8, Some(DType::I16)),
            (DType::U8, DType::I16, Some(DType::I16)),
            (DType::I32, DType::I64, Some(DType::I64)),
            (DType::Bool, DType::U8, Some(DType::U8)),
            (DType::U16, DType::I16, None),
        ] {
            assert_eq!(promoted(a, b), expected, "{a} {b}");
            assert_eq!(promoted(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn numbers_and_scalars_yield_to_tensors_of_their_category() {
        let common = |a, b, c| common([a, b, c]);
        assert_eq!(
            common(Some(DType::F16), None, Some(DType::F32)),
            Some(DType::F16)
        );
        assert_eq!(
            common(Some(DType::I32), Some(DType::F64), None),
            Some(DType::F64)
        );
        assert_eq!(
            common(Some(DType::Bool), None, Some(DType::I64)),
            Some(DType::I64)
        );
        assert_eq!(
            common(None, Some(DType::I32), Some(DType::I64)),
            Some(DType::I32)
        );
    }
}
