//! Hosts and processes in a configuration: what is said of them is what is read, and what cannot be is told.

use blockflow::types::{BlockSpec, HostSpec, PublicKey, Spec};

use crate::config::{load_text, load_with, report};

/// Three blocks, each with a line of its own (lines 2, 5 and 8), and one pipeline.
fn blocks(lines: [&str; 3]) -> String {
    let block = |(name, line)| format!("[blocks.{name}]\n{line}\nmodel = \"{name}.onnx\"\n");
    let names = ["main", "a", "b"];
    let blocks: String = names.into_iter().zip(lines).map(block).collect();
    format!("{blocks}[pipelines.p]\nflow = [\"main\", \"a\", \"b\"]\n")
}

pub(crate) fn sound(text: &str) -> Spec {
    let loaded = load_text(text).unwrap_or_else(|refused| panic!("{text}\n{refused:?}"));
    loaded.spec
}

fn place(block: &BlockSpec) -> (Option<&str>, Option<&str>) {
    (block.host.as_deref(), block.process.as_deref())
}

#[test]
fn a_block_lives_where_it_says_and_else_in_the_process_that_the_user_starts() {
    let none = "threads = 1";
    let alone = "isolation = \"process\"";
    let cases: [([&str; 3], [Option<&str>; 3]); 5] = [
        ([none, none, none], [None, None, None]),
        (
            [none, "isolation = \"thread\"", alone],
            [None, None, Some("b")],
        ),
        (
            ["process = \"heads\"", alone, "process = \"heads\""],
            [Some("heads"), Some("a"), Some("heads")],
        ),
        (
            [none, "isolation = \"process\"\nprocess = \"heads\"", none],
            [None, Some("heads"), None],
        ),
        // A group may have the name of a block that is in it, or of one that has no process.
        (
            ["process = \"a\"", "process = \"a\"", "process = \"main2\""],
            [Some("a"), Some("a"), Some("main2")],
        ),
    ];
    for (lines, expected) in cases {
        let spec = sound(&blocks(lines));
        let seen: Vec<_> = spec.blocks.iter().map(place).collect();
        assert_eq!(seen, expected.map(|process| (None, process)), "{lines:?}");
        assert_eq!((spec.server.host, spec.hosts), (None, Vec::new()));
    }
    let lines = [
        "process = \"b\"",
        "process = \"b\"",
        "isolation = \"thread\"",
    ];
    let spec = sound(&blocks(lines));
    assert_eq!(place(&spec.blocks[2]), (None, None));
}

#[test]
fn hosts_keep_their_order_and_take_variables() {
    let text = format!(
        "{}[server]\nhost = \"zoo\"\n[hosts.zoo]\naddress = \"127.0.0.1\"\n\
         [hosts.at-home]\naddress = \"::ffff:127.0.0.2\"\nport = 1\n[hosts.idle]\naddress = \"::1\"\n",
        blocks(["host = \"at-home\"", "threads = 1", "threads = 1"])
    );
    let spec = load_with(&text, &[("BLOCKFLOW_HOSTS__AT_HOME__PORT", "65535")]);
    let spec = spec.expect("sound").spec;
    let host = |name: &str, address: &str, port| HostSpec {
        name: name.into(),
        address: address.parse().expect("an address"),
        port,
        keys: Vec::new(),
    };
    let expected = [
        host("zoo", "127.0.0.1", HostSpec::PORT),
        host("at-home", "127.0.0.2", 65535),
        host("idle", "::1", HostSpec::PORT),
    ];
    assert_eq!(spec.hosts, expected);
    assert_eq!(spec.server.host.as_deref(), Some("zoo"));
    assert_eq!(place(&spec.blocks[0]), (Some("at-home"), None));
    let local = HostSpec::local();
    assert_eq!(local.port, HostSpec::PORT);
    assert!(local.address.is_loopback());
}

/// Checks that a text is refused with these lines, each given by a part of it.
pub(crate) fn refused(text: &str, expected: &[&str]) {
    let lines = report(&load_text(text).expect_err(text));
    assert_eq!(lines.len(), expected.len(), "{text}\n{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(
            line.contains(expected),
            "{text}\nreported {line}\nexpected {expected}"
        );
    }
}

#[test]
fn each_bad_place_is_reported_with_its_line_and_what_would_be_right() {
    let long = format!("process = \"{}\"", "x".repeat(65));
    let quiet = "threads = 1";
    for (lines, expected) in [
        (
            [quiet, "isolation = \"threads\"", quiet],
            &[":5: blocks.a.isolation: is \"threads\"; did you mean \"thread\"?"][..],
        ),
        (
            [quiet, "isolation = \"proces\"\nprocess = \"x\"", quiet],
            &[":5: blocks.a.isolation: is \"proces\"; did you mean \"process\"?"],
        ),
        (
            [quiet, "isolation = \"thread\"\nprocess = \"x\"", quiet],
            &[
                ":6: blocks.a.process: stands beside isolation = \"thread\"; expected isolation = \"process\", or neither",
            ],
        ),
        (
            [quiet, "process = \"main\"", quiet],
            &[
                ":5: blocks.a.process: is \"main\", which is the process that you start; expected another name",
            ],
        ),
        (
            ["isolation = \"process\"", quiet, quiet],
            &[
                ":2: blocks.main.isolation: asks for a process \"main\", which is the one that you start; expected a name for it: process = ",
            ],
        ),
        (
            [quiet, "process = \"a/b\"", "host = \"über\""],
            &[
                ":5: blocks.a.process: is named \"a/b\"; expected letters, digits",
                ":8: blocks.b.host: is named \"über\"; expected letters, digits",
            ],
        ),
        ([quiet, &long, quiet], &[", 64 characters at most"]),
        (
            [quiet, "process = 7", "host = []"],
            &[
                ":5: blocks.a.process: is 7; expected a name for the process",
                ":8: blocks.b.host: is an empty list; expected the name of a host",
            ],
        ),
        (
            [
                "process = \"a\"",
                "isolation = \"process\"",
                "process = \"a\"",
            ],
            &[
                ":2: blocks.main.process: is \"a\", the process of a block that asks to be alone; expected another name, or process = \"a\" for that block too",
                ":8: blocks.b.process: is \"a\", the process of a block that asks to be alone",
            ],
        ),
        (
            [quiet, "isolaton = \"process\"", quiet],
            &[
                ":5: blocks.a.isolaton: is no key of a block with an ONNX or .pt2 model; did you mean \"isolation\"?",
            ],
        ),
    ] {
        refused(&blocks(lines), expected);
    }
}

#[test]
fn each_bad_host_is_reported_with_its_line_and_what_would_be_right() {
    for (text, expected) in [
        (
            "[hosts.a]\n",
            &[":1: hosts.a.address: is missing; expected an IP address such as \"127.0.0.1\""][..],
        ),
        (
            "[hosts.a]\naddress = \"edge.local\"\n",
            &[":2: hosts.a.address: is \"edge.local\"; expected an IP address"],
        ),
        (
            "[hosts.a]\naddress = \"127.0.0.1:5600\"\n",
            &[":2: hosts.a.address: is \"127.0.0.1:5600\"; expected an IP address"],
        ),
        (
            "[hosts.a]\naddress = \"0.0.0.0\"\n[hosts.b]\naddress = \"ff02::1\"\n",
            &[
                ":2: hosts.a.address: is 0.0.0.0, which is no host's own; expected the address that other hosts reach it by",
                ":4: hosts.b.address: is ff02::1, which is no host's own",
            ],
        ),
        (
            "[hosts.a]\naddress = \"127.0.0.1\"\nport = 0\n[hosts.b]\naddress = \"::1\"\nport = 65536\n",
            &[
                ":3: hosts.a.port: is 0; expected a whole number from 1 to 65535",
                ":6: hosts.b.port: is 65536; expected a whole number from 1 to 65535",
            ],
        ),
        (
            "[hosts.a]\naddress = \"127.0.0.1\"\nports = 5600\n",
            &[":3: hosts.a.ports: is no key of a host; did you mean \"port\"?"],
        ),
        (
            "[hosts.\"a b\"]\naddress = \"127.0.0.1\"\n",
            &[":1: hosts.a b: is named \"a b\"; expected letters, digits"],
        ),
        ("hosts = 3\n", &[":1: hosts: is 3; expected a table"]),
        (
            "[host.a]\naddress = \"127.0.0.1\"\n",
            &[":1: host: is no section of a configuration; did you mean \"hosts\"?"],
        ),
        (
            "[server]\nhost = \"a b\"\n",
            &[":2: server.host: is named \"a b\"; expected letters, digits"],
        ),
    ] {
        refused(text, expected);
    }
}

#[test]
fn a_host_has_a_key_or_several_and_each_bad_one_is_reported() {
    // Each character that TOML or a shell might trip over is in one of them.
    let keys = [
        "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    ];
    let parsed = keys.map(|key| key.parse::<PublicKey>().expect("a key"));
    let list = format!("[\"{}\", \"{}\"]", keys[0], keys[1]);
    let text = |value: &str| format!("[hosts.a]\naddress = \"127.0.0.1\"\nkey = {value}\n");
    let flow = "[blocks.b]\nmodel = \"b.onnx\"\n[pipelines.p]\nflow = [\"b\"]\n";
    let one = format!("{}{flow}", text(&format!("\"{}\"", keys[1])));
    assert_eq!(sound(&one).hosts[0].keys, parsed[1..]);
    let both = format!("{}{flow}", text(&list));
    assert_eq!(sound(&both).hosts[0].keys, parsed);
    for value in [keys[0], list.as_str()] {
        let spec = load_with(&one, &[("BLOCKFLOW_HOSTS__A__KEY", value)]).expect("sound");
        assert!(spec.spec.hosts[0].keys.contains(&parsed[0]), "{value}");
    }
    let expected = "expected what `blockflow keys show` prints on that host";
    for (value, told) in [
        (
            "\"short\"",
            format!(":3: hosts.a.key: is \"short\"; {expected}"),
        ),
        ("7", format!(":3: hosts.a.key: is 7; {expected}")),
        (
            "[]",
            ":3: hosts.a.key: is a list of 0 keys; expected 1 to 4 of them".into(),
        ),
        ("[3]", format!("hosts.a.key[0]: is 3; {expected}")),
    ] {
        refused(&text(value), &[told.as_str()]);
    }
}

#[test]
fn what_names_an_unsound_host_is_not_wrong_for_it() {
    let text = format!(
        "{}[hosts.far]\naddress = \"0.0.0.0\"\n[hosts.near]\naddress = \"127.0.0.1\"\n",
        blocks(["host = \"far\"", "threads = 1", "threads = 1"])
    );
    refused(&text, &["hosts.far.address: is 0.0.0.0"]);
}
