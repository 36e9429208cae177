//! A digest, and how one is made of parts without any ambiguity between them.

use std::fmt;
use std::io::{self, Read};

/// The BLAKE3 digest of something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// Digits of [`Digest::short`].
const SHORT: usize = 16;
/// Bytes of a file that are read at once.
const PIECE: usize = 1 << 17;

impl Digest {
    /// Returns the digest of one text of some kind; digests of different kinds never meet.
    pub fn of(kind: &str, bytes: &[u8]) -> Self {
        let mut mixer = Mixer::new(kind);
        mixer.bytes(bytes);
        mixer.finish()
    }

    /// Returns the plain BLAKE3 digest of what a file holds, as other programs compute it, and the number of its bytes.
    pub fn of_file(mut file: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; PIECE];
        let mut bytes = 0;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok((Self(*hasher.finalize().as_bytes()), bytes)),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    bytes += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads 64 hexadecimal digits, as a digest is written.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let nibble = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }

    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first digits, enough for people to tell things apart.
    pub fn short(&self) -> String {
        let mut digits = self.to_string();
        digits.truncate(SHORT);
        digits
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// A digest in the making. Each part is preceded by its length or has a fixed one, so that no two lists of parts read
/// the same.
pub(in crate::graph) struct Mixer(blake3::Hasher);

impl Mixer {
    /// Begins the digest of one kind of thing; digests of different kinds never meet.
    pub(in crate::graph) fn new(kind: &str) -> Self {
        let mut mixer = Self(blake3::Hasher::new());
        mixer.text(kind);
        mixer
    }

    pub(in crate::graph) fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_le_bytes());
    }

    pub(in crate::graph) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(in crate::graph) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    /// Adds the part of a long list of bytes whose length was added before.
    pub(in crate::graph) fn chunk(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(in crate::graph) fn sizes(&mut self, sizes: &[usize]) {
        self.number(sizes.len());
        sizes.iter().for_each(|&size| self.number(size));
    }

    pub(in crate::graph) fn digest(&mut self, digest: Digest) {
        self.0.update(&digest.0);
    }

    pub(in crate::graph) fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_join_to_the_same_bytes_are_told_apart() {
        let of = |parts: &[&str]| {
            let mut mixer = Mixer::new("test");
            parts.iter().for_each(|part| mixer.text(part));
            mixer.finish()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", "c"]), of(&["abc"]));
        assert_ne!(of(&[]), of(&[""]));
    }

    #[test]
    fn a_digest_is_written_in_hexadecimal() {
        let digest = Mixer::new("test").finish();
        assert_eq!(digest.to_string().len(), 64);
        assert!(digest.to_string().starts_with(&digest.short()));
        assert_eq!(digest.short().len(), SHORT);
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        for wrong in [
            "",
            "0",
            &digest.short(),
            &digest.to_string().replace(|_| true, "g"),
        ] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_has_the_digest_that_other_programs_compute() {
        let (digest, bytes) = Digest::of_file(&b"abc"[..]).expect("memory is readable");
        assert_eq!(bytes, 3);
        assert_eq!(
            digest.to_string(),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
    }
}
