//! Watching the files on which what is served depends.
//!
//! Files are looked at now and then, through whatever links lead to them: what an editor, a copy, `mv` or the flip of a link
//! in a mounted configuration does all shows as another file, size or time at a path. A reload is asked for once
//! nothing has changed for a while, so that a file that is being written is not taken for a whole one; whether anything
//! means something else than before is for the reload to find out by content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::history::Trigger;
use super::reload::Reloads;
use crate::types::lock;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long nothing may have changed before a reload.
const SETTLED: Duration = Duration::from_millis(500);

/// A file that was written so lately may have been read before it was whole.
const FRESH: Duration = Duration::from_secs(3);

/// What tells a file from what was at its path before; `None`: nothing can be read there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Begins to watch, for as long as somebody else has `files`.
pub(super) fn watch(files: &Arc<Mutex<Vec<PathBuf>>>, reloads: Reloads) -> io::Result<()> {
    let mut watched = Watched::new(stamps(files), Instant::now());
    let files = Arc::downgrade(files);
    thread::Builder::new()
        .name("blockflow-files".into())
        .spawn(move || {
            while let Some(files) = Weak::upgrade(&files) {
                if watched.look(stamps(&files), Instant::now(), fresh_from()) {
                    reloads.ask(Trigger::Files);
                }
                drop(files);
                thread::sleep(LOOK);
            }
        })?;
    Ok(())
}

/// What was seen, and since when something is different.
#[derive(Debug)]
struct Watched {
    seen: BTreeMap<PathBuf, Stamp>,
    changed: Option<Instant>,
}

impl Watched {
    /// Begins with something to be looked at: files may have changed since they were read.
    fn new(seen: BTreeMap<PathBuf, Stamp>, now: Instant) -> Self {
        Self {
            seen,
            changed: Some(now),
        }
    }

    /// Tells whether something has changed and has then been left alone. What was written at second `fresh` or later counts as
    /// changed when it is looked at for the first time.
    fn look(&mut self, seen: BTreeMap<PathBuf, Stamp>, now: Instant, fresh: i64) -> bool {
        let another = |(path, stamp): (&PathBuf, &Stamp)| match self.seen.get(path) {
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

/// Returns the second from which on files count as fresh.
fn fresh_from() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.unwrap_or_default().saturating_sub(FRESH).as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn stamps(files: &Mutex<Vec<PathBuf>>) -> BTreeMap<PathBuf, Stamp> {
    let files = lock(&files).clone();
    files
        .into_iter()
        .map(|file| {
            let stamp = stamp(&file);
            (file, stamp)
        })
        .collect()
}

fn stamp(file: &Path) -> Stamp {
    let data = fs::metadata(file).ok()?;
    Some((
        data.dev(),
        data.ino(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stamp: u64) -> BTreeMap<PathBuf, Stamp> {
        BTreeMap::from([("model".into(), Some((0, 0, stamp, 0, 0)))])
    }

    #[test]
    fn a_change_is_told_once_and_not_before_it_has_settled() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut watched = Watched::new(at(1), start);
        assert!(!watched.look(at(1), ms(0), 1));
        assert!(
            watched.look(at(1), ms(600), 1),
            "it may have changed before"
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
        let mut watched = Watched::new(at(1), start);
        let later = |ms| start + Duration::from_millis(ms);
        assert!(watched.look(at(1), later(600), 1));
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

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            fs::write(path(name), name).expect("a file");
        }
        let link = path("link");
        std::os::unix::fs::symlink(path("a"), &link).expect("a link");
        let before = stamp(&link);
        assert!(before.is_some());
        std::os::unix::fs::symlink(path("b"), path("next")).expect("a link");
        fs::rename(path("next"), &link).expect("renamed");
        assert_ne!(stamp(&link), before);
        fs::remove_file(&link).expect("removed");
        assert_eq!(stamp(&link), None);
    }
}
