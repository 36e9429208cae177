//! What files hold, each read once for as long as nothing about it changes.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::graph::Digest;

/// Files that are remembered.
const KNOWN_MAX: usize = 4096;

/// What tells a file from what was at its path before.
pub(in crate::app) type Stamp = (u64, u64, u64, i64, i64);

/// Digests of files by path.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<PathBuf, (Stamp, Digest)>);

impl Files {
    /// Returns the digest of what a file holds, and the number of its bytes.
    pub(super) fn digest(&mut self, path: &Path) -> io::Result<(Digest, u64)> {
        // Opening a pipe would wait for whoever writes to it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        let file = File::open(path)?;
        let before = stamp(&file.metadata()?);
        if let Some((seen, digest)) = self.0.get(path)
            && *seen == before
        {
            return Ok((*digest, before.2));
        }
        let (digest, bytes) = Digest::of_file(&file)?;
        if stamp(&file.metadata()?) != before || bytes != before.2 {
            return Err(io::Error::other("it changed while it was read"));
        }
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        self.0.insert(path.to_owned(), (before, digest));
        Ok((digest, bytes))
    }
}

/// Returns what is at a path at this moment.
pub(super) fn stamp_of(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().as_ref().map(stamp)
}

fn stamp(data: &Metadata) -> Stamp {
    (
        data.dev(),
        data.ino(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            fs::write(path(name), name).expect("a file");
        }
        let link = path("link");
        std::os::unix::fs::symlink(path("a"), &link).expect("a link");
        let before = stamp_of(&link);
        assert!(before.is_some());
        std::os::unix::fs::symlink(path("b"), path("next")).expect("a link");
        fs::rename(path("next"), &link).expect("renamed");
        assert_ne!(stamp_of(&link), before);
        fs::remove_file(&link).expect("removed");
        assert_eq!(stamp_of(&link), None);
    }
}
