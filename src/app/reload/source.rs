//! Where configurations come from.

use std::path::PathBuf;

use crate::app::{Loaded, Runtime};
use crate::types::HostSpec;

/// Where a configuration is read from.
pub trait Source: Send + 'static {
    /// Reads it and the models it names, or says everything that is wrong.
    fn load(&self) -> Result<Loaded, Vec<String>>;

    /// Reads its hosts alone.
    fn hosts(&self) -> Result<Vec<HostSpec>, String>;

    /// Returns the files that it now depends on, those of models included, as far as it can be read.
    fn files(&self) -> Vec<PathBuf>;
}

/// Returns the files of what is configured and of what runs.
pub(super) fn files_of(source: &impl Source, runtime: &Runtime) -> Vec<PathBuf> {
    let mut files = source.files();
    files.extend(runtime.files().iter().cloned());
    files
}
