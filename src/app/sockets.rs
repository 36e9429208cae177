//! The folder of the sockets between the processes of one host.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Bytes that the name of the folder may have: a socket's whole path has 107 at most.
const FOLDER_BYTES_MAX: usize = 80;

/// Makes a folder that nobody else may look into. It is removed when what is returned is dropped.
pub(super) fn folder() -> io::Result<TempDir> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_dir() && path.as_os_str().len() <= FOLDER_BYTES_MAX - 20);
    let made = own.map(|path| make_in(&path));
    match made {
        Some(Ok(folder)) => Ok(folder),
        _ => make_in(Path::new("/tmp")),
    }
}

fn make_in(parent: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("blockflow-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
}
