//! Maps a file into memory, as bytes that can be sliced and shared.
//!
//! The only unsafe code of this room. Nothing but [`Bytes`] leaves it.
#![expect(
    unsafe_code,
    reason = "mapping a file is safe only as long as nobody truncates it"
)]

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// Returns the content of a regular file. It is mapped, so its pages are shared with other processes and read when used.
pub(in crate::graph) fn map(path: &Path) -> io::Result<Bytes> {
    // Before opening, which would wait for a writer if this were a pipe.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only, and lives as long as the `Bytes` that own it. The file must not be
    // truncated or overwritten while it is mapped; no system call can forbid that to other processes, so it is a rule
    // for operators, stated in the module documentation: a model is replaced by renaming a new file over it.
    let mapping = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(mapping))
}
