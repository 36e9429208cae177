//! A bounded list of choices, and its form in a file: a line of JSON for each, the latest last.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::key::Key;

/// Choices that are kept, and the size of a file that is read.
const CHOICES_MAX: usize = 256;
const BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) engine: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choices(Vec<Choice>);

impl Choices {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the engine chosen for a block.
    pub(super) fn get(&self, key: &Key) -> Option<&str> {
        let choice = self.0.iter().find(|choice| choice.key == *key)?;
        Some(&choice.engine)
    }

    /// Adds a choice in place of one for the same block; the oldest goes where there are too many.
    pub(super) fn add(&mut self, choice: Choice) {
        self.0.retain(|known| known.key != choice.key);
        self.0.push(choice);
        let excess = self.0.len().saturating_sub(CHOICES_MAX);
        self.0.drain(..excess);
    }

    /// Reads a file; one that is absent holds nothing. Lines that are no choices are left out, and counted.
    pub(super) fn read(path: &Path) -> io::Result<(Self, usize)> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Self::new(), 0)),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        let (mut choices, mut wrong) = (Self::new(), 0);
        let lines = bytes.split(|&byte| byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(choice) => choices.add(choice),
                Err(_) => wrong += 1,
            }
        }
        Ok((choices, wrong))
    }

    /// Writes a file whole, so that who reads it meanwhile sees all of it, or all of the one before.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        let mut lines = Vec::new();
        for choice in &self.0 {
            serde_json::to_writer(&mut lines, choice)?;
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        file.persist(path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(structure: usize, engine: &str) -> Choice {
        let text = String::new;
        Choice {
            key: Key {
                structure: structure.to_string(),
                inputs: "FP32[1, 3]".into(),
                threads: 1,
                passes: text(),
                onnxruntime: text(),
                libtorch: text(),
                processor: text(),
            },
            engine: engine.into(),
        }
    }

    #[test]
    fn the_oldest_go_and_a_new_choice_replaces_that_of_its_block() {
        let mut choices = Choices::new();
        for structure in 0..=CHOICES_MAX {
            choices.add(choice(structure, "aten"));
        }
        assert_eq!(choices.0.len(), CHOICES_MAX);
        assert_eq!(choices.get(&choice(0, "").key), None);
        assert_eq!(choices.get(&choice(1, "").key), Some("aten"));
        choices.add(choice(1, "onnxruntime"));
        assert_eq!(choices.0.len(), CHOICES_MAX);
        assert_eq!(choices.get(&choice(1, "").key), Some("onnxruntime"));
        assert_eq!(choices.get(&choice(2, "").key), Some("aten"));
    }

    #[test]
    fn a_key_that_differs_in_anything_is_another_block() {
        let known = choice(7, "aten");
        let mut choices = Choices::new();
        choices.add(known.clone());
        let others: [fn(&mut Key); 7] = [
            |key| key.structure += "x",
            |key| key.inputs += "x",
            |key| key.threads += 1,
            |key| key.passes += "x",
            |key| key.onnxruntime += "x",
            |key| key.libtorch += "x",
            |key| key.processor += "x",
        ];
        for change in others {
            let mut key = known.key.clone();
            change(&mut key);
            assert_eq!(choices.get(&key), None, "{key:?}");
        }
        assert_eq!(choices.get(&known.key), Some("aten"));
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/choices.jsonl");
        let mut choices = Choices::new();
        assert_eq!(Choices::read(&path).expect("nothing"), (Choices::new(), 0));
        for structure in 0..3 {
            choices.add(choice(structure, "onnxruntime"));
            choices.write(&path).expect("written");
            assert_eq!(Choices::read(&path).expect("read").0, choices);
        }
        let left = std::fs::read_dir(path.parent().expect("a folder")).expect("a folder");
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn lines_that_are_no_choices_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("choices.jsonl");
        let good = serde_json::to_string(&choice(1, "aten")).expect("JSON");
        for (text, kept, wrong) in [
            (format!("{good}\n"), 1, 0),
            (format!("{good}\n{{\"structure\": 3}}\n"), 1, 1),
            (format!("{}\n{good}", &good[..good.len() / 2]), 1, 1),
            ("\u{0}\u{1}".into(), 0, 1),
            (String::new(), 0, 0),
            (
                "x".repeat(usize::try_from(BYTES_MAX).expect("small") * 2),
                0,
                1,
            ),
        ] {
            std::fs::write(&path, &text).expect("written");
            let (choices, seen) = Choices::read(&path).expect("read");
            assert_eq!((choices.0.len(), seen), (kept, wrong));
        }
        std::fs::write(&path, b"\xff\xfe\n").expect("written");
        assert_eq!(Choices::read(&path).expect("read").1, 1);
    }
}
