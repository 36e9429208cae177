//! The archive: a ZIP file whose entries are stored as they are, each a slice of the mapped file.

use std::collections::HashMap;
use std::io::Cursor;

use bytes::Bytes;
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use crate::graph::Defect;

/// Entries by their names below the folder that they are all in.
pub(super) struct Archive {
    bytes: Bytes,
    entries: HashMap<String, Entry>,
}

struct Entry {
    start: u64,
    length: u64,
    is_stored: bool,
}

impl Archive {
    pub(super) fn open(bytes: Bytes) -> Result<Self, Defect> {
        let damaged = |cause: String| Defect::Archive { cause };
        // Sample inputs are an archive within the archive, whose directory must not be taken for this one's.
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut zip = ZipArchive::with_config(config, Cursor::new(bytes.clone()))
            .map_err(|error| damaged(error.to_string()))?;
        if zip.has_duplicate_names() {
            return Err(damaged("two entries have one name".to_owned()));
        }
        let mut entries = HashMap::new();
        let mut folder = None;
        for index in 0..zip.len() {
            let entry = zip
                .by_index_raw(index)
                .map_err(|error| damaged(format!("entry {index} cannot be found: {error}")))?;
            let name = entry.name().map_err(|error| damaged(error.to_string()))?;
            let rest = match name.split_once('/') {
                Some((first, rest)) => {
                    let folder = folder.get_or_insert_with(|| first.to_owned());
                    if folder != first {
                        return Err(damaged(format!(
                            "it holds two folders, {folder:?} and {first:?}"
                        )));
                    }
                    rest
                }
                None => &name,
            };
            let start = entry
                .data_start()
                .ok_or_else(|| damaged(format!("entry {name:?} has no beginning")))?;
            let is_stored = entry.compression() == CompressionMethod::Stored
                && !entry.encrypted()
                && entry.size() == entry.compressed_size();
            let place = Entry {
                start,
                length: entry.compressed_size(),
                is_stored,
            };
            entries.insert(rest.to_owned(), place);
        }
        Ok(Self { bytes, entries })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns the content of an entry, which stays in the mapped file.
    pub(super) fn content(&self, name: &str) -> Result<Bytes, Defect> {
        let wrong = |seen: String, expected| Defect::Entry {
            entry: name.to_owned(),
            seen,
            expected,
        };
        let entry = self.entries.get(name).ok_or_else(|| {
            wrong(
                "missing".to_owned(),
                "the entries that torch.export.save writes",
            )
        })?;
        if !entry.is_stored {
            return Err(wrong(
                "compressed".to_owned(),
                "entries stored as they are, as torch.export.save writes them",
            ));
        }
        let size = self.bytes.len() as u64;
        let end = entry.start.saturating_add(entry.length);
        match (usize::try_from(entry.start), usize::try_from(end)) {
            (Ok(start), Ok(end)) if end as u64 <= size => Ok(self.bytes.slice(start..end)),
            _ => Err(wrong(
                format!("bytes {}..{end} of a file of {size}", entry.start),
                "an entry within the file",
            )),
        }
    }
}
