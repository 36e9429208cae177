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
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::history::Trigger;
use super::reload::Reloads;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long nothing may have changed before a reload.
const SETTLED: Duration = Duration::from_millis(500);

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
                if watched.look(stamps(&files), Instant::now()) {
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

    /// Tells whether something has changed and has then been left alone.
    fn look(&mut self, seen: BTreeMap<PathBuf, Stamp>, now: Instant) -> bool {
        // What is looked at since is no change; what is not there any more was one before.
        let another = |(path, stamp): (&PathBuf, &Stamp)| {
            let before = self.seen.get(path);
            before.is_some_and(|before| before != stamp)
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

fn stamps(files: &Mutex<Vec<PathBuf>>) -> BTreeMap<PathBuf, Stamp> {
    let files = files.lock().unwrap_or_else(PoisonError::into_inner).clone();
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
        assert!(!watched.look(at(1), ms(0)));
        assert!(watched.look(at(1), ms(600)), "it may have changed before");
        assert!(!watched.look(at(1), ms(900)));
        assert!(!watched.look(at(2), ms(1000)));
        assert!(!watched.look(at(3), ms(1400)), "it is still being written");
        assert!(!watched.look(at(3), ms(1800)));
        assert!(watched.look(at(3), ms(1900)));
        assert!(!watched.look(at(3), ms(9000)));
        // There and back again counts too: what was read between may be either.
        assert!(!watched.look(at(2), ms(9100)));
        assert!(!watched.look(at(3), ms(9200)));
        assert!(watched.look(at(3), ms(9700)));
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
