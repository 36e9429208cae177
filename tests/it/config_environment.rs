//! Variables of the environment override the file, and those that name nothing are reported.

use std::net::SocketAddr;
use std::time::Duration;

use blockflow::types::{Device, FlowSpec, Optimize, Pass, Passes, SourceSpec};

use blockflow::config::load;

use crate::config::{load_with, report, sound};

const FILE: &str = "\
[server]
http = \"127.0.0.1:1\"
[blocks.back-bone]
model = \"a.onnx\"
threads = 2
batch = { max = 4, wait_ms = 7 }
[blocks.head]
model = \"b.onnx\"
[pipelines.p]
flow = [\"back-bone\", \"head\"]
";

#[test]
fn defaults_yield_to_the_file_and_the_file_to_the_environment() {
    let bare = load_with("", &[]).expect("defaults are sound").spec;
    assert_eq!(bare.server.http, SocketAddr::from(([127, 0, 0, 1], 8000)));

    let file = load_with(FILE, &[]).expect("sound").spec;
    assert_eq!(file.server.http.port(), 1);
    assert_eq!(file.server.workers, bare.server.workers);

    let both = load_with(FILE, &[("BLOCKFLOW_SERVER__HTTP", "0.0.0.0:2")])
        .expect("sound")
        .spec;
    assert_eq!(both.server.http, SocketAddr::from(([0, 0, 0, 0], 2)));
}

#[test]
fn a_variable_reaches_into_a_block_and_leaves_its_other_keys_alone() {
    let variables = [
        ("BLOCKFLOW_BLOCKS__BACK_BONE__BATCH__MAX", "8"),
        ("BLOCKFLOW_BLOCKS__BACK_BONE__DEVICE", "cuda:1"),
        ("BLOCKFLOW_BLOCKS__HEAD__INSTANCES", "3"),
        ("BLOCKFLOW_PIPELINES__P__DEADLINE_MS", "2.5"),
        ("PATH", "/bin"),
        ("BLOCKFLOW_REQUIRE_GPU", "1"),
    ];
    let spec = load_with(FILE, &variables).expect("sound").spec;
    let [backbone, head] = &spec.blocks[..] else {
        panic!("{:?}", spec.blocks)
    };
    assert_eq!(backbone.batch.rows_max, 8);
    assert_eq!(backbone.batch.wait, Duration::from_millis(7));
    assert_eq!(backbone.device, Device::Cuda(1));
    assert_eq!(backbone.threads, 2);
    assert_eq!(head.instances, 3);
    assert_eq!(spec.pipelines[0].deadline, Duration::from_micros(2500));
}

#[test]
fn passes_are_chosen_by_level_and_by_name() {
    let variables = [
        ("BLOCKFLOW_BLOCKS__HEAD__OPTIMIZE", "fast"),
        ("BLOCKFLOW_BLOCKS__HEAD__PASSES_OFF", "['fuse-attention']"),
    ];
    let spec = load_with(FILE, &variables).expect("sound").spec;
    let SourceSpec::Graph { passes, .. } = &spec.blocks[1].source else {
        panic!("no model")
    };
    let expected = Passes::of(Optimize::Fast).without(Pass::FuseAttention);
    assert_eq!(*passes, expected);
}

#[test]
fn lists_and_tables_are_written_as_in_toml() {
    let variables = [
        ("BLOCKFLOW_PIPELINES__P__FLOW", "[\"head\"]"),
        ("BLOCKFLOW_BLOCKS__HEAD__OUTPUTS", "['y', 'z']"),
        ("BLOCKFLOW_BLOCKS__HEAD__BATCH", "{ max = 9 }"),
    ];
    let spec = load_with(FILE, &variables).expect("sound").spec;
    assert_eq!(spec.pipelines[0].flow, FlowSpec::Chain(vec!["head".into()]));
    let SourceSpec::Graph { outputs, .. } = &spec.blocks[1].source else {
        panic!("no model")
    };
    assert_eq!(
        outputs.as_deref(),
        Some(&["y".to_owned(), "z".to_owned()][..])
    );
    assert_eq!(spec.blocks[1].batch.rows_max, 9);
}

#[test]
fn a_text_stays_text_even_if_it_looks_like_something_else() {
    let spec = load_with(FILE, &[("BLOCKFLOW_LOG__FILTER", "5")])
        .expect("sound")
        .spec;
    assert_eq!(spec.log.filter, "5");
}

#[test]
fn a_bad_value_is_reported_under_the_name_of_its_variable() {
    for (variable, text, expected) in [
        (
            "BLOCKFLOW_SERVER__HTTP",
            "x",
            ": server.http: is \"x\"; expected an address",
        ),
        (
            "BLOCKFLOW_SERVER__WORKERS",
            "many",
            ": server.workers: is \"many\"; expected a whole",
        ),
        (
            "BLOCKFLOW_SERVER__WORKERS",
            "",
            ": server.workers: is \"\"; expected a whole number",
        ),
        (
            "BLOCKFLOW_SERVER__WORKERS",
            "1\nx = 2",
            ": server.workers: is \"1\\nx = 2\"; expected",
        ),
        (
            "BLOCKFLOW_SERVER__HTP",
            "x",
            ": server.htp: is no key of [server]; did you mean \"http\"?",
        ),
        (
            "BLOCKFLOW_SERVER",
            "x",
            ": server: names no key; expected BLOCKFLOW_SECTION__KEY",
        ),
        (
            "BLOCKFLOW_SERVER_HTTP",
            "x",
            "names no key; did you mean BLOCKFLOW_SERVER__HTTP?",
        ),
        (
            "BLOCKFLOW_SERVR__HTTP",
            "x",
            "names no key; did you mean BLOCKFLOW_SERVER__HTTP?",
        ),
        (
            "BLOCKFLOW_QUUX",
            "x",
            "names no key; expected BLOCKFLOW_SECTION__KEY",
        ),
        (
            "BLOCKFLOW_",
            "x",
            "names no key; expected BLOCKFLOW_SECTION__KEY",
        ),
        (
            "BLOCKFLOW_BLOCK__HEAD__DEVICE",
            "x",
            "did you mean BLOCKFLOW_BLOCKS__HEAD__DEVICE?",
        ),
        (
            "BLOCKFLOW_BLOCKS__HED__DEVICE",
            "cpu",
            "names no block of the file; did you mean \"head\"?",
        ),
        (
            "BLOCKFLOW_BLOCKS__OTHER__DEVICE",
            "cpu",
            "names no block of the file; expected one of back-bone, head",
        ),
        (
            "BLOCKFLOW_BLOCKS__HEAD",
            "cpu",
            "names a block, not a key; append __ and the key",
        ),
        ("BLOCKFLOW_BLOCKS__HEAD__", "cpu", "names no key"),
        (
            "BLOCKFLOW_BLOCKS__HEAD__DEVISE",
            "cpu",
            "is no key of a block with an ONNX or .pt2 model; did you mean",
        ),
        (
            "BLOCKFLOW_BLOCKS__HEAD__BATCH__MAX__X",
            "1",
            "blocks.head.batch.max: is a table; expected a whole",
        ),
    ] {
        let error = load_with(FILE, &[(variable, text)]).expect_err(variable);
        let lines = report(&error);
        assert_eq!(lines.len(), 1, "{variable}: {lines:?}");
        let begins = lines[0].starts_with(&format!("environment {variable}: "));
        assert!(
            begins && lines[0].contains(expected),
            "{variable}: {lines:?}"
        );
    }
}

#[test]
fn file_and_environment_are_reported_together_the_file_first() {
    let text = "[server]\nworkers = 0\nhttp = \"x\"\n";
    let variables = [
        ("BLOCKFLOW_LOG__FORMAT", "xml"),
        ("BLOCKFLOW_SERVER__HTTP", "y"),
    ];
    let lines = report(&load_with(text, &variables).expect_err("three problems"));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].starts_with("blocks.toml:2: server.workers: is 0"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("environment BLOCKFLOW_LOG__FORMAT: log.format"),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with("environment BLOCKFLOW_SERVER__HTTP: server.http"),
        "{lines:?}"
    );
}

#[test]
fn two_blocks_that_one_variable_could_mean_are_told_apart_by_nobody() {
    let text = "[blocks.a-b]\nmodel = \"a.onnx\"\n[blocks.a_b]\nmodel = \"b.onnx\"\n";
    let error = load_with(text, &[("BLOCKFLOW_BLOCKS__A_B__THREADS", "2")]).expect_err("unclear");
    assert!(
        report(&error)[0].contains("may mean any of [\"a-b\", \"a_b\"]"),
        "{error:?}"
    );
}

#[test]
fn a_name_that_grows_or_shrinks_in_lower_case_is_no_panic() {
    // The Kelvin sign and the dotted capital I change their length in bytes.
    for name in ["\u{212A}", "\u{130}"] {
        let text = format!("[blocks.\"{name}\"]\nmodel = \"a.onnx\"\n");
        for variable in [
            "BLOCKFLOW_BLOCKS__K__A".to_owned(),
            "BLOCKFLOW_BLOCKS__K__\u{e9}".to_owned(),
            format!("BLOCKFLOW_BLOCKS__{name}__THREADS"),
        ] {
            load_with(&text, &[(&variable, "2")]).expect_err("the name is not allowed");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_not_utf_8_is_reported_if_it_is_ours_and_else_let_be() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    let directory = tempfile::tempdir().expect("a directory for the test");
    let path = directory.path().join("blocks.toml");
    std::fs::write(&path, FILE).expect("the test's file is written");
    let load_one = |name: &[u8], text: &[u8]| {
        let text = OsString::from_vec(text.to_vec());
        let variable = (OsString::from_vec(name.to_vec()), text);
        sound(load(&path, std::iter::once(variable)))
    };
    load_one(b"OTHER", b"\xff").expect("not ours");
    load_one(b"OTHER\xff", b"x").expect("not ours");
    for (name, text, expected) in [
        (
            &b"BLOCKFLOW_LOG__FILTER"[..],
            &b"\xff"[..],
            "environment BLOCKFLOW_LOG__FILTER: log.filter: is not UTF-8; expected text",
        ),
        (
            b"BLOCKFLOW_LOG\xff",
            b"x",
            "names no key; did you mean BLOCKFLOW_LOG__",
        ),
    ] {
        let lines = report(&load_one(name, text).expect_err("ours"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(expected), "{lines:?}");
    }
}
