//! `blockflow keys`, the file of the secret key, and what a configuration has to say of keys.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::cli::{blockflow, stderr};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes a key in a file; returns the public one.
pub(crate) fn make(path: &Path) -> String {
    let output = blockflow(&["keys", "new", "--key-file", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).trim_end().to_owned()
}

fn show(path: &Path) -> Output {
    blockflow(&["keys", "show", "--key-file", path.to_str().unwrap()])
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_only_its_public_part_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/key");
    let public = make(&path);
    assert_eq!(public.len(), 40);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(stdout(&show(&path)).trim_end(), public);
    let text = fs::read_to_string(&path).unwrap();
    let secret = text.lines().last().unwrap();
    assert_ne!(secret, public);
    let again = blockflow(&["keys", "new", "--key-file", path.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("there is a secret key"));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_ne!(make(&directory.path().join("another")), public);
}

#[test]
fn the_usual_place_is_the_folder_of_the_users_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let keys = |action: &str| {
        Command::new(env!("CARGO_BIN_EXE_blockflow"))
            .args(["keys", action])
            .env("XDG_CONFIG_HOME", directory.path())
            .output()
            .unwrap()
    };
    let missing = stderr(&keys("show"));
    assert!(missing.contains("run `blockflow keys new`"), "{missing}");
    let public = stdout(&keys("new"));
    assert!(directory.path().join("blockflow/key").is_file());
    assert_eq!(stdout(&keys("show")), public);
}

#[test]
fn what_others_can_read_or_is_no_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    make(&path);
    for mode in [0o640, 0o604, 0o660, 0o622, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let output = show(&path);
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        assert!(told.contains(&format!("(mode {mode:o})")), "{told}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let sound = fs::read_to_string(&path).unwrap();
    let secret = sound.lines().last().unwrap().to_owned();
    for text in [
        String::new(),
        "# nothing\n".to_owned(),
        secret[1..].to_owned(),
        format!("{secret}\n{secret}\n"),
        "x".repeat(1 << 20),
    ] {
        fs::write(&path, text).unwrap();
        let told = stderr(&show(&path));
        assert!(told.contains("is no secret key"), "{told}");
        assert!(!told.contains(&secret[1..]), "{told}");
    }
    let told = stderr(&show(directory.path()));
    assert!(told.contains("is no secret key"), "{told}");
}

#[test]
fn keys_are_asked_for_where_links_leave_the_machine_and_are_each_hosts_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("blocks.toml");
    let tensor =
        |name: &str| format!("[{{ name = \"{name}\", datatype = \"FP32\", shape = [1] }}]");
    let block = format!(
        "[blocks.b]\nmock = {{ inputs = {}, outputs = {} }}\n[pipelines.p]\nflow = [\"b\"]\n",
        tensor("x"),
        tensor("y")
    );
    let keys = ["one", "two"].map(|name| make(&directory.path().join(name)));
    let key = |index: usize| format!("key = '{}'\n", keys[index]);
    let check = |hosts: [(&str, String); 2], expected: &[&str]| {
        let hosts = hosts.map(|(address, rest)| format!("address = \"{address}\"\n{rest}"));
        let text = format!("[hosts.a]\n{}[hosts.b]\n{}{block}", hosts[0], hosts[1]);
        fs::write(&config, &text).unwrap();
        let output = blockflow(&["check", config.to_str().unwrap()]);
        let told = stdout(&output);
        let code = if expected.is_empty() { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{text}\n{told}");
        for part in expected {
            assert!(told.contains(part), "{text}\n{told}");
        }
    };
    let none = String::new;
    check([("127.0.0.1", none()), ("127.0.0.2", none())], &[]);
    check([("127.0.0.1", key(0)), ("10.0.0.2", key(1))], &[]);
    for address in ["10.0.0.2", "fd00::2", "::ffff:8.8.8.8"] {
        check(
            [("127.0.0.1", none()), (address, none())],
            &[
                "hosts.a.key: is missing, and host \"b\" is beyond this machine, so that links have to be encrypted; expected what `blockflow keys new` prints",
                "hosts.b.key: is missing",
            ],
        );
    }
    check(
        [("127.0.0.1", key(0)), ("127.0.0.2", none())],
        &["hosts.b.key: is missing, and host \"a\" has one"],
    );
    check(
        [("127.0.0.1", key(0)), ("127.0.0.2", key(0))],
        &["hosts.b.key: is a key of host \"a\" too; expected a key for each host"],
    );
}
