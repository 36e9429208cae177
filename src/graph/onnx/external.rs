//! Tensor data in files beside the model.
//!
//! A model may name only files below its own directory: no absolute path, no `..`. Links are followed, as caches of
//! models consist of them: who placed a link had power over the directory, which the author of a model file has not.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::proto::StringStringEntryProto;
use crate::graph::Defect;
use crate::graph::build::map;

/// The data files of one model, each mapped once.
pub(super) struct Files {
    directory: PathBuf,
    mapped: HashMap<PathBuf, Bytes>,
}

impl Files {
    /// Data files of the model at `path`.
    pub(super) fn beside(path: &Path) -> Self {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        Self {
            directory,
            mapped: HashMap::new(),
        }
    }

    /// Returns the data files that were read, in the order of their names.
    pub(super) fn paths(self) -> Arc<[PathBuf]> {
        let mut paths: Vec<_> = self.mapped.into_keys().collect();
        paths.sort_unstable();
        paths.into()
    }

    /// Returns the bytes that the entries of a tensor's `external_data` describe.
    pub(super) fn slice(
        &mut self,
        tensor: &str,
        entries: &[StringStringEntryProto],
        length: usize,
    ) -> Result<Bytes, Defect> {
        let entry = |key: &str| {
            entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| entry.value.as_str())
        };
        let wrong = |key: &str, expected| Defect::External {
            tensor: tensor.to_owned(),
            key: key.to_owned(),
            seen: entry(key).unwrap_or_default().to_owned(),
            expected,
        };
        let number = |key: &str, default: u64| match entry(key) {
            Some(text) => text.parse().map_err(|_| wrong(key, "a number of bytes")),
            None => Ok(default),
        };
        let location = Path::new(entry("location").unwrap_or_default());
        let inside = location
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside || location.file_name().is_none() {
            return Err(wrong("location", "a path below the directory of the model"));
        }
        let offset = number("offset", 0)?;
        let wanted = u64::try_from(length).unwrap_or(u64::MAX);
        if number("length", wanted)? != wanted {
            return Err(wrong(
                "length",
                "as many bytes as datatype and shape of the tensor need",
            ));
        }
        let file = self.directory.join(location);
        let content = self.content(tensor, &file)?;
        let size = content.len() as u64;
        let end = offset.saturating_add(wanted);
        if end > size {
            return Err(Defect::ExternalRange {
                tensor: tensor.to_owned(),
                file,
                offset,
                end,
                size,
            });
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(content.slice(start..start + length))
    }

    fn content(&mut self, tensor: &str, file: &Path) -> Result<Bytes, Defect> {
        if let Some(content) = self.mapped.get(file) {
            return Ok(content.clone());
        }
        let unreadable = |cause: String| Defect::ExternalFile {
            tensor: tensor.to_owned(),
            file: file.to_path_buf(),
            cause,
        };
        let content = map(file).map_err(|error| unreadable(error.to_string()))?;
        self.mapped.insert(file.to_path_buf(), content.clone());
        Ok(content)
    }
}
