//! Configurations of mock blocks as text, and folders that they are served from.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::server::{BINARY, Server};

/// A folder with a configuration, and what else is put there.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(text: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(text);
        files
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Where the configuration is.
    pub(crate) fn path(&self) -> PathBuf {
        self.at("blocks.toml")
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// Writes a file beside, then renames it, so that nobody sees a part of it.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let beside = self.at(&format!("{name}.new"));
        fs::write(&beside, content).unwrap();
        fs::rename(beside, self.at(name)).unwrap();
    }

    /// Serves it; files that change are taken up when somebody asks for that. Returns what was told where it is refused.
    pub(crate) fn start(&self) -> Result<Server, String> {
        Server::try_start(Command::new(BINARY), &self.path(), &["--no-watch"])
    }

    pub(crate) fn serve(&self) -> Server {
        self.start().unwrap_or_else(|told| panic!("{told}"))
    }

    /// Tells why it is not served.
    pub(crate) fn refusal(&self) -> String {
        match self.start() {
            Ok(_) => panic!("it is served"),
            Err(told) => told,
        }
    }
}

/// A mock that adds one to each of 4 bytes; `keys` go into the mock, `rest` beside it.
pub(crate) fn mock_text(name: &str, [input, output]: [&str; 2], keys: &str, rest: &str) -> String {
    let tensor =
        |name: &str| format!("[{{ name = \"{name}\", datatype = \"UINT8\", shape = [1, 4] }}]");
    let (inputs, outputs) = (tensor(input), tensor(output));
    let comma = if keys.is_empty() { "" } else { ", " };
    format!(
        "[blocks.{name}]\nmock = {{ inputs = {inputs}, outputs = {outputs}{comma}{keys} }}\n{rest}\n"
    )
}

/// A pipeline `p` of mocks `b0`, `b1`, … one after the other, from `t0` to `last`: an answer tells how many there are. `keys`
/// returns what goes into the mock at a place, and what beside it.
pub(crate) fn chain_text(
    length: usize,
    last: &str,
    keys: impl Fn(usize) -> [String; 2],
    rest: &str,
) -> String {
    let tensor = |place: usize| match place == length {
        true => last.to_owned(),
        false => format!("t{place}"),
    };
    let blocks = (0..length).map(|place| {
        let [keys, beside] = keys(place);
        let ends = [&*tensor(place), &*tensor(place + 1)];
        mock_text(&format!("b{place}"), ends, &keys, &beside)
    });
    let flow: Vec<_> = (0..length).map(|place| format!("\"b{place}\"")).collect();
    format!(
        "{}[pipelines.p]\nflow = [{}]\ndeadline_ms = 20000\n{rest}",
        blocks.collect::<String>(),
        flow.join(", ")
    )
}

/// Has the first block of a chain live in a process of its own.
pub(crate) fn apart(text: &str) -> String {
    text.replace("[blocks.b0]\n", "[blocks.b0]\nisolation = \"process\"\n")
}
