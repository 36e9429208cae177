//! The memory file of an arena: made and written by its producer, read by its consumers.

#![expect(
    unsafe_code,
    reason = "memory files and memory that two processes see have no safe interface"
)]

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use memmap2::{MmapOptions, MmapRaw};

use crate::types::Mapped;

use super::slot::{FIRST_SLOT, SLOT_HEADER_BYTES, SLOT_MAGIC};

/// Bytes of an arena at most: a thousand of them fit into the address space of a consumer.
pub const ARENA_BYTES_MAX: usize = 1 << 36;

const PAGE_BYTES: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"BFarena2");
/// With these a file keeps its size for ever.
const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// How a producer tells consumers of its host where its arena is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Announcement {
    pub process: u32,
    pub descriptor: u32,
    pub bytes: u64,
    /// Drawn for each arena; stands in it too.
    pub id: u64,
}

/// Why a consumer does not map an arena.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error(
        "an arena of {bytes} bytes: expected a multiple of {PAGE_BYTES}, at most {ARENA_BYTES_MAX}"
    )]
    Size { bytes: u64 },
    #[error("cannot open descriptor {descriptor} of process {process}: {cause}")]
    Open {
        process: u32,
        descriptor: u32,
        cause: io::Error,
    },
    #[error("descriptor {descriptor} of process {process} is no memory file")]
    NoMemory { process: u32, descriptor: u32 },
    #[error("the memory file has {seen} bytes, {announced} are announced")]
    OtherSize { announced: u64, seen: u64 },
    #[error("the memory file has the seals {seen:#x}, expected at least {SEALS:#x}")]
    Seals { seen: i32 },
    #[error("cannot map {bytes} bytes: {cause}")]
    Map { bytes: u64, cause: io::Error },
    #[error("the memory file is not the arena that is announced")]
    OtherArena,
}

/// The producer's side. Whoever uses it sees to it that parts that are written are nobody else's.
#[derive(Debug)]
pub(super) struct Region {
    map: MmapRaw,
    file: File,
    id: u64,
}

/// The consumer's side.
#[derive(Debug)]
pub(super) struct View {
    map: MmapRaw,
}

/// Returns a number that nobody has seen.
pub(super) fn draw() -> u64 {
    // Seeded by the operating system.
    RandomState::new().build_hasher().finish()
}

impl Region {
    /// Makes a memory file of so many bytes, a multiple of the page size, of which none is there before it is written.
    pub(super) fn create(bytes: usize) -> io::Result<Self> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: the name is a string that ends with a zero byte and is only read.
        let descriptor = unsafe { libc::memfd_create(c"blockflow-arena".as_ptr(), flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, is open, and nobody else owns it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
        file.set_len(bytes as u64)?;
        let map = MmapOptions::new().len(bytes).map_raw(&file)?;
        let seals = SEALS | libc::F_SEAL_FUTURE_WRITE;
        // SAFETY: the descriptor is open, and this command takes a number.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let region = Self {
            map,
            file,
            id: draw(),
        };
        for (index, word) in [MAGIC, region.id, bytes as u64].into_iter().enumerate() {
            // SAFETY: the region is not shared yet, and the words lie before the first slot.
            unsafe { region.put(8 * index, word) };
        }
        Ok(region)
    }

    pub(super) fn announcement(&self) -> Announcement {
        Announcement {
            process: std::process::id(),
            // An open descriptor is not negative.
            descriptor: self.file.as_raw_fd().cast_unsigned(),
            bytes: self.map.len() as u64,
            id: self.id,
        }
    }

    /// Writes the header of a slot.
    ///
    /// # Safety
    ///
    /// The caller owns the extent that begins at `offset`, and nobody reads it.
    pub(super) unsafe fn put_header(&self, offset: usize, generation: u64, length: usize) {
        let words = [SLOT_MAGIC, generation, length as u64];
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as the caller promises.
            unsafe { self.put(offset + 8 * index, word) };
        }
    }

    /// # Safety
    ///
    /// `offset` is a multiple of 8 within the region, and nobody reads the eight bytes there.
    unsafe fn put(&self, offset: usize, word: u64) {
        debug_assert!(offset + 8 <= self.map.len() && offset.is_multiple_of(8));
        // SAFETY: in bounds, aligned, as the map begins at a page, and unshared, as the caller promises.
        unsafe { self.map.as_mut_ptr().add(offset).cast::<u64>().write(word) }
    }

    /// Returns the payload of a slot to read.
    ///
    /// # Safety
    ///
    /// The caller owns an extent with `length` bytes of payload at `offset`, and nobody writes to it while the slice lives.
    pub(super) unsafe fn payload(&self, offset: usize, length: usize) -> &[u8] {
        let start = offset + SLOT_HEADER_BYTES;
        debug_assert!(start + length <= self.map.len());
        // SAFETY: in bounds, of a mapping that lives as long as self; nobody writes, as the caller promises.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), length) }
    }

    /// Returns the payload of a slot to write.
    ///
    /// # Safety
    ///
    /// The caller owns an extent with `length` bytes of payload at `offset`, which nobody else reads or writes while the
    /// slice lives.
    #[expect(
        clippy::mut_from_ref,
        reason = "parts of the region have owners of their own"
    )]
    pub(super) unsafe fn payload_mut(&self, offset: usize, length: usize) -> &mut [u8] {
        let start = offset + SLOT_HEADER_BYTES;
        debug_assert!(start + length <= self.map.len());
        // SAFETY: in bounds, of a writable mapping that lives as long as self; unshared, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(start), length) }
    }
}

impl Mapped for Region {
    fn span(&self) -> (usize, usize) {
        (self.map.as_ptr().addr(), self.map.len())
    }

    fn is_writable(&self) -> bool {
        true
    }
}

impl Mapped for View {
    fn span(&self) -> (usize, usize) {
        (self.map.as_ptr().addr(), self.map.len())
    }

    fn is_writable(&self) -> bool {
        false
    }
}

impl View {
    /// Maps an arena of another process, if it is one.
    pub(super) fn open(announced: &Announcement) -> Result<Self, MapError> {
        let &Announcement {
            process,
            descriptor,
            bytes,
            id,
        } = announced;
        let length = usize::try_from(bytes)
            .ok()
            .filter(|length| (FIRST_SLOT + 1..=ARENA_BYTES_MAX).contains(length))
            .filter(|length| length.is_multiple_of(PAGE_BYTES))
            .ok_or(MapError::Size { bytes })?;
        let wrong = |cause| MapError::Open {
            process,
            descriptor,
            cause,
        };
        let file = open(process, descriptor)
            .map_err(wrong)?
            .ok_or(MapError::NoMemory {
                process,
                descriptor,
            })?;
        // SAFETY: the descriptor is open, and this command takes nothing.
        let seen = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        if seen < 0 {
            return Err(MapError::NoMemory {
                process,
                descriptor,
            });
        }
        if seen & SEALS != SEALS {
            return Err(MapError::Seals { seen });
        }
        // Sealed, so this is the size for good.
        let seen = file.metadata().map_err(wrong)?.len();
        if seen != bytes {
            return Err(MapError::OtherSize {
                announced: bytes,
                seen,
            });
        }
        let map = MmapOptions::new()
            .len(length)
            .map_raw_read_only(&file)
            .map_err(|cause| MapError::Map { bytes, cause })?;
        let view = Self { map };
        if [0, 8, 16].map(|at| view.word(at)) != [MAGIC, id, bytes].map(Some) {
            return Err(MapError::OtherArena);
        }
        Ok(view)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Returns the header of the slot at an offset: magic, generation and length.
    pub(super) fn header(&self, offset: usize) -> Option<[u64; 3]> {
        let word = |index: usize| self.word(offset.checked_add(8 * index)?);
        Some([word(0)?, word(1)?, word(2)?])
    }

    /// Returns some numbers from an aligned offset on.
    pub(super) fn words(&self, offset: usize) -> Option<[u64; 3]> {
        self.header(offset)
    }

    /// Returns the eight bytes at an aligned offset, each time anew: somebody else may write them.
    fn word(&self, offset: usize) -> Option<u64> {
        let end = offset.checked_add(8)?;
        if end > self.map.len() || !offset.is_multiple_of(8) {
            return None;
        }
        // SAFETY: in bounds and aligned, as checked and as the map begins at a page; any eight bytes are a number; volatile,
        // as another process may write there.
        Some(unsafe { self.map.as_ptr().add(offset).cast::<u64>().read_volatile() })
    }

    /// Returns some bytes.
    ///
    /// # Panics
    ///
    /// Beyond the end.
    pub(super) fn slice(&self, start: usize, length: usize) -> &[u8] {
        assert!(start <= self.map.len() && length <= self.map.len() - start);
        // SAFETY: in bounds of a mapping that lives as long as self, of a file whose size is sealed. The producer does not
        // write to a slot that is lent (see the module docs for one that does).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), length) }
    }
}

/// Opens a descriptor of another process to read, if it is a memory file; whatever else it is, it is not touched.
fn open(process: u32, descriptor: u32) -> io::Result<Option<File>> {
    let place = PathBuf::from(format!("/proc/{process}/fd/{descriptor}"));
    // Finds it without opening it, which for a device or a pipe might do something.
    let found = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(place)?;
    let own = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let is_memory = fs::read_link(&own)?
        .to_string_lossy()
        .starts_with("/memfd:");
    if !is_memory || !found.metadata()?.is_file() {
        return Ok(None);
    }
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags).open(own).map(Some)
}
