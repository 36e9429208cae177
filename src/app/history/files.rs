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
pub(super) type Stamp = (u64, u64, u64, i64, i64);

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
