//! Waking the owner of a consumer's end from any thread.

#![expect(unsafe_code, reason = "the standard library makes no eventfd")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rung when something came back; its descriptor becomes readable then.
#[derive(Debug)]
pub(in crate::tensormq) struct Bell {
    due: AtomicBool,
    event: File,
}

impl Bell {
    pub(in crate::tensormq) fn new() -> io::Result<Self> {
        Ok(Self {
            due: AtomicBool::new(false),
            event: eventfd()?,
        })
    }

    /// Makes the descriptor readable, unless it has been since it was last silenced. Never blocks.
    pub(in crate::tensormq) fn ring(&self) {
        if !self.due.swap(true, Ordering::SeqCst) {
            // A full counter is readable already.
            let _ = (&self.event).write(&1_u64.to_ne_bytes());
        }
    }

    /// Tells whether it was rung since the last time. Look at what came back after this, not before.
    pub(in crate::tensormq) fn silence(&self) -> bool {
        if !self.due.load(Ordering::SeqCst) {
            return false;
        }
        // Read first: whoever rings from here on makes it readable anew.
        let _ = (&self.event).read(&mut [0; 8]);
        self.due.swap(false, Ordering::SeqCst)
    }

    pub(in crate::tensormq) fn descriptor(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// Makes a counter that is readable once it was written to, and never blocks.
pub(in crate::tensormq) fn eventfd() -> io::Result<File> {
    // SAFETY: eventfd takes no pointers.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, is open, and nobody else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}
