//! What a server remembers of the epochs it applied: numbers go on, a bad file is served from it, and whatever is wrong with it
//! never stops serving.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use blockflow::app::Journal;
use serde_json::Value;
use tempfile::TempDir;

use crate::reloads::{Chain, steps};
use crate::support::server::{BINARY, STATES, Server};
use crate::support::until;

/// A configuration, and a state directory that outlives its servers.
pub(crate) struct Site {
    pub(crate) chain: Chain,
    directory: TempDir,
}

impl Site {
    pub(crate) fn new(length: usize) -> Self {
        Self {
            chain: Chain::new(length),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn try_start(&self, arguments: &[&str]) -> Result<Server, String> {
        self.try_start_by(Command::new(BINARY), arguments)
    }

    pub(crate) fn try_start_by(
        &self,
        command: Command,
        arguments: &[&str],
    ) -> Result<Server, String> {
        let state = self.state().display().to_string();
        let all = [&["--state", &state], arguments].concat();
        Server::try_start(command, &self.chain.path(), &all)
    }

    pub(crate) fn start(&self) -> Server {
        self.try_start(&["--no-watch"])
            .unwrap_or_else(|told| panic!("the server ended: {told}"))
    }

    /// Runs a command for the server of this site.
    pub(crate) fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(self.chain.path());
        command.arg("--state").arg(self.state()).output().unwrap()
    }

    /// Runs a command; returns its exit code and the JSON of its result.
    pub(crate) fn asked(&self, words: &[&str]) -> (i32, Value) {
        let output = self.command(&[words, &["--format", "json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("{words:?}: {error}: {text:?}, {said}")
        });
        (output.status.code().unwrap(), value)
    }

    /// Returns the epochs of the history, each with what it was applied for, and the one of now.
    pub(crate) fn epochs(&self) -> (Vec<(u64, String)>, Option<u64>) {
        let (code, history) = self.asked(&["history"]);
        assert_eq!(code, 0, "{history}");
        let epochs = history["epochs"].as_array().unwrap();
        let number = |epoch: &Value| epoch["epoch"].as_u64().unwrap();
        let current = epochs.iter().find(|epoch| epoch["current"] == true);
        let named = epochs.iter().map(|epoch| {
            let trigger = epoch["trigger"].as_str().unwrap();
            (number(epoch), trigger.to_owned())
        });
        (named.collect(), current.map(number))
    }

    /// Waits until the first epoch of a server is recorded.
    pub(crate) fn until_recorded(&self, epoch: u32) {
        until("the epoch is recorded", || self.record(epoch).exists());
    }

    fn record(&self, epoch: u32) -> PathBuf {
        self.state().join(format!("epochs/{epoch:08}.json"))
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A block whose model looks like one until it is loaded.
fn unloadable(site: &Site) -> String {
    let model = site.chain.path().with_file_name("code.pt");
    fs::write(
        model,
        b"PK\x03\x04 and nothing that a program could be read from",
    )
    .unwrap();
    let tensor =
        |name: &str| format!("[{{ name = \"{name}\", datatype = \"UINT8\", shape = [1, 4] }}]");
    format!(
        "[blocks.b0]\nmodel = \"code.pt\"\ntrust = true\ninputs = {}\noutputs = {}\n[pipelines.p]\nflow = [\"b0\"]\n",
        tensor("t0"),
        tensor("t1")
    )
}

#[test]
fn applied_epochs_are_recorded_and_their_numbers_go_on() {
    let site = Site::new(1);
    let server = site.start();
    site.until_recorded(1);
    assert_eq!(mode(&site.state()), 0o700);
    assert_eq!(mode(&site.record(1)), 0o600);
    site.chain.write(2, "");
    assert_eq!(server.load("p").status, 200);
    let named = |number, trigger: &str| (number, trigger.to_owned());
    let two = vec![named(1, "start"), named(2, "load")];
    assert_eq!(site.epochs(), (two.clone(), Some(2)));
    server.stop();
    assert_eq!(site.epochs(), (two.clone(), Some(2)));
    // What was served last is what is configured: no other epoch.
    let server = site.start();
    assert_eq!((server.epoch(), steps(&server, 1)), (2, Ok(2)));
    assert_eq!(server.load("p").status, 200);
    assert_eq!(site.epochs(), (two, Some(2)));
    server.stop();
    site.chain.write(3, "");
    let server = site.start();
    assert_eq!((server.epoch(), steps(&server, 1)), (3, Ok(3)));
    site.until_recorded(3);
    let (_, history) = site.asked(&["history"]);
    assert_eq!(history["running"], true);
    assert!(
        history["epochs"][1]["changes"][0]
            .as_str()
            .unwrap()
            .contains("b1: added")
    );
}

#[test]
fn only_the_last_epochs_are_kept() {
    let site = Site::new(1);
    let server = site.start();
    for epoch in 2..=20 {
        site.chain.write(
            1 + epoch % 2,
            &format!("[limits]\nin_flight_max = {epoch}\n"),
        );
        assert_eq!(server.load("p").status, 200);
    }
    let (epochs, current) = site.epochs();
    let numbers: Vec<u64> = epochs.into_iter().map(|(number, _)| number).collect();
    assert_eq!((numbers, current), ((5..=20).collect(), Some(20)));
    assert!(!site.record(4).exists());
}

#[test]
fn a_server_with_a_bad_file_serves_the_last_epoch_until_the_file_is_good() {
    let site = Site::new(1);
    let bad = "[blocks.b0]\nmodle = 1\n[pipelines.p]\nflow = [\"b0\"]\n";
    fs::write(site.chain.path(), bad).unwrap();
    let refused = site.try_start(&[]).err().unwrap();
    assert!(refused.contains("exit status: 3"), "{refused}");
    site.chain.write(2, "");
    let server = site.start();
    site.until_recorded(1);
    assert_eq!(server.metric("blockflow_previous_epoch_served"), 0);
    server.stop();
    for text in [bad, "[blocks", &unloadable(&site)] {
        fs::write(site.chain.path(), text).unwrap();
        let refused = site.try_start(&["--strict"]).err().unwrap();
        let code = if text.contains("code.pt") { 4 } else { 3 };
        assert!(
            refused.contains(&format!("exit status: {code}")),
            "{refused}"
        );
        let server = site.start();
        assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 1));
        assert_eq!(server.metric("blockflow_previous_epoch_served"), 1);
        let told = server.load("p");
        assert_eq!((told.status, server.epoch()), (400, 1), "{}", told.text());
        let log = server.stop();
        assert!(log.contains("the last epoch that was applied is"), "{log}");
        let reason = match text {
            "[blocks" => "blocks.toml:1",
            text if text.contains("modle") => "did you mean \\\"model\\\"?",
            _ => "block \\\"b0\\\" could not be prepared",
        };
        assert!(log.contains(reason), "{reason} not in {log}");
    }
    fs::write(site.chain.path(), bad).unwrap();
    let server = site.try_start(&[]).unwrap();
    assert_eq!(steps(&server, 1), Ok(2));
    site.chain.write(3, "");
    until("the good file is served", || steps(&server, 1) == Ok(3));
    assert_eq!(server.metric("blockflow_previous_epoch_served"), 0);
    assert_eq!(server.epoch(), 2);
}

#[test]
fn the_good_file_may_be_the_one_of_before() {
    let site = Site::new(2);
    let server = site.start();
    site.until_recorded(1);
    server.stop();
    fs::remove_file(site.chain.path()).unwrap();
    let server = site.start();
    assert_eq!(server.metric("blockflow_previous_epoch_served"), 1);
    site.chain.write(2, "");
    assert_eq!(server.load("p").status, 200);
    assert_eq!((server.epoch(), steps(&server, 1)), (1, Ok(2)));
    assert_eq!(server.metric("blockflow_previous_epoch_served"), 0);
}

#[test]
fn a_state_directory_that_cannot_be_used_costs_the_history_alone() {
    let site = Site::new(1);
    let other = site.start();
    site.until_recorded(1);
    let file = site.chain.path().with_file_name("file");
    fs::write(&file, "not a directory").unwrap();
    let cases = [
        (site.state(), "another server has the state directory"),
        (file.clone(), "make the state directory"),
        (file.join("below"), "make the state directory"),
        ("/proc/nowhere".into(), "make the state directory"),
    ];
    for (state, reason) in cases {
        let state = state.display().to_string();
        let arguments = ["--no-watch", "--state", &state];
        let chain = Chain::new(1);
        let server = Server::start_with(&chain.path(), &arguments);
        assert_eq!(server.metric("blockflow_history_kept"), 0);
        chain.write(2, "");
        assert_eq!(server.load("p").status, 200);
        assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 2));
        let log = server.stop();
        assert!(log.contains(reason) && log.contains(&state), "{log}");
        assert_eq!(log.matches("no history is kept").count(), 1, "{log}");
    }
    assert_eq!(other.metric("blockflow_history_kept"), 1);
    other.stop();
    // Neither of these variables says where to keep it.
    let mut command = Command::new(BINARY);
    command.env_remove("HOME").env(STATES, "relative");
    let server = Server::try_start(command, &site.chain.path(), &["--no-watch"]).unwrap();
    assert_eq!(steps(&server, 1), Ok(1));
    assert!(server.stop().contains("pass --state"));
}

#[test]
fn a_full_disk_costs_the_record_of_an_epoch_and_not_the_epoch() {
    let site = Site::new(1);
    let server = site.start();
    site.until_recorded(1);
    let limit = |bytes: &str| {
        let mut command = Command::new("prlimit");
        let process = format!("--pid={}", server.id());
        let set = command
            .arg(process)
            .arg(format!("--fsize={bytes}:"))
            .status();
        assert!(set.unwrap().success());
    };
    limit("100");
    site.chain.write(2, "");
    let (code, answer) = site.asked(&["reload"]);
    assert_eq!(
        (code, &answer["outcome"]),
        (0, &"applied".into()),
        "{answer}"
    );
    assert!(
        answer["unrecorded"]
            .as_str()
            .unwrap()
            .contains("00000002.json"),
        "{answer}"
    );
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 2));
    assert_eq!(server.metric("blockflow_epochs_unrecorded_total"), 1);
    assert_eq!(site.epochs().0.len(), 1);
    let left: Vec<_> = fs::read_dir(site.state().join("epochs")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing half written stays");
    limit("unlimited");
    site.chain.write(3, "");
    let (code, answer) = site.asked(&["reload"]);
    assert_eq!((code, &answer["unrecorded"]), (0, &Value::Null), "{answer}");
    assert_eq!(site.epochs().1, Some(3));
}

#[test]
fn records_that_are_not_what_was_written_are_skipped_aloud() {
    let site = Site::new(1);
    let server = site.start();
    for length in [2, 3, 4] {
        site.chain.write(length, "");
        assert_eq!(server.load("p").status, 200);
    }
    server.stop();
    let whole = fs::read(site.record(4)).unwrap();
    fs::write(site.record(4), &whole[..whole.len() / 2]).unwrap();
    let other = fs::read_to_string(site.record(3)).unwrap();
    let newer = other.replacen("\"version\":1", "\"version\":2", 1);
    fs::write(site.record(3), newer).unwrap();
    // A name says which epoch it is, and this is none of them.
    fs::copy(site.record(1), site.record(9)).unwrap();
    fs::write(site.chain.path(), "[blocks").unwrap();
    let (_, history) = site.asked(&["history"]);
    let skipped = history["skipped"].to_string();
    for reason in [
        "00000004.json is no record",
        "00000003.json has version 2, this program reads version 1",
        "00000009.json is no record of an epoch: it is of epoch 1",
    ] {
        assert!(skipped.contains(reason), "{reason} not in {skipped}");
    }
    let server = site.start();
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 10));
    let log = server.stop();
    assert_eq!(
        log.matches("a record of the history is skipped").count(),
        3,
        "{log}"
    );
}

#[test]
fn no_bytes_in_the_place_of_a_record_are_taken_for_one() {
    let site = Site::new(1);
    let server = site.start();
    site.until_recorded(1);
    server.stop();
    let whole = fs::read(site.record(1)).unwrap();
    let journal = Journal::look(site.state());
    let sound = journal.recorded().records;
    assert_eq!(sound.len(), 1);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..500 {
        let mut bytes = whole.clone();
        match random.u8(..3) {
            0 => bytes.truncate(random.usize(..whole.len() - 1)),
            1 => {
                let place = random.usize(..whole.len() - 1);
                bytes[place] ^= 1 << random.u8(..8);
            }
            _ => bytes = std::iter::repeat_with(|| random.u8(..)).take(999).collect(),
        }
        fs::write(site.record(1), &bytes).unwrap();
        let recorded = journal.recorded();
        // What is read as the same may be written otherwise, such as white space.
        assert!(
            recorded.records.is_empty() || recorded.records == sound,
            "{:?}",
            recorded.records
        );
        assert_eq!(recorded.records.len() + recorded.skipped.len(), 1);
    }
    // A file that never ends is not read to its end.
    fs::remove_file(site.record(1)).unwrap();
    std::os::unix::fs::symlink("/dev/zero", site.record(1)).unwrap();
    assert_eq!(journal.recorded().skipped.len(), 1);
    fs::remove_file(site.record(1)).unwrap();
    let long = fs::File::create(site.record(1)).unwrap();
    long.set_len(1 << 30).unwrap();
    assert!(
        journal.recorded().skipped[0]
            .to_string()
            .contains("longer than")
    );
}
