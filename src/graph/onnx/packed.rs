//! Elements of less than 8 bits: packed in files, a byte each in memory.

use crate::types::DType;

/// Returns the number of bytes that `count` elements take in a file.
pub(super) fn packed_length(dtype: DType, count: usize) -> usize {
    count.div_ceil(per_byte(dtype))
}

/// Unpacks `count` elements; the first lies in the low bits of the first byte, which is there.
pub(super) fn unpack(dtype: DType, packed: &[u8], count: usize) -> Vec<u8> {
    let per_byte = per_byte(dtype);
    let bits = 8 / per_byte;
    let unused = 8 - bits;
    let element = |index: usize| {
        let shifted = packed[index / per_byte] >> (index % per_byte * bits) << unused;
        match dtype {
            // An arithmetic shift, which extends the sign.
            DType::I4 | DType::I2 => (shifted.cast_signed() >> unused).cast_unsigned(),
            _ => shifted >> unused,
        }
    };
    (0..count).map(element).collect()
}

/// Packs elements that lie in a byte each: the inverse of [`unpack`].
pub(super) fn pack(dtype: DType, elements: &[u8]) -> Vec<u8> {
    let per_byte = per_byte(dtype);
    let bits = 8 / per_byte;
    let mask = u8::MAX >> (8 - bits);
    let byte = |group: &[u8]| {
        let places = group.iter().enumerate();
        places.fold(0, |byte, (place, element)| {
            byte | (element & mask) << (place * bits)
        })
    };
    elements.chunks(per_byte).map(byte).collect()
}

/// Returns how many elements share a byte; 1 for a dtype that is not packed.
pub(super) fn per_byte(dtype: DType) -> usize {
    match dtype.bits() {
        Some(bits) if bits < 8 => 8 / bits,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_the_inverse_of_unpacking() {
        for (dtype, packed, count) in [
            (DType::I4, &[0x8f, 0x07][..], 3),
            (DType::U4, &[0x8f, 0x71], 4),
            (DType::F4E2M1, &[0x3a], 2),
            (DType::I2, &[0b11_10_01_00, 0b10], 5),
            (DType::U2, &[0b11_10_01_00], 4),
        ] {
            let elements = unpack(dtype, packed, count);
            assert_eq!(elements.len(), count, "{dtype}");
            assert_eq!(pack(dtype, &elements), packed, "{dtype}");
        }
    }
}
