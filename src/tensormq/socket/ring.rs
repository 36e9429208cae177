//! The keyring that all sockets of a context use, and how they hear that it is another one.
//!
//! Whoever waits for the edges of a socket also waits for the bell of its ring; it rings when the keyring has been replaced,
//! and now and then while a socket wants to try a connection again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::tensormq::Keyring;
use crate::tensormq::shm::eventfd;

#[derive(Debug)]
pub(super) struct Ring {
    current: RwLock<Arc<Keyring>>,
    /// Counts the keyrings, from 1.
    version: AtomicU64,
    /// Somebody wants to be woken.
    wanted: AtomicBool,
    bell: File,
}

impl Ring {
    pub(super) fn new(keyring: Keyring) -> io::Result<Self> {
        Ok(Self {
            current: RwLock::new(Arc::new(keyring)),
            version: AtomicU64::new(1),
            wanted: AtomicBool::new(false),
            bell: eventfd()?,
        })
    }

    pub(super) fn current(&self) -> Arc<Keyring> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn replace(&self, keyring: Keyring) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(keyring);
        drop(current);
        self.version.fetch_add(1, Ordering::AcqRel);
        self.ring();
    }

    /// Asks for the bell to ring in a moment.
    pub(super) fn want_wake(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Rings if somebody asked for it.
    pub(super) fn wake_the_patient(&self) {
        if self.wanted.swap(false, Ordering::AcqRel) {
            self.ring();
        }
    }

    /// Readable from the first ring on; every ring is a new edge.
    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    fn ring(&self) {
        // It only counts, up to far more than there will ever be.
        let _ = (&self.bell).write(&1_u64.to_ne_bytes());
    }
}
