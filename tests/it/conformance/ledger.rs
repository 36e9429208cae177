//! What an engine is known not to pass, and the check of a run against it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::case::Case;

pub(super) struct Ledger {
    engine: &'static str,
    known: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn of(engine: &'static str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/data/conformance/{engine}.txt"));
        let text = fs::read_to_string(&path).unwrap();
        let names = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self {
            engine,
            known: names.map(str::to_owned).collect(),
        }
    }

    /// Runs the cases on all cores and compares the outcome with the list.
    pub(super) fn check(&self, cases: &[Case], run: impl Fn(&Case) -> Result<(), String> + Sync) {
        let wanted = std::env::var("BLOCKFLOW_CONFORMANCE").ok();
        let cases: Vec<_> = cases
            .iter()
            .filter(|case| wanted.as_ref().is_none_or(|text| case.name.contains(text)))
            .collect();
        let outcomes = outcomes(&cases, run);
        self.report(&outcomes, wanted.is_some());
        let unexpected: Vec<_> = outcomes
            .iter()
            .filter(|(name, outcome)| outcome.is_err() && !self.known.contains(**name))
            .map(|(name, outcome)| format!("{name}: {}", outcome.as_ref().unwrap_err()))
            .collect();
        let passing: Vec<_> = outcomes
            .iter()
            .filter(|(name, outcome)| outcome.is_ok() && self.known.contains(**name))
            .map(|(name, _)| *name)
            .collect();
        let stale: Vec<_> = self
            .known
            .iter()
            .filter(|name| wanted.is_none() && !outcomes.contains_key(name.as_str()))
            .collect();
        assert!(
            unexpected.is_empty(),
            "{} cases fail:\n{}",
            unexpected.len(),
            unexpected.join("\n")
        );
        assert!(
            passing.is_empty(),
            "{} cases pass; take them off tests/data/conformance/{}.txt:\n{}",
            passing.len(),
            self.engine,
            passing.join("\n")
        );
        assert!(stale.is_empty(), "no such cases: {stale:?}");
    }

    fn report(&self, outcomes: &BTreeMap<&str, Result<(), String>>, aloud: bool) {
        let passed = outcomes.values().filter(|outcome| outcome.is_ok()).count();
        let mut text = format!("{passed} of {} cases pass\n", outcomes.len());
        for (name, outcome) in outcomes {
            match outcome {
                Ok(()) => writeln!(text, "pass {name}"),
                Err(cause) => writeln!(text, "FAIL {name}: {}", cause.lines().next().unwrap_or("")),
            }
            .unwrap();
        }
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/conformance");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{}.txt", self.engine)), &text).unwrap();
        println!(
            "{}",
            if aloud {
                &text
            } else {
                text.lines().next().unwrap()
            }
        );
    }
}

fn outcomes<'a>(
    cases: &[&'a Case],
    run: impl Fn(&Case) -> Result<(), String> + Sync,
) -> BTreeMap<&'a str, Result<(), String>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(case)))
                .unwrap_or_else(|_| Err("panicked".to_owned()));
            outcomes.lock().unwrap().insert(case.name.as_str(), outcome);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().unwrap()
}
