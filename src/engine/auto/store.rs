//! Where choices are remembered: this process, and `blockflow/choices.jsonl` in the user's cache, for the next.
//!
//! Processes may read and write the file at the same time: each sees a whole one. Of two choices written at once one may
//! be lost, and is found again.

use std::env::var_os;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::choices::{Choice, Choices};
use super::key::Key;
use crate::types::lock;

static CHOICES: Mutex<Choices> = Mutex::new(Choices::new());

/// Returns the engine that was chosen for a block before; empty if none was.
pub(super) fn recall(key: &Key) -> String {
    let choices = lock(&CHOICES);
    if let Some(engine) = choices.get(key) {
        return engine.to_owned();
    }
    let kept = file().and_then(|path| read(&path));
    let engine = kept.as_ref().and_then(|kept| kept.get(key));
    engine.unwrap_or_default().to_owned()
}

/// Remembers the engine of a block. Where the file cannot be written, this process does.
pub(super) fn remember(key: Key, engine: &str) {
    let mut choices = lock(&CHOICES);
    let engine = engine.to_owned();
    let choice = Choice { key, engine };
    choices.add(choice.clone());
    let Some(path) = file() else {
        return;
    };
    // Other processes may have added to it.
    let mut kept = read(&path).unwrap_or_default();
    kept.add(choice);
    if let Err(error) = kept.write(&path) {
        ignored(&path, &error);
    }
}

fn read(path: &Path) -> Option<Choices> {
    match Choices::read(path) {
        Ok((choices, wrong)) => {
            if wrong > 0 {
                tracing::warn!(path = %path.display(), lines = wrong, "lines of remembered engines are damaged and left out");
            }
            Some(choices)
        }
        Err(error) => {
            ignored(path, &error);
            None
        }
    }
}

fn ignored(path: &Path, error: &io::Error) {
    tracing::warn!(path = %path.display(), %error, "the choice of an engine is not kept for the next start");
}

/// Returns the file as the XDG base directory specification has it; none where the environment names no folder.
fn file() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let named = var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(var_os("HOME")?).join(".cache"));
    let cache = named
        .and_then(absolute)
        .or_else(|| home().and_then(absolute))?;
    Some(cache.join("blockflow/choices.jsonl"))
}
