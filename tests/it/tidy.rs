//! House rules that a compiler does not check: storeys, homes of libraries, sizes and openings of files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their storeys.
const STOREYS: [(&str, u8); 13] = [
    ("types", 0),
    ("telemetry", 1),
    ("graph", 2),
    ("engine", 3),
    ("tensormq", 3),
    ("config", 4),
    ("plan", 4),
    ("sched", 4),
    ("actors", 5),
    ("serve", 6),
    ("app", 7),
    ("cli", 8),
    ("main", 9),
];

/// Rooms of pure decisions, and all they may name.
const PURE: [&str; 3] = ["config", "plan", "sched"];
const NAMED_BY_PURE: [&str; 2] = ["graph", "types"];

/// Libraries and the only places that may name them.
const HOMES: [(&str, &[&str]); 16] = [
    ("tch", &["engine/torch/"]),
    ("torch_sys", &["engine/torch/"]),
    ("cudarc", &["engine/cuda/"]),
    ("ort", &["engine/onnxruntime/"]),
    ("zmq", &["tensormq/socket/"]),
    ("zmq_sys", &["tensormq/socket/"]),
    ("actix", &["actors/", "serve/", "app/"]),
    ("actix_web", &["actors/", "serve/", "app/"]),
    ("actix_rt", &["actors/", "serve/", "app/"]),
    ("blake3", &["graph/hash/"]),
    ("clap", &["cli/"]),
    ("indicatif", &["cli/progress.rs"]),
    ("config", &["config/"]),
    ("toml_edit", &["config/"]),
    ("lz4_flex", &["tensormq/wire/"]),
    ("zstd", &["tensormq/wire/"]),
];

const UNSAFE_HOMES: [&str; 5] = [
    "engine/torch/ffi",
    "engine/cuda/",
    "tensormq/socket/",
    "tensormq/shm",
    "graph/build/map.rs",
];

const LINES_MAX: usize = 500;

/// Places of one machine have no business in a file; the checkout itself, wherever it is, is one too.
const MACHINE_PATHS: [&str; 4] = ["/home/", "/Users/", "/root/", env!("CARGO_MANIFEST_DIR")];

/// Checks one source file; `path` is relative to `src`.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let code = strip(text);
    let room = room_of(path);
    for target in rooms_named(path, &code) {
        if let Some(reason) = forbidden(room, &target) {
            wrong.push(format!("{path}: names {target}: {reason}"));
        }
    }
    for (library, homes) in HOMES {
        if names_library(&code, library) && !homes.iter().any(|home| path.starts_with(home)) {
            wrong.push(format!(
                "{path}: names {library}, whose place is {}",
                homes.join(" and ")
            ));
        }
    }
    let lifted = tokens(&code).concat().contains("#![expect(unsafe_code,");
    if lifted && !UNSAFE_HOMES.iter().any(|home| path.starts_with(home)) {
        wrong.push(format!(
            "{path}: allows unsafe code, which belongs to {}",
            UNSAFE_HOMES.join(", ")
        ));
    }
    if !lifted && words(&code).any(|word| word == "unsafe") {
        wrong.push(format!(
            "{path}: has unsafe code without #![expect(unsafe_code, reason = …)]"
        ));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        wrong.push(format!(
            "{path}: has {lines} lines, expected at most {LINES_MAX}"
        ));
    }
    let opening = text.lines().next().unwrap_or_default();
    if !opening.starts_with("//!") && !opening.starts_with("#![doc") {
        wrong.push(format!("{path}: does not open with //!"));
    }
    let logic = ["fn", "impl", "struct", "enum", "trait"];
    if path.ends_with("mod.rs")
        && let Some(word) = words(&code).find(|word| logic.contains(word))
    {
        wrong.push(format!(
            "{path}: has a {word}; mod.rs holds docs and re-exports only"
        ));
    }
    wrong.extend(check_places(path, text));
    wrong
}

fn check_places(path: &str, text: &str) -> Vec<String> {
    let mentioned = MACHINE_PATHS.iter().filter(|place| text.contains(**place));
    mentioned
        .map(|place| format!("{path}: mentions {place}, a place of one machine"))
        .collect()
}

fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Says why code of one room may not name another.
fn forbidden(room: &str, target: &str) -> Option<String> {
    let storey = |name: &str| {
        STOREYS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, storey)| *storey)
    };
    if room == target || room == "lib" {
        return None;
    }
    let (Some(from), Some(to)) = (storey(room), storey(target)) else {
        return Some(format!("{room} is no room of DESIGN.md"));
    };
    if PURE.contains(&room) && !NAMED_BY_PURE.contains(&target) {
        return Some(format!(
            "{room} may name {} only",
            NAMED_BY_PURE.join(" and ")
        ));
    }
    (to >= from).then(|| format!("it is not below {room}"))
}

/// Returns the rooms that paths beginning with `crate`, `super` or the library's own name lead to.
fn rooms_named(path: &str, code: &str) -> BTreeSet<String> {
    let depth = depth_of(path);
    let tokens = tokens(code);
    let mut rooms = BTreeSet::new();
    for index in 0..tokens.len() {
        if index > 0 && tokens[index - 1] == "::" {
            continue;
        }
        let mut at = index;
        let at_root = match tokens[index].as_str() {
            "crate" | "blockflow" => true,
            "super" => {
                let mut ups = 1;
                while tokens.get(at + 1).is_some_and(|token| token == "::")
                    && tokens.get(at + 2).is_some_and(|token| token == "super")
                {
                    ups += 1;
                    at += 2;
                }
                ups >= depth
            }
            _ => false,
        };
        if at_root && tokens.get(at + 1).is_some_and(|token| token == "::") {
            rooms.extend(heads(&tokens[at + 2..]));
        }
    }
    rooms.retain(|name| STOREYS.iter().any(|(known, _)| known == name));
    rooms
}

/// Returns the first segments of a path or of each path in a group.
fn heads(tokens: &[String]) -> Vec<String> {
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut fresh = false;
    for token in tokens {
        match token.as_str() {
            "{" => {
                depth += 1;
                fresh = depth == 1;
            }
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            name if fresh => {
                heads.push(name.to_owned());
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// Number of modules between the crate and the inside of a file.
fn depth_of(path: &str) -> usize {
    let parts = path.split('/').count();
    if path.ends_with("/mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// Tells whether the code uses a library: `tch::…`, `use tch;`, but neither `crate::config` nor `super::config`.
fn names_library(code: &str, library: &str) -> bool {
    let tokens = tokens(code);
    tokens.iter().enumerate().any(|(index, token)| {
        let before = |back: usize| index.checked_sub(back).map(|index| tokens[index].as_str());
        let after = tokens.get(index + 1).map(String::as_str);
        token == library
            && (before(1) != Some("::") || is_root(before(2), before(3)))
            && (after == Some("::") || before(1) == Some("use") || before(1) == Some("crate"))
            && !is_local(code, library, index, &tokens)
    })
}

/// `::tch`: a path that begins with nothing.
fn is_root(before: Option<&str>, _: Option<&str>) -> bool {
    before.is_none_or(|token| {
        !token
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

/// `{config::load, …}` within a group of `crate` or `super` is ours; so is a module that the file itself declares.
fn is_local(code: &str, library: &str, index: usize, tokens: &[String]) -> bool {
    if code.contains(&format!("mod {library};")) {
        return true;
    }
    let mut depth = 0_i32;
    for at in (0..index).rev() {
        match tokens[at].as_str() {
            "}" => depth += 1,
            "{" if depth == 0 => {
                return at >= 2
                    && tokens[at - 1] == "::"
                    && matches!(
                        tokens[at - 2].as_str(),
                        "crate" | "super" | "self" | "blockflow"
                    );
            }
            "{" => depth -= 1,
            ";" if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

/// Splits code into names, `::` and single characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let length = if word(first) {
            rest.find(|letter| !word(letter)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    tokens
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// Blanks comments and the insides of strings and characters.
fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest, &code) {
            length
        } else if first == '"' {
            string(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (index, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let inside_word = before.ends_with(|letter: char| letter.is_alphanumeric() && letter != 'b');
    let hashes = rest.strip_prefix('r').filter(|_| !inside_word)?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    let body = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    Some(
        body.find(&end)
            .map_or(rest.len(), |found| 2 + count + found + end.len()),
    )
}

/// Length of a character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => rest[2..].find('\'').map_or(0, |end| {
            // The escaped quote itself, '\''.
            if end == 0 { 4 } else { end + 3 }
        }),
        Some(_) => match letters.next() {
            Some((end, '\'')) => end + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// Every file below a directory that is text, with its text.
fn texts(path: &Path) -> Vec<(PathBuf, String)> {
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a readable directory");
        let inner = entries.map(|entry| entry.expect("a readable entry").path());
        return inner.flat_map(|path| texts(&path)).collect();
    }
    let text = fs::read_to_string(path).ok();
    text.map(|text| (path.to_owned(), text))
        .into_iter()
        .collect()
}

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|seen| seen == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_source_file_keeps_the_house_rules() {
    let source = root().join("src");
    let mut wrong = Vec::new();
    for path in files(&source, "rs") {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let name = path
            .strip_prefix(&source)
            .expect("below src")
            .to_string_lossy()
            .into_owned();
        wrong.extend(check(&name, &text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_text_names_a_place_of_one_machine() {
    let own = root().join("tests/it/tidy.rs");
    let mut looked_at = 0;
    for top in fs::read_dir(root()).expect("a readable directory") {
        let top = top.expect("a readable entry").path();
        let name = top
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let folder = ["scripts", "tests", "benches"].contains(&name.as_str());
        let page = [".md", ".toml"].iter().any(|ending| name.ends_with(ending));
        if !(folder || page && top.is_file()) {
            continue;
        }
        for (path, text) in texts(&top) {
            let wrong = check_places(&path.display().to_string(), &text);
            assert!(path == own || wrong.is_empty(), "{wrong:?}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 40, "only {looked_at} files");
}

#[test]
fn every_integration_test_is_listed_and_opens_with_its_hazard() {
    let tests = root().join("tests/it");
    let main = fs::read_to_string(tests.join("main.rs")).expect("the list of tests");
    for entry in fs::read_dir(&tests).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let module =
            path.extension().is_some_and(|ending| ending == "rs") || path.join("mod.rs").is_file();
        if module && name != "main" {
            assert!(
                main.contains(&format!("mod {name};")),
                "{name} is not listed in main.rs"
            );
        }
    }
    for path in files(&tests, "rs") {
        let text = fs::read_to_string(&path).expect("a source file is text");
        assert!(
            text.starts_with("//!"),
            "{} does not open with //!",
            path.display()
        );
    }
}

#[test]
fn planted_violations_are_caught() {
    let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
    for (path, text, expected) in [
        (
            "types/a.rs",
            "//! A.\nuse crate::graph::Graph;",
            "names graph: it is not below types",
        ),
        (
            "types/a.rs",
            "//! A.\nuse super::super::graph::Graph;",
            "names graph",
        ),
        (
            "types/mod.rs",
            "//! A.\npub use super::graph::Graph;",
            "names graph",
        ),
        (
            "engine/a/b.rs",
            "//! A.\nuse super::super::super::tensormq::Link;",
            "names tensormq",
        ),
        (
            "engine/a.rs",
            "//! A.\nuse crate::{graph::Graph, tensormq::{Link, plan}};",
            "names tensormq",
        ),
        (
            "engine/a.rs",
            "//! A.\nfn a() { crate::actors::go() }",
            "names actors",
        ),
        (
            "tensormq/a.rs",
            "//! A.\nuse crate::engine::Session;",
            "names engine",
        ),
        (
            "plan/a.rs",
            "//! A.\nuse crate::telemetry::metrics;",
            "plan may name graph and types only",
        ),
        (
            "sched/a.rs",
            "//! A.\nuse crate::plan::Plan;",
            "sched may name graph and types only",
        ),
        (
            "serve/a.rs",
            "//! A.\nuse crate::app::Runtime;",
            "names app",
        ),
        ("cli/a.rs", "//! A.\nuse blockflow::main::x;", "names main"),
        (
            "attic/a.rs",
            "//! A.\nuse crate::types::Spec;",
            "attic is no room",
        ),
        (
            "graph/a.rs",
            "//! A.\nuse tch::Tensor;",
            "names tch, whose place is engine/torch/",
        ),
        (
            "engine/builtin.rs",
            "//! A.\nfn a(_: ::tch::Tensor) {}",
            "names tch",
        ),
        (
            "engine/torch/a.rs",
            "//! A.\nuse cudarc::driver;",
            "names cudarc",
        ),
        ("tensormq/link.rs", "//! A.\nuse zmq::Socket;", "names zmq"),
        ("tensormq/link.rs", "//! A.\nuse zmq;", "names zmq"),
        ("cli/a.rs", "//! A.\nuse actix_web::web;", "names actix_web"),
        ("app/a.rs", "//! A.\nuse clap::Parser;", "names clap"),
        (
            "app/a.rs",
            "//! A.\nuse config::Config;",
            "names config, whose place",
        ),
        (
            "app/a.rs",
            "//! A.\nuse toml_edit::Document;",
            "names toml_edit",
        ),
        (
            "app/a.rs",
            "//! A.\n#![expect(unsafe_code, reason = \"x\")]",
            "allows unsafe code",
        ),
        (
            "engine/cuda/a.rs",
            "//! A.\nfn a() { unsafe { b() } }",
            "has unsafe code without",
        ),
        ("app/a.rs", long.as_str(), "has 501 lines"),
        ("app/a.rs", "use std::fs;", "does not open with //!"),
        (
            "app/mod.rs",
            "//! A.\npub fn a() {}",
            "has a fn; mod.rs holds docs",
        ),
        ("app/mod.rs", "//! A.\nimpl A {}", "has a impl"),
        (
            "app/a.rs",
            "//! See /home/somebody/notes.",
            "mentions /home/",
        ),
    ] {
        let wrong = check(path, text);
        assert!(
            wrong.iter().any(|line| line.contains(expected)),
            "{path}: {text}\n{wrong:?}"
        );
    }
}

#[test]
fn what_only_looks_like_a_violation_is_let_through() {
    for (path, text) in [
        (
            "types/a.rs",
            "//! See crate::graph::Graph.\n/* crate::graph */ // use tch::Tensor;",
        ),
        (
            "types/a.rs",
            "//! A.\nconst A: &str = \"crate::graph \\\" unsafe\"; const B: char = '\"';",
        ),
        (
            "types/a.rs",
            "//! A.\nconst A: &str = r#\"use tch::Tensor; \"crate::graph\"\"#;",
        ),
        (
            "types/a.rs",
            "//! A.\nfn a<'a>(x: &'a str) -> char { '\\'' }",
        ),
        ("types/a.rs", "//! A.\nuse super::graph::Graph;"),
        (
            "plan/a.rs",
            "//! A.\nuse crate::{graph::Graph, types::Spec};\nuse super::route;",
        ),
        ("plan/a/b.rs", "//! A.\nuse super::super::engine_like::X;"),
        (
            "app/a.rs",
            "//! A.\nuse crate::config::load;\nuse crate::{config::Locator, plan};",
        ),
        ("app/a.rs", "//! A.\nfn a(config: Spec) { config.server }"),
        (
            "config/a.rs",
            "//! A.\nuse config::Config;\nuse toml_edit::Document;",
        ),
        ("engine/torch/a.rs", "//! A.\nuse tch::Tensor;"),
        (
            "tensormq/socket/io.rs",
            "//! A.\n#![expect(unsafe_code, reason = \"x\")]\nuse zmq::Socket;",
        ),
        (
            "lib.rs",
            "#![doc = include_str!(\"A.md\")]\npub mod config;\npub mod app;",
        ),
        (
            "engine/cuda/a.rs",
            "//! A.\n#![expect(\n    unsafe_code,\n    reason = \"x\"\n)]\nunsafe fn a() {}",
        ),
        ("app/mod.rs", "//! A.\nmod a;\npub use a::A;"),
    ] {
        assert_eq!(check(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
