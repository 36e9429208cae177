//! New configurations tried on live requests: what is wrong, slow or failing does not take over, what is good does, and no
//! request is lost, mixed or answered by a shadow.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::reloads::steps;
use crate::support::files::{Files, chain_text};
use crate::support::server::{Response, Server};
use crate::support::{Finally, contains, until};

const CLIENTS: usize = 3;
const SHADOW: &str = "shadow = { share = 1.0, requests = 20, time_max_ms = 20000 }";
const ENDLESS: &str = "canary = { share = 0.5, requests = 1000000000, time_max_ms = 86400000 }";

/// A chain of mocks whose signature does not tell how many there are. `mock` goes into each of them, `block` beside it.
fn text(length: usize, [mock, block, reload]: [&str; 3]) -> String {
    let keys = |_| [mock.to_owned(), block.to_owned()];
    chain_text(length, "out", keys, &format!("[reload]\n{reload}\n"))
}

struct Trial {
    files: Files,
    server: Server,
}

/// What clients got while something was tried.
#[derive(Debug, Default)]
struct Answers {
    /// By number of blocks.
    steps: Vec<AtomicUsize>,
    failed: AtomicUsize,
    over: AtomicBool,
}

impl Answers {
    fn of(&self, length: usize) -> usize {
        self.steps[length].load(Ordering::Acquire)
    }

    fn failed(&self) -> usize {
        self.failed.load(Ordering::Acquire)
    }

    fn all(&self) -> usize {
        (0..self.steps.len())
            .map(|length| self.of(length))
            .sum::<usize>()
            + self.failed()
    }
}

impl Trial {
    fn new(length: usize, parts: [&str; 3]) -> Self {
        let files = Files::new(&text(length, parts));
        let server = files.serve();
        assert_eq!(steps(&server, 1), Ok(length));
        Self { files, server }
    }

    fn write(&self, length: usize, parts: [&str; 3]) {
        self.files.write(&text(length, parts));
    }

    /// Does something while clients ask without a pause.
    fn under_load<T>(&self, act: impl FnOnce(&Answers) -> T) -> (T, Answers) {
        let answers = Answers {
            steps: (0..8).map(|_| AtomicUsize::new(0)).collect(),
            ..Answers::default()
        };
        let done = thread::scope(|scope| {
            let _guard = Finally(&answers.over);
            for client in 0..CLIENTS {
                let (answers, server) = (&answers, &self.server);
                scope.spawn(move || {
                    let mut value = client as u8;
                    while !answers.over.load(Ordering::Acquire) {
                        match steps(server, value) {
                            Ok(length) => &answers.steps[length],
                            Err(status) => {
                                assert!([500, 503].contains(&status), "{status}");
                                &answers.failed
                            }
                        }
                        .fetch_add(1, Ordering::AcqRel);
                        value = value.wrapping_add(7);
                    }
                });
            }
            act(&answers)
        });
        (done, answers)
    }

    fn load(&self) -> (Response, Answers) {
        self.under_load(|_| self.server.load("p"))
    }

    fn metric(&self, name: &str) -> i64 {
        self.server.metric(name)
    }

    fn reloads(&self, outcome: &str) -> i64 {
        self.metric(&format!("blockflow_reloads_total{{outcome=\"{outcome}\"}}"))
    }

    /// Waits until nothing is left of what was tried.
    fn settled(&self) {
        until("only one configuration is left", || {
            self.metric("blockflow_block_instances_up{block=\"b0\"}") == 1
        });
    }
}

#[test]
fn a_shadow_that_answers_otherwise_is_rejected_and_nobody_gets_its_answers() {
    let trial = Trial::new(1, ["latency_ms = 0", "", ""]);
    trial.write(3, ["latency_ms = 0", "", SHADOW]);
    let (response, answers) = trial.load();
    assert_eq!(response.status, 400, "{}", response.text());
    contains(
        &response.text(),
        &[
            "got another answer",
            "for example pipeline",
            "out",
            "expected",
        ],
    );
    assert_eq!((answers.of(1), trial.server.epoch()), (answers.all(), 1));
    assert!(trial.metric("blockflow_shadow_comparisons_total{outcome=\"different\"}") > 0);
    assert_eq!(
        (trial.reloads("rejected"), trial.reloads("rolled_back")),
        (1, 0)
    );
    trial.settled();
    // Shadows are counted apart; the first request was that of the start.
    let counted = trial.metric("blockflow_requests_total{pipeline=\"p\",outcome=\"ok\"}");
    assert_eq!(counted, answers.all() as i64 + 1);
    assert_eq!(
        trial.metric("blockflow_requests_in_flight{pipeline=\"p\"}"),
        0
    );
    assert_eq!(trial.metric("blockflow_shadow_requests_in_flight{}"), 0);
}

#[test]
fn a_shadow_that_fails_is_rejected_and_costs_nobody_an_answer() {
    let trial = Trial::new(1, ["latency_ms = 0", "", ""]);
    trial.write(1, ["failure = { error_every = 3 }", "", SHADOW]);
    let (response, answers) = trial.load();
    assert_eq!(response.status, 400, "{}", response.text());
    contains(&response.text(), &["as declared"]);
    assert_eq!((answers.of(1), answers.failed()), (answers.all(), 0));
    assert!(trial.metric("blockflow_shadow_comparisons_total{outcome=\"failed\"}") > 0);
}

#[test]
fn a_shadow_that_answers_alike_takes_over() {
    for isolation in ["", "isolation = \"process\""] {
        let trial = Trial::new(2, ["latency_ms = 0", isolation, ""]);
        trial.write(2, ["latency_ms = 1", isolation, SHADOW]);
        let (response, answers) = trial.load();
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!((answers.of(2), trial.server.epoch()), (answers.all(), 2));
        assert!(trial.metric("blockflow_shadow_comparisons_total{outcome=\"equal\"}") >= 20);
        assert_eq!(trial.reloads("applied"), 1);
        trial.settled();
    }
}

#[test]
fn a_slow_shadow_holds_up_nobody() {
    let trial = Trial::new(1, ["latency_ms = 0", "", ""]);
    let shadow = "shadow = { share = 1.0, requests = 1000000, time_max_ms = 1500 }";
    trial.write(1, ["latency_ms = 300", "", shadow]);
    let (response, answers) = trial.load();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(answers.of(1), answers.all());
    // It answers few of them, and has no room for the rest.
    let compared = trial.metric("blockflow_shadow_comparisons_total{outcome=\"equal\"}");
    let dropped = trial.metric("blockflow_shadow_comparisons_total{outcome=\"dropped\"}");
    assert!(compared < 30 && dropped > 0, "{compared} {dropped}");
}

#[test]
fn a_slow_canary_is_rolled_back() {
    for isolation in ["", "isolation = \"process\""] {
        let trial = Trial::new(1, ["latency_ms = 1", isolation, ""]);
        let canary = "canary = { share = 0.5, requests = 30, time_max_ms = 20000 }";
        trial.write(1, ["latency_ms = 60", isolation, canary]);
        let (response, answers) = trial.load();
        assert_eq!(response.status, 400, "{}", response.text());
        contains(
            &response.text(),
            &["median of the latency", "latency_ratio_max"],
        );
        assert_eq!(answers.of(1), answers.all(), "every request has its answer");
        assert_eq!((trial.reloads("rolled_back"), trial.server.epoch()), (1, 1));
        trial.settled();
        assert_eq!(steps(&trial.server, 1), Ok(1));
        until("only the old process is there", || {
            let workers = crate::processes::workers(trial.server.id()).len();
            workers == usize::from(!isolation.is_empty())
        });
        // It may be tried again, and then be better.
        trial.write(2, ["latency_ms = 1", isolation, ""]);
        assert_eq!(trial.server.load("p").status, 200);
        assert_eq!(steps(&trial.server, 1), Ok(2));
    }
}

#[test]
fn a_canary_that_fails_is_rolled_back_before_many_have_failed() {
    let trial = Trial::new(1, ["latency_ms = 1", "", ""]);
    let canary = "canary = { share = 0.5, requests = 40, time_max_ms = 20000 }";
    trial.write(
        1,
        [
            "failure = { error_every = 3 }",
            "restart.backoff_min_ms = 1",
            canary,
        ],
    );
    let (response, answers) = trial.load();
    assert_eq!(response.status, 400, "{}", response.text());
    contains(
        &response.text(),
        &["requests failed, of the old one 0 of", "error_ratio_max"],
    );
    assert!(
        answers.failed() > 0 && answers.failed() <= 40,
        "{answers:?}"
    );
    assert_eq!((trial.reloads("rolled_back"), trial.server.epoch()), (1, 1));
    trial.settled();
    let (_, after) = trial.under_load(|answers| until("requests flow", || answers.all() > 30));
    assert_eq!((after.of(1), after.failed()), (after.all(), 0));
}

#[test]
fn a_good_canary_has_its_share_and_takes_over() {
    let trial = Trial::new(2, ["latency_ms = 1", "", ""]);
    let reload =
        "canary = { share = 0.25, requests = 60, time_max_ms = 20000, latency_ratio_max = 50.0 }";
    trial.write(4, ["latency_ms = 1", "", reload]);
    let (response, answers) = trial.load();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(
        answers.of(2) + answers.of(4),
        answers.all(),
        "one epoch or the other: {answers:?}"
    );
    let side = |side: &str| {
        let sample = format!("blockflow_canary_requests_total{{side=\"{side}\",outcome=\"ok\"}}");
        trial.metric(&sample) as f64
    };
    let share = side("new") / (side("new") + side("old"));
    assert!((0.15..0.35).contains(&share), "{share}");
    assert!(side("new") >= 60.0);
    assert_eq!((trial.reloads("applied"), trial.server.epoch()), (1, 2));
    assert_eq!(steps(&trial.server, 1), Ok(4));
    trial.settled();
}

#[test]
fn both_trials_come_one_after_the_other() {
    let trial = Trial::new(2, ["latency_ms = 1", "", ""]);
    let canary =
        "canary = { share = 0.5, requests = 20, time_max_ms = 20000, latency_ratio_max = 50.0 }";
    trial.write(2, ["latency_ms = 2", "", &format!("{SHADOW}\n{canary}")]);
    let (response, answers) = trial.load();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(answers.of(2), answers.all());
    assert!(trial.metric("blockflow_shadow_comparisons_total{outcome=\"equal\"}") >= 20);
    assert!(trial.metric("blockflow_canary_requests_total{side=\"new\",outcome=\"ok\"}") >= 20);
}

#[test]
fn without_requests_a_trial_ends_by_its_time() {
    let trial = Trial::new(1, ["latency_ms = 0", "", ""]);
    let times = "shadow = { time_max_ms = 100 }\ncanary = { time_max_ms = 100 }";
    trial.write(2, ["latency_ms = 0", "", times]);
    let response = trial.server.load("p");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(steps(&trial.server, 1), Ok(2));
    contains(
        &trial.server.stop(),
        &["shadowing is over", "compared=0", "the canary is over"],
    );
}

#[test]
fn what_is_another_pipeline_now_is_not_tried() {
    let trial = Trial::new(1, ["latency_ms = 0", "", ""]);
    let other = text(1, ["latency_ms = 0", "", ENDLESS]).replace("\"out\"", "\"result\"");
    trial.files.write(&other);
    let response = trial.server.load("p");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(steps(&trial.server, 1), Ok(1));
}

#[test]
fn a_stop_ends_a_trial_and_no_request_is_lost_for_it() {
    for reload in [
        ENDLESS,
        "shadow = { share = 1.0, requests = 1000000000, time_max_ms = 86400000 }",
    ] {
        let trial = Trial::new(2, ["latency_ms = 5", "", ""]);
        trial.write(2, ["latency_ms = 6", "", reload]);
        trial.server.signal("HUP");
        let kind = reload.split(' ').next().unwrap();
        until("the trial runs", || {
            trial.metric(&format!("blockflow_trial_running{{kind=\"{kind}\"}}")) == 1
        });
        for _ in 0..8 {
            assert_eq!(steps(&trial.server, 1), Ok(2));
        }
        thread::scope(|scope| {
            let asked: Vec<_> = (0..4)
                .map(|value| {
                    scope.spawn({
                        let server = &trial.server;
                        move || steps(server, value)
                    })
                })
                .collect();
            until("requests are in flight", || {
                trial.metric("blockflow_requests_in_flight{pipeline=\"p\"}") > 0
                    || asked.iter().all(thread::ScopedJoinHandle::is_finished)
            });
            for one in asked {
                assert_eq!(one.join().unwrap(), Ok(2));
            }
        });
        let log = trial.server.stop();
        let over = log.contains("shadowing is over") || log.contains("the canary is over");
        assert!(over, "{log}");
    }
}

#[test]
fn requests_of_a_canary_are_answered_before_a_stop() {
    let trial = Trial::new(1, ["latency_ms = 1500", "", ""]);
    trial.write(
        3,
        [
            "latency_ms = 500",
            "",
            "canary = { share = 1.0, time_max_ms = 86400000 }",
        ],
    );
    trial.server.signal("HUP");
    until("the trial runs", || {
        trial.metric("blockflow_trial_running{kind=\"canary\"}") == 1
    });
    thread::scope(|scope| {
        let asked = scope.spawn(|| steps(&trial.server, 1));
        until("a request is in flight", || {
            trial.metric("blockflow_requests_in_flight{pipeline=\"p\"}") == 1
        });
        trial.server.signal("TERM");
        assert_eq!(asked.join().unwrap(), Ok(3));
    });
    let mut trial = trial;
    let (status, log) = trial.server.wait();
    assert!(status.success(), "{log}");
}

#[test]
fn another_reload_ends_a_trial_and_takes_its_place() {
    let trial = Trial::new(1, ["latency_ms = 0", "", ""]);
    trial.write(2, ["latency_ms = 0", "", ENDLESS]);
    thread::scope(|scope| {
        let first = scope.spawn(|| trial.server.load("p"));
        until("the trial runs", || {
            trial.metric("blockflow_trial_running{kind=\"canary\"}") == 1
        });
        trial.write(3, ["latency_ms = 0", "", ""]);
        let second = trial.server.load("p");
        assert_eq!(second.status, 200, "{}", second.text());
        let first = first.join().unwrap();
        assert_eq!(first.status, 400);
        contains(&first.text(), &["another reload"]);
    });
    assert_eq!(steps(&trial.server, 1), Ok(3));
    assert_eq!(
        (trial.reloads("rolled_back"), trial.reloads("applied")),
        (1, 1)
    );
    trial.settled();
    until("nothing is tried any more", || {
        trial.metric("blockflow_trial_running{kind=\"canary\"}") == 0
    });
}
