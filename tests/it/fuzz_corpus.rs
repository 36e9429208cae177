//! The corpus of the fuzz targets, replayed: every file gives a value or an error that says something, within bounds of
//! memory. Files whose names begin with `ok_` are read, others that begin with `bad_` refused.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/readers.rs"]
mod readers;

/// What a reader may take beyond what the process had: the largest image of the corpus is far smaller than the most that
/// is decoded.
const GROWTH_KIB_MAX: usize = 512 << 10;

/// All files together, so that they stay easy to fetch.
const CORPUS_BYTES_MAX: u64 = 300 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn files(reader: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(reader)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn peak_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn every_file_of_the_corpus_gives_a_value_or_one_error() {
    for (reader, _) in readers::READERS {
        let files = files(reader);
        assert!(files.len() >= 5, "{reader} has {} files", files.len());
        for path in files {
            let file = fs::read(&path).unwrap();
            let before = peak_kib();
            let outcome = readers::read(reader, &file);
            let grown = peak_kib() - before;
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(grown < GROWTH_KIB_MAX, "{reader}/{name} took {grown} KiB");
            if name.starts_with("ok_") {
                assert_eq!(outcome, Ok(()), "{reader}/{name}");
            }
            if name.starts_with("bad_") {
                outcome.expect_err(&format!("{reader}/{name}"));
            }
        }
    }
}

#[test]
fn the_corpus_is_small_and_every_reader_has_a_target() {
    let folders = fs::read_dir(corpus()).unwrap();
    let mut names: Vec<_> = folders.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let readers: Vec<_> = readers::READERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, readers);
    let all = readers.iter().flat_map(|reader| files(reader));
    let bytes: u64 = all.map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes");
    let manifest = fs::read_to_string(corpus().join("../Cargo.toml")).unwrap();
    for reader in readers {
        assert!(
            manifest.contains(&format!("path = \"targets/{reader}.rs\"")),
            "{reader}"
        );
        let target = fs::read_to_string(corpus().join(format!("../targets/{reader}.rs"))).unwrap();
        assert!(target.contains(&format!("read(\"{reader}\"")), "{reader}");
    }
}
