//! Models as they were: hard links, by their contents.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::graph::Digest;

use super::RecordedModel;
use super::files::Files;

/// What is being linked; a name that is never looked for.
const NEXT: &str = ".next";

impl RecordedModel {
    /// Returns the name of the folder in which the model is kept: a digest of what it holds and how its files are named.
    /// `None` where that is not known.
    pub(super) fn kept_name(&self) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            let digest = part.digest.as_deref()?;
            text.push_str(&format!("{} {}\n", digest, part.path.display()));
        }
        Some(Digest::of("model", text.as_bytes()).to_string())
    }

    /// Tells whether the files of a folder hold what those of the model held.
    pub(super) fn is_in(&self, folder: &Path, files: &mut Files) -> bool {
        self.parts.iter().all(|part| {
            let there = files.digest(&folder.join(&part.path));
            let there = there.ok().map(|(digest, _)| digest.to_string());
            there.is_some() && there == part.digest
        })
    }

    /// Returns the folder of the model.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// Links a model, which is at its place as it was recorded, below `models`. Does nothing where that was done before.
pub(super) fn keep(models: &Path, model: &RecordedModel, files: &mut Files) -> io::Result<()> {
    let Some(name) = model.kept_name() else {
        return Ok(());
    };
    let (place, next) = (models.join(name), models.join(NEXT));
    if place.is_dir() {
        if is_linked(&place, model) || model.is_in(&place, files) {
            return Ok(());
        }
        // It was rewritten in place since.
        fs::remove_dir_all(&place)?;
    }
    if next.is_dir() {
        fs::remove_dir_all(&next)?;
    }
    let linked = link(&next, model).and_then(|()| fs::rename(&next, &place));
    linked.inspect_err(|_| {
        // Half a model is of no use, and is taken away by the next that is kept too.
        let _ = fs::remove_dir_all(&next);
    })
}

/// Returns the model as it was, or why there is none.
pub(super) fn find(
    models: &Path,
    model: &RecordedModel,
    files: &mut Files,
) -> Result<PathBuf, String> {
    let path = model.path.display();
    let Some((name, file)) = model.kept_name().zip(model.path.file_name()) else {
        return Err(format!("{path}: what it held then is not known"));
    };
    let place = models.join(name);
    if !place.is_dir() {
        return Err(format!(
            "{path} holds something else than then, and no link to what it was could be kept"
        ));
    }
    if !model.is_in(&place, files) {
        return Err(format!(
            "{path} was rewritten in place, and what it held then with it: only what is replaced by renaming is kept"
        ));
    }
    Ok(place.join(file))
}

/// Removes what no recorded model needs.
pub(super) fn prune(models: &Path, needed: &[String]) -> io::Result<()> {
    for entry in fs::read_dir(models)? {
        let entry = entry?;
        let name = entry.file_name();
        if !needed.iter().any(|needed| name == needed.as_str()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn link(folder: &Path, model: &RecordedModel) -> io::Result<()> {
    for part in &model.parts {
        let place = folder.join(&part.path);
        let parent = place.parent().unwrap_or(folder);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
        // What a link leads to, not the link.
        let file = fs::canonicalize(model.folder().join(&part.path))?;
        fs::hard_link(file, place)?;
    }
    Ok(())
}

/// Tells whether the files of a folder are those of the model themselves.
fn is_linked(place: &Path, model: &RecordedModel) -> bool {
    model.parts.iter().all(|part| {
        let node = |path: PathBuf| fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
        let kept = node(place.join(&part.path));
        kept.is_some() && kept == node(model.folder().join(&part.path))
    })
}
