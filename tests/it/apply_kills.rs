//! A server that ends, without any clean-up, at any step of an apply: the next one serves one epoch or the other, whole, and nothing
//! is left behind.

use std::fs;
use std::process::Command;

use blockflow::app::Step;

use crate::history::Site;
use crate::processes::{socket_folder, workers};
use crate::reloads::{steps, text};
use crate::support::files::apart;
use crate::support::server::BINARY;
use crate::support::until;

fn killed_at(step: Step) {
    let site = Site::new(1);
    fs::write(site.chain.path(), apart(&text(1, ""))).unwrap();
    let server = site.start();
    site.until_recorded(1);
    server.stop();
    let mut command = Command::new(BINARY);
    command.env("FAILPOINTS", format!("{}=abort", step.name()));
    let mut server = site.try_start_by(command, &["--no-watch"]).unwrap();
    let name = step.name();
    assert_eq!(
        steps(&server, 1),
        Ok(1),
        "{name}: it ended before it was asked for anything"
    );
    let children = workers(server.id());
    let sockets = socket_folder(children[0]);
    fs::write(site.chain.path(), apart(&text(3, ""))).unwrap();
    let output = site.command(&["reload"]);
    let (status, log) = server.wait();
    assert!(!status.success(), "{name}: it never came there: {log}");
    // The old epoch may end while its successor is being recorded, so the answer may have come before.
    assert!(
        step == Step::Retired || output.status.code() == Some(1),
        "{name}"
    );
    until(
        &format!("{name}: its workers and their sockets are gone"),
        || {
            let alive = |id: &u32| fs::metadata(format!("/proc/{id}/exe")).is_ok();
            !children.iter().any(alive) && !sockets.exists()
        },
    );
    let (_, history) = site.asked(&["history"]);
    assert_eq!(
        history["skipped"].as_array().unwrap().len(),
        0,
        "{name}: {history}"
    );
    // With a bad file it serves what was recorded last.
    fs::write(site.chain.path(), "[blocks").unwrap();
    let server = site.start();
    let recorded = match step {
        Step::Read | Step::Compared | Step::Prepared | Step::Switched | Step::Written => &[1][..],
        Step::Renamed | Step::Recorded => &[3],
        Step::Retired => &[1, 3],
    };
    let served = steps(&server, 1).unwrap();
    assert!(recorded.contains(&served), "{name}: {served}");
    let left = fs::read_dir(site.state().join("epochs")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(
        left.iter()
            .all(|name| name.to_string_lossy().ends_with(".json")),
        "{name}: {left:?}"
    );
    // With the good one, what is configured.
    fs::write(site.chain.path(), apart(&text(3, ""))).unwrap();
    assert_eq!(server.load("p").status, 200, "{name}");
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(3), 2), "{name}");
    let (epochs, current) = site.epochs();
    assert_eq!((epochs.len(), current), (2, Some(2)), "{name}");
    server.stop();
}

#[test]
fn killed_once_the_next_configuration_is_read() {
    killed_at(Step::Read);
}

#[test]
fn killed_once_it_is_compared() {
    killed_at(Step::Compared);
}

#[test]
fn killed_once_it_is_prepared() {
    killed_at(Step::Prepared);
}

#[test]
fn killed_once_requests_begin_in_it() {
    killed_at(Step::Switched);
}

#[test]
fn killed_while_it_is_recorded() {
    killed_at(Step::Written);
}

#[test]
fn killed_once_its_record_is_there() {
    killed_at(Step::Renamed);
}

#[test]
fn killed_once_it_is_recorded() {
    killed_at(Step::Recorded);
}

#[test]
fn killed_once_the_one_before_has_ended() {
    killed_at(Step::Retired);
}

#[test]
fn every_step_is_killed_at_once() {
    let own = include_str!("apply_kills.rs");
    for step in Step::ALL {
        assert!(
            own.contains(&format!("    killed_at(Step::{step:?});")),
            "{step:?}"
        );
    }
}
