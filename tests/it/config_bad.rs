//! Configurations that are wrong, in `tests/data/config/bad`, and what users are told of each: when they start with it, and
//! when they have a running program read it again.
//!
//! A case is a line `==== what is wrong`, the configuration, a line `----`, and the report. `UPDATE_EXPECTED=1` writes the
//! reports as they are now, to be read and committed.

use std::fs;
use std::path::{Path, PathBuf};

use blockflow::app::Loaded;
use blockflow::config::load;

use crate::config::report;
use crate::config::sound;
use crate::support::server::Server;

const CASES_MIN: usize = 150;

#[derive(Debug)]
struct Case {
    name: String,
    text: String,
    expected: String,
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Returns the files of cases with what is in them.
fn files() -> Vec<(PathBuf, Vec<Case>)> {
    let entries = fs::read_dir(data("config/bad")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let cases = text.split("==== ").skip(1).map(case).collect();
        (path, cases)
    };
    paths.into_iter().map(read).collect()
}

fn case(text: &str) -> Case {
    let (name, rest) = text.split_once('\n').expect("a name");
    let (text, expected) = rest.split_once("----\n").expect("a line of dashes");
    Case {
        name: name.to_owned(),
        text: text.to_owned(),
        expected: expected.to_owned(),
    }
}

/// A directory with the models that the cases name.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for (from, name) in [
            ("digits/digits.onnx", "digits.onnx"),
            ("digits/digits.onnx", "digits"),
            ("digits/digits.onnx", "digits.bin"),
            ("digits/digits.onnx", "digits.h5"),
            ("digits/parity_head.pt", "parity_head.pt"),
            ("tiny/truncated.onnx", "truncated.onnx"),
            ("tiny/cyclic.onnx", "cyclic.onnx"),
            ("tiny/unknown_op.onnx", "unknown_op.onnx"),
            ("tiny/bad_shape.onnx", "bad_shape.onnx"),
            ("tiny/external_missing.onnx", "external_missing.onnx"),
        ] {
            fs::copy(data(from), at(name)).unwrap();
        }
        fs::create_dir(at("folder.onnx")).unwrap();
        for name in ["empty.onnx", "empty.pt"] {
            fs::write(at(name), "").unwrap();
        }
        for name in ["text.onnx", "text.pt"] {
            fs::write(at(name), "this is no model\n").unwrap();
        }
        Self(place)
    }

    fn configuration(&self) -> PathBuf {
        self.0.path().join("blocks.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.configuration(), text).unwrap();
    }

    /// Takes the names of directories out of a report.
    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    /// Returns what is told of a configuration, a problem a line.
    fn report(&self, text: &str) -> String {
        self.write(text);
        let read = load(&self.configuration(), std::iter::empty());
        let lines = match read {
            Err(_) => report(&sound(read).expect_err("what cannot be read is not sound")),
            Ok(mut read) => {
                let more = Loaded::from_sound(&read.spec, &read.unsound).err();
                read.problems.extend(more.unwrap_or_default());
                let located = read.locator.locate(read.problems);
                located.iter().map(ToString::to_string).collect()
            }
        };
        let lines = lines.iter().map(|line| self.short(line) + "\n");
        lines.collect()
    }
}

#[test]
fn each_is_told_with_its_place_and_what_would_be_right() {
    let place = Place::new();
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (path, cases) in files() {
        let mut text = String::new();
        for case in &cases {
            let seen = place.report(&case.text);
            count += 1;
            if seen.is_empty() {
                wrong.push(format!("{}: taken for a good one", case.name));
            } else if seen != case.expected && !update {
                let Case { name, expected, .. } = case;
                wrong.push(format!("{name}:\n{seen}expected:\n{expected}"));
            }
            text += &format!("==== {}\n{}----\n{seen}", case.name, case.text);
        }
        if update {
            fs::write(path, text).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= CASES_MIN, "{count} cases");
}

#[test]
fn each_is_rejected_by_a_reload_that_changes_nothing() {
    let place = Place::new();
    let good = "[blocks.g]\nmodel = \"digits.onnx\"\n[pipelines.good]\nflow = [\"g\"]\n";
    place.write(good);
    let server = Server::start_with(&place.configuration(), &["--no-watch"]);
    for (_, cases) in files() {
        for case in cases {
            place.write(&case.text);
            let answer = server.post("/v2/repository/models/good/load", "");
            let told = place.short(&answer.text());
            assert_eq!(answer.status, 400, "{}: {told}", case.name);
            let value: serde_json::Value = serde_json::from_str(&told).unwrap();
            let told = value["error"].as_str().unwrap();
            for line in case.expected.lines() {
                assert!(told.contains(line), "{}: {line:?} in {told:?}", case.name);
            }
            assert_eq!(server.get("/v2/health/ready").status, 200, "{}", case.name);
        }
    }
    assert_eq!(server.epoch(), 1);
    place.write(good);
    let answer = server.post("/v2/repository/models/good/load", "");
    assert_eq!(answer.status, 200);
}
