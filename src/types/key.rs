//! Public keys of hosts, as people copy them: 40 characters of Z85 (ZeroMQ RFC 32).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DIGITS: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// A public key of CURVE (Curve25519).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; PublicKey::BYTES]);

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key, expected {} characters of Z85", PublicKey::CHARACTERS)]
pub struct KeyParseError;

impl PublicKey {
    pub const BYTES: usize = 32;
    pub const CHARACTERS: usize = Self::BYTES / 4 * 5;
}

/// Writes a key of 32 bytes in Z85: each four bytes are five digits, the highest first.
pub fn encode_key(key: &[u8; PublicKey::BYTES]) -> String {
    let (words, _) = key.as_chunks::<4>();
    let digits = words.iter().flat_map(|word| {
        let word = u32::from_be_bytes(*word);
        [4, 3, 2, 1, 0].map(|place| DIGITS[(word / 85_u32.pow(place) % 85) as usize])
    });
    digits.map(char::from).collect()
}

/// Reads a key of 32 bytes from Z85.
pub fn decode_key(text: &str) -> Result<[u8; PublicKey::BYTES], KeyParseError> {
    let mut key = [0; PublicKey::BYTES];
    if text.len() != PublicKey::CHARACTERS {
        return Err(KeyParseError);
    }
    let (places, _) = key.as_chunks_mut::<4>();
    for (word, digits) in places.iter_mut().zip(text.as_bytes().chunks(5)) {
        let value = digits.iter().try_fold(0_u32, |value, digit| {
            let digit = DIGITS.iter().position(|known| known == digit)?;
            value
                .checked_mul(85)?
                .checked_add(u32::try_from(digit).ok()?)
        });
        *word = value.ok_or(KeyParseError)?.to_be_bytes();
    }
    Ok(key)
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_key(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_key(text).map(Self)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_parses_as_it_prints(bytes: [u8; 32]) {
            let key = PublicKey(bytes);
            prop_assert_eq!(key.to_string().len(), PublicKey::CHARACTERS);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn no_text_is_two_keys_or_a_panic(text in ".{0,60}") {
            if let Ok(key) = text.parse::<PublicKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn the_example_of_the_specification_is_read_as_there() {
        // The test case of RFC 32, four times.
        let text = "HelloWorld".repeat(4);
        let word = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];
        let key: PublicKey = text.parse().expect("a key");
        assert_eq!(key.0[..], word.repeat(4));
        assert_eq!(key.to_string(), text);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "rq:rM",
            &"#".repeat(40),
            &"a b".repeat(14)[..40],
            &"0".repeat(41),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyParseError), "{text:?}");
        }
    }
}
