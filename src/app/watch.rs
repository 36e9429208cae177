//! Watching the files on which what is served depends.
//!
//! Files are looked at now and then, through whatever links lead to them: what an editor, a copy, `mv` or the flip of a link
//! in a mounted configuration does all shows as another file, size or time at a path. A reload is asked for once
//! nothing has changed for a while, so that a file that is being written is not taken for a whole one; whether anything
//! means something else than before is for the reload to find out by content.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::history::{Seen, Stamp, Trigger};
use super::reload::Reloads;
use crate::types::lock;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long nothing may have changed before a reload.
const SETTLED: Duration = Duration::from_millis(500);

/// A file that was written so lately may have been read before it was whole.
const FRESH: Duration = Duration::from_secs(3);

/// Files by path; `None`: nothing can be read there.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// Begins to watch, for as long as somebody else has `files`. What is served was read after `seen`.
pub(super) fn watch(
    files: &Arc<Mutex<Vec<PathBuf>>>,
    seen: Seen,
    reloads: Reloads,
) -> io::Result<()> {
    let mut last = seen.at;
    let mut watched = Watched::new(seen.stamps);
    let files = Arc::downgrade(files);
    thread::Builder::new()
        .name("blockflow-files".into())
        .spawn(move || {
            while let Some(files) = Weak::upgrade(&files) {
                let seen = Seen::now(lock(&files).clone());
                if watched.look(seen.stamps, Instant::now(), fresh_at(last)) {
                    reloads.ask(Trigger::Files);
                }
                last = seen.at;
                drop(files);
                thread::sleep(LOOK);
            }
        })?;
    Ok(())
}

/// What was seen, and since when something is different.
#[derive(Debug)]
struct Watched {
    seen: Stamps,
    changed: Option<Instant>,
}

impl Watched {
    fn new(seen: Stamps) -> Self {
        Self {
            seen,
            changed: None,
        }
    }

    /// Tells whether something has changed and has then been left alone. What was written at second `fresh` or later counts as
    /// changed when it is looked at for the first time.
    fn look(&mut self, seen: Stamps, now: Instant, fresh: i64) -> bool {
        let another = |(path, stamp): (&PathBuf, &Option<Stamp>)| match self.seen.get(path) {
            Some(before) => before != stamp,
            None => stamp.is_some_and(|(.., seconds, _)| seconds >= fresh),
        };
        let changed = seen.iter().any(another);
        self.seen = seen;
        if changed {
            self.changed = Some(now);
            return false;
        }
        let settled = self.changed.is_some_and(|changed| now >= changed + SETTLED);
        if settled {
            self.changed = None;
        }
        settled
    }
}

/// Returns the second from which on files count as fresh at a time.
fn fresh_at(time: SystemTime) -> i64 {
    let time = time.duration_since(UNIX_EPOCH);
    let seconds = time.unwrap_or_default().saturating_sub(FRESH).as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stamp: u64) -> Stamps {
        BTreeMap::from([("model".into(), Some((0, 0, stamp, 0, 0)))])
    }

    #[test]
    fn a_change_is_told_once_and_not_before_it_has_settled() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut watched = Watched::new(at(0));
        assert!(!watched.look(at(1), ms(0), 1));
        assert!(
            watched.look(at(1), ms(600), 1),
            "it has changed before it was first looked at"
        );
        assert!(!watched.look(at(1), ms(900), 1));
        assert!(!watched.look(at(2), ms(1000), 1));
        assert!(
            !watched.look(at(3), ms(1400), 1),
            "it is still being written"
        );
        assert!(!watched.look(at(3), ms(1800), 1));
        assert!(watched.look(at(3), ms(1900), 1));
        assert!(!watched.look(at(3), ms(9000), 1));
        // There and back again counts too: what was read between may be either.
        assert!(!watched.look(at(2), ms(9100), 1));
        assert!(!watched.look(at(3), ms(9200), 1));
        assert!(watched.look(at(3), ms(9700), 1));
    }

    #[test]
    fn what_is_looked_at_since_is_a_change_if_it_was_just_written() {
        let start = Instant::now();
        let mut watched = Watched::new(at(1));
        let later = |ms| start + Duration::from_millis(ms);
        assert!(!watched.look(at(1), later(600), 1));
        let with = |name: &str, seconds| {
            let mut files = at(1);
            files.insert(name.into(), Some((0, 0, 1, seconds, 0)));
            files
        };
        assert!(!watched.look(with("old", 5), later(700), 10));
        assert!(!watched.look(with("old", 5), later(2000), 10), "it is old");
        assert!(!watched.look(with("new", 10), later(2100), 10));
        assert!(watched.look(with("new", 10), later(2700), 10));
    }
}
