//! Where the state of a server is kept.

use std::fs;
use std::path::{Path, PathBuf};

use crate::graph::Digest;

use super::HistoryError;

/// Digits of the configuration's place in the name of its state directory.
const DIGITS: usize = 8;

/// Returns the state directory of a configuration, if nobody says otherwise: one for each place that a file can have, also while
/// the file is not there. A link is not followed, as what it leads to may be another version at another time.
pub fn state_directory(given: Option<&Path>, config: &Path) -> Result<PathBuf, HistoryError> {
    if let Some(given) = given {
        return Ok(std::path::absolute(given).unwrap_or_else(|_| given.to_owned()));
    }
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let chosen = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || variable("HOME").filter(|path| path.is_absolute());
    let states = chosen.or_else(|| Some(home()?.join(".local/state")));
    let states = states.ok_or(HistoryError::NoPlace)?;
    let place = place_of(config);
    let mut digits = Digest::of("configuration", place.as_os_str().as_encoded_bytes()).short();
    digits.truncate(DIGITS);
    let stem = config.file_stem().unwrap_or_default().to_string_lossy();
    Ok(states.join("blockflow").join(format!("{stem}-{digits}")))
}

fn place_of(config: &Path) -> PathBuf {
    let whole = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let parent = whole
        .parent()
        .and_then(|parent| fs::canonicalize(parent).ok());
    match (parent, whole.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_a_directory_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = |path: &Path| state_directory(None, path).expect("a home");
        let one = state(&folder.path().join("blocks.toml"));
        fs::create_dir(folder.path().join("a")).expect("a folder");
        std::os::unix::fs::symlink("a", folder.path().join("b")).expect("a link");
        assert_ne!(one, state(&folder.path().join("a/blocks.toml")));
        assert_ne!(one, state(&folder.path().join("other.toml")));
        assert_eq!(
            state(&folder.path().join("a/blocks.toml")),
            state(&folder.path().join("b/blocks.toml"))
        );
        // A link that is flipped does not move the state.
        let link = folder.path().join("blocks.toml");
        std::os::unix::fs::symlink("a/blocks.toml", &link).expect("a link");
        assert_eq!(state(&link), one);
        let given = state_directory(Some(Path::new("here")), &link).expect("given");
        assert!(given.is_absolute() && given.ends_with("here"));
    }
}
