//! Hosts that know each other by keys: nobody else is let in, and keys are replaced while requests flow.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::cli::{blockflow, stderr};
use crate::hosts::{Hosts, ask, ask_for, unready, until_ready};
use crate::keys;
use crate::support::server::Server;
use crate::support::until;

/// Two hosts with a key each. The block `far` has a process of its own.
struct Keyed {
    hosts: Hosts,
    /// Of the front, then of the back.
    public: [String; 2],
}

const NAMES: [&str; 2] = ["front", "back"];

impl Keyed {
    fn new() -> Self {
        let hosts = Hosts::new();
        let public = NAMES.map(|name| keys::make(&hosts.path(&format!("{name}.key"))));
        let keyed = Self { hosts, public };
        keyed.write([
            format!("'{}'", keyed.public[0]),
            format!("'{}'", keyed.public[1]),
        ]);
        keyed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.hosts.path(name)
    }

    /// Writes the configuration of both hosts with these keys.
    fn write(&self, keys: [String; 2]) {
        let mut text = self.hosts.text();
        for (name, key) in NAMES.into_iter().zip(keys) {
            let header = format!("[hosts.{name}]\n");
            text = text.replace(&header, &format!("{header}key = {key}\n"));
        }
        let far = "[blocks.far]\n";
        text = text.replace(far, &format!("{far}isolation = \"process\"\n"));
        for name in NAMES {
            fs::write(self.path(&format!("{name}.toml")), &text).unwrap();
        }
    }

    fn start(&self, name: &str) -> Server {
        self.start_with(name, &format!("{name}.key"))
    }

    fn start_with(&self, name: &str, key: &str) -> Server {
        let key = self.path(key);
        let arguments = ["--host", name, "--key-file", key.to_str().unwrap()];
        Server::start_with(&self.path(&format!("{name}.toml")), &arguments)
    }
}

#[test]
fn hosts_with_keys_answer_and_a_stranger_in_place_of_one_does_not() {
    let keyed = Keyed::new();
    let front = keyed.start("front");
    {
        let _back = keyed.start("back");
        until_ready(&front);
        for value in 0..20 {
            assert_eq!(ask(&front, "away", value), (200, true));
        }
    }
    unready(&front, "was lost");

    // Somebody else listens where the other host was: with all the configuration, but its own key.
    let stranger = keys::make(&keyed.path("stranger.key"));
    let path = keyed.path("back.toml");
    let sound = fs::read_to_string(&path).unwrap();
    fs::write(&path, sound.replace(&keyed.public[1], &stranger)).unwrap();
    {
        let _stranger = keyed.start_with("back", "stranger.key");
        until("the stranger is counted", || {
            let page = front.get("/metrics").text();
            page.contains("blockflow_strangers_refused_total ")
        });
        assert_eq!(ask(&front, "away", 1).0, 503);
        assert_eq!(ask(&front, "home", 1), (200, true));
    }

    fs::write(&path, sound).unwrap();
    let _back = keyed.start("back");
    until_ready(&front);
    assert_eq!(ask(&front, "away", 1), (200, true));
}

#[test]
fn a_host_does_not_start_without_its_own_key() {
    let keyed = Keyed::new();
    let config = keyed.path("back.toml");
    let run = |key: &str| {
        let key = keyed.path(key);
        let output = blockflow(&[
            "run",
            config.to_str().unwrap(),
            "--host",
            "back",
            "--key-file",
            key.to_str().unwrap(),
        ]);
        assert_eq!(output.status.code(), Some(4));
        stderr(&output)
    };
    let told = run("front.key");
    assert!(
        told.contains("which is no key of host \"back\"") && told.contains(&keyed.public[0]),
        "{told}"
    );
    let told = run("none.key");
    assert!(told.contains("run `blockflow keys new`"), "{told}");
}

#[test]
fn keys_are_replaced_while_requests_flow_and_none_is_lost() {
    let keyed = Keyed::new();
    let front = keyed.start("front");
    let mut back = keyed.start("back");
    until_ready(&front);
    let new = NAMES.map(|name| keys::make(&keyed.path(&format!("{name}.new"))));
    let done = AtomicBool::new(false);
    let asked = AtomicBool::new(false);
    let flow = |what: &str| {
        // Two rounds of answers that were asked for after this.
        for _ in 0..2 {
            asked.store(false, Ordering::SeqCst);
            until(what, || asked.load(Ordering::SeqCst));
        }
    };
    thread::scope(|scope| {
        let client = || {
            let mut count = 0_u8;
            while !done.load(Ordering::SeqCst) {
                let response = ask_for(&front, "away", count);
                assert_eq!(response.status, 200, "{}", response.text());
                assert_eq!(response.binary()[0], count.wrapping_add(3));
                asked.store(true, Ordering::SeqCst);
                count = count.wrapping_add(1);
            }
        };
        let clients = [scope.spawn(client), scope.spawn(client)];
        let hang_up = |what: &str| {
            front.signal("HUP");
            back.signal("HUP");
            flow(what);
        };
        // Every host accepts both keys of every host.
        let [a, b] = [0, 1].map(|of| format!("['{}', '{}']", keyed.public[of], new[of]));
        keyed.write([a, b]);
        hang_up("requests while both keys are accepted");
        // One host after the other takes its new key.
        for name in NAMES {
            let from = keyed.path(&format!("{name}.new"));
            fs::rename(from, keyed.path(&format!("{name}.key"))).unwrap();
            hang_up("requests after a host took its new key");
        }
        // The old keys are struck off.
        keyed.write(new.clone().map(|key| format!("'{key}'")));
        hang_up("requests with the new keys alone");
        done.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
    });
    // With the new keys both may come again.
    back.signal("KILL");
    back.wait();
    back = keyed.start("back");
    until("the other host is back", || {
        ask(&front, "away", 1) == (200, true)
    });
    let log = front.stop();
    assert!(log.contains("keys read again"), "{log}");
    assert!(!log.contains("keys stay as they were"), "{log}");
    drop(back);
}

#[test]
fn what_cannot_be_read_again_changes_nothing() {
    let keyed = Keyed::new();
    let front = keyed.start("front");
    let _back = keyed.start("back");
    until_ready(&front);
    let path = keyed.path("front.toml");
    let sound = fs::read_to_string(&path).unwrap();
    for text in [
        sound.replace(&keyed.public[1], "no key"),
        sound.replace("[hosts.back]", "[hosts.other]"),
        String::new(),
    ] {
        fs::write(&path, text).unwrap();
        front.signal("HUP");
    }
    for value in 0..20 {
        assert_eq!(ask(&front, "away", value), (200, true));
    }
    front.stop();
}
