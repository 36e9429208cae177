//! The codes of narrow floats, which models store and convert but do not compute with.
//!
//! Source: OCP 8-bit Floating Point (E4M3FN, E5M2), Graphcore (the FNUZ forms), OCP Microscaling (F4E2M1, E8M0), and
//! the tables of ONNX Cast for what happens outside of their ranges.

use crate::graph::RoundMode;
use crate::types::DType;

/// How numbers become those that a type has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounding {
    /// Whether what is too large becomes the largest number.
    pub(super) saturate: bool,
    /// Of F8E8M0; the others round to nearest, ties to even.
    pub(super) mode: RoundMode,
}

impl Rounding {
    /// For what is a number of the type already, or an infinity.
    pub(super) const EXACT: Self = Self {
        saturate: false,
        mode: RoundMode::Nearest,
    };
}

impl Default for Rounding {
    fn default() -> Self {
        Self {
            saturate: true,
            mode: RoundMode::Up,
        }
    }
}

/// The layout of a narrow float.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    /// Sign, exponent, fraction.
    Signed {
        /// The bit of the sign.
        sign: u8,
        fraction_bits: u32,
        bias: i32,
        /// The code of the largest number.
        largest: u8,
        beyond: Beyond,
    },
    /// A power of two; no sign, no zero.
    Power,
}

/// What a signed format has besides numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    Nothing,
    NaN,
    /// In the place of a negative zero.
    OneNaN,
    InfinityAndNaN,
}

const POWER_BIAS: i32 = 127;
const POWER_LARGEST: u8 = 0xFE;
const POWER_NAN: u8 = 0xFF;

impl Format {
    /// Returns the layout of a dtype that is a narrow float.
    pub(super) fn of(dtype: DType) -> Option<Self> {
        let signed = |sign, fraction_bits, bias, largest, beyond| Self::Signed {
            sign,
            fraction_bits,
            bias,
            largest,
            beyond,
        };
        Some(match dtype {
            DType::F4E2M1 => signed(0x08, 1, 1, 0x07, Beyond::Nothing),
            DType::F8E4M3FN => signed(0x80, 3, 7, 0x7E, Beyond::NaN),
            DType::F8E4M3FNUZ => signed(0x80, 3, 8, 0x7F, Beyond::OneNaN),
            DType::F8E5M2 => signed(0x80, 2, 15, 0x7B, Beyond::InfinityAndNaN),
            DType::F8E5M2FNUZ => signed(0x80, 2, 16, 0x7F, Beyond::OneNaN),
            DType::F8E8M0 => Self::Power,
            _ => return None,
        })
    }

    /// Returns the number of each code.
    pub(super) fn table(self) -> [f32; 256] {
        let mut code = 0_u8;
        [(); 256].map(|()| {
            let number = self.decode(code);
            code = code.wrapping_add(1);
            number
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "every number of a narrow float is one of FP32"
    )]
    fn decode(self, code: u8) -> f32 {
        let (sign, fraction_bits, bias, largest, beyond) = match self {
            Self::Power if code == POWER_NAN => return f32::NAN,
            Self::Power => return 2_f64.powi(i32::from(code) - POWER_BIAS) as f32,
            Self::Signed {
                sign,
                fraction_bits,
                bias,
                largest,
                beyond,
            } => (sign, fraction_bits, bias, largest, beyond),
        };
        let negative = code & sign != 0;
        let magnitude = code & (sign - 1);
        let one_nan = beyond == Beyond::OneNaN && code == sign;
        let number = if beyond == Beyond::InfinityAndNaN && magnitude == largest + 1 {
            f32::INFINITY
        } else if magnitude > largest || one_nan {
            f32::NAN
        } else {
            let fraction = magnitude & ((1 << fraction_bits) - 1);
            let exponent = i32::from(magnitude >> fraction_bits);
            let hidden = if exponent > 0 { 1 << fraction_bits } else { 0 };
            let steps = f64::from(fraction + hidden);
            let scale = exponent.max(1) - bias - fraction_bits.cast_signed();
            (steps * 2_f64.powi(scale)) as f32
        };
        if negative && !one_nan {
            -number
        } else {
            number
        }
    }

    /// Returns the code of the number that `value` is rounded to.
    pub(super) fn encode(self, value: f64, rounding: Rounding) -> u8 {
        match self {
            Self::Power => power(value.abs(), rounding),
            Self::Signed {
                sign,
                fraction_bits,
                bias,
                largest,
                beyond,
            } => {
                let sign_bit = if value.is_sign_negative() { sign } else { 0 };
                if value.is_nan() {
                    return match beyond {
                        // As the tools of the field do where there is no NaN.
                        Beyond::Nothing => sign ^ sign_bit,
                        Beyond::NaN => sign_bit | (largest + 1),
                        Beyond::OneNaN => sign,
                        Beyond::InfinityAndNaN => sign_bit | (largest + 3),
                    };
                }
                let exponent = exponent_of(value).max(1 - bias);
                let step = 2_f64.powi(exponent - fraction_bits.cast_signed());
                let steps = (value.abs() / step).round_ties_even();
                // The steps of this binade follow those of all lower ones.
                let lower = (exponent + bias - 1) << fraction_bits;
                let code = steps + f64::from(lower);
                if code > f64::from(largest) {
                    return match beyond {
                        _ if rounding.saturate => sign_bit | largest,
                        Beyond::Nothing => sign_bit | largest,
                        Beyond::NaN | Beyond::InfinityAndNaN => sign_bit | (largest + 1),
                        Beyond::OneNaN => sign,
                    };
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "an integer from 0 to `largest`"
                )]
                let code = code as u8;
                if code == 0 && beyond == Beyond::OneNaN {
                    0
                } else {
                    sign_bit | code
                }
            }
        }
    }
}

/// Returns the code of the power of two that a magnitude is rounded to.
fn power(value: f64, rounding: Rounding) -> u8 {
    if value.is_nan() {
        return POWER_NAN;
    }
    let exponent = exponent_of(value);
    let excess = value / 2_f64.powi(exponent) - 1.0;
    let up = match rounding.mode {
        RoundMode::Up => excess > 0.0,
        RoundMode::Down => false,
        RoundMode::Nearest => excess >= 0.5,
    };
    let code = exponent + POWER_BIAS + i32::from(up);
    let limit = if code < 0 { 0 } else { POWER_LARGEST };
    match u8::try_from(code) {
        Ok(code) if code <= POWER_LARGEST => code,
        _ if rounding.saturate => limit,
        _ => POWER_NAN,
    }
}

/// Returns the exponent of the leading bit; far below every format's for zero.
fn exponent_of(value: f64) -> i32 {
    const EXPONENT_MASK: u64 = 0x7FF;
    let biased = (value.to_bits() >> 52) & EXPONENT_MASK;
    let biased = biased as i32;
    biased - 1023
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: [DType; 6] = [
        DType::F4E2M1,
        DType::F8E4M3FN,
        DType::F8E4M3FNUZ,
        DType::F8E5M2,
        DType::F8E5M2FNUZ,
        DType::F8E8M0,
    ];

    #[test]
    fn every_number_has_its_own_code() {
        for dtype in NARROW {
            let format = Format::of(dtype).expect("a narrow float");
            let codes = 1_usize << dtype.bits().expect("a number");
            for (code, number) in format.table().into_iter().enumerate().take(codes) {
                if !number.is_nan() {
                    let seen = format.encode(
                        number.into(),
                        Rounding {
                            saturate: false,
                            ..Rounding::default()
                        },
                    );
                    assert_eq!(usize::from(seen), code, "{dtype} {number}");
                }
            }
        }
    }

    #[test]
    fn numbers_between_two_codes_go_to_the_even_one() {
        for (dtype, value, code) in [
            (DType::F8E4M3FN, 464.0, 0x7E),
            (DType::F8E4M3FN, 1.0625, 0x38),
            (DType::F8E4M3FN, 1.1875, 0x3A),
            (DType::F8E5M2, 1.125, 0x3C),
            (DType::F4E2M1, 5.0, 0x06),
            (DType::F4E2M1, -3.5, 0x0E),
        ] {
            let format = Format::of(dtype).expect("a narrow float");
            assert_eq!(
                format.encode(value, Rounding::default()),
                code,
                "{dtype} {value}"
            );
        }
    }

    #[test]
    fn what_is_too_large_saturates_only_if_told_to() {
        let wild = Rounding {
            saturate: false,
            ..Rounding::default()
        };
        for (dtype, saturated, other) in [
            (DType::F8E4M3FN, 0xFE, 0xFF),
            (DType::F8E4M3FNUZ, 0xFF, 0x80),
            (DType::F8E5M2, 0xFB, 0xFC),
            (DType::F8E5M2FNUZ, 0xFF, 0x80),
            (DType::F4E2M1, 0x0F, 0x0F),
        ] {
            let format = Format::of(dtype).expect("a narrow float");
            for value in [-1e9, f64::NEG_INFINITY] {
                assert_eq!(
                    format.encode(value, Rounding::default()),
                    saturated,
                    "{dtype}"
                );
                assert_eq!(format.encode(value, wild), other, "{dtype}");
            }
        }
    }

    #[test]
    fn powers_of_two_round_as_told() {
        for (mode, codes) in [
            (RoundMode::Up, [0x80, 0x80, 0x7F, 0x00, 0xFE]),
            (RoundMode::Down, [0x7F, 0x7F, 0x7F, 0x00, 0xFE]),
            (RoundMode::Nearest, [0x7F, 0x80, 0x7F, 0x00, 0xFE]),
        ] {
            let values = [1.25, 1.5, 1.0, 0.0, f64::INFINITY];
            let rounding = Rounding {
                saturate: true,
                mode,
            };
            assert_eq!(
                values.map(|value| Format::Power.encode(value, rounding)),
                codes
            );
        }
        let strict = Rounding {
            saturate: false,
            mode: RoundMode::Nearest,
        };
        for value in [0.0, f64::INFINITY, f64::NAN, 1e-60, 1e60] {
            assert_eq!(Format::Power.encode(value, strict), POWER_NAN, "{value}");
        }
    }
}
