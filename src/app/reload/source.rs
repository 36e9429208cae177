//! Where configurations come from.

use std::path::{Path, PathBuf};

use crate::app::{Loaded, Overrides, Runtime};
use crate::types::{LogSpec, Spec};

/// Where a configuration is read from.
pub trait Source: Send + 'static {
    /// Reads it and the models it names, with what an operator has set over it; or says everything that is wrong.
    fn load(&self, overrides: &Overrides) -> Result<Read, Vec<String>>;

    /// Reads it without its models, and without what an operator has set; or says what is wrong with its form.
    fn spec(&self) -> Result<Spec, Vec<String>>;

    /// Returns how to log where a configuration says `configured`.
    fn log(&self, configured: &LogSpec) -> LogSpec;

    /// Returns the file that it is in.
    fn path(&self) -> &Path;

    /// Returns the files that it now depends on, those of models included, as far as it can be read.
    fn files(&self) -> Vec<PathBuf>;
}

/// A configuration that was read and can be served.
#[derive(Debug)]
pub struct Read {
    pub loaded: Loaded,
    /// What is configured, without what an operator has set over it.
    pub spec: Spec,
}

/// Returns the files of what is `configured` and of what runs.
pub(super) fn files_of(configured: Vec<PathBuf>, runtime: &Runtime) -> Vec<PathBuf> {
    let mut files = configured;
    files.extend(runtime.files().iter().cloned());
    files
}
