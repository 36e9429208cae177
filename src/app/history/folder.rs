//! The state directory itself: made, locked, written to so that nothing is ever half there.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::app::steps::Step;

use super::HistoryError;

pub(in crate::app) const CONTROL: &str = "control.sock";
pub(super) const EPOCHS: &str = "epochs";
pub(super) const MODELS: &str = "models";
const LOCK: &str = "lock";
/// What is being written; a name that is never read.
const NEXT: &str = ".next";

/// A state directory that this process may write to.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Others find it locked until this is closed, however the process ends.
    _lock: File,
}

impl Folder {
    /// Makes the directory, for nobody else to look into, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, HistoryError> {
        for path in [path, &path.join(EPOCHS), &path.join(MODELS)] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(failed("make the state directory", path))?;
        }
        let lock = path.join(LOCK);
        let file = private().create(true).truncate(false).open(&lock);
        let file = file.map_err(failed("open", &lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HistoryError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(failed("lock", &lock)(cause)),
        }
        // Left by a process that was killed while it wrote.
        let _ = fs::remove_file(path.join(EPOCHS).join(NEXT));
        Ok(Self {
            path: path.to_owned(),
            _lock: file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a file among the epochs, whole or not at all. It lasts once this returns.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), HistoryError> {
        let directory = self.path.join(EPOCHS);
        let (next, place) = (directory.join(NEXT), directory.join(name));
        let written = private()
            .create(true)
            .truncate(true)
            .open(&next)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| {
                Step::Written.reached();
                fs::rename(&next, &place)
            })
            .and_then(|()| File::open(&directory)?.sync_all());
        written.map_err(|cause| {
            let _ = fs::remove_file(&next);
            failed("write", &place)(cause)
        })
    }
}

/// Reads a regular file of a bounded size.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, HistoryError> {
    let open = || {
        // Opening a pipe would wait for whoever writes to it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?
            .take(bytes_max + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = open().map_err(failed("read", path))?;
    if bytes.len() as u64 > bytes_max {
        let cause = format!("longer than {bytes_max} bytes");
        return Err(HistoryError::Corrupt {
            path: path.to_owned(),
            cause,
        });
    }
    Ok(bytes)
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    let path = path.to_owned();
    move |cause| HistoryError::File {
        action,
        path,
        cause,
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}
