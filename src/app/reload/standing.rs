//! What the configuration that is served stands on: the files, or a record in their place, and what an operator has set over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::app::Overrides;
use crate::app::history::{Journal, Record, Seen, Trigger};
use crate::types::Spec;

/// What is served in place of, and over, what the files say.
#[derive(Debug, Clone, Default)]
pub(in crate::app) struct Standing {
    pub overrides: Overrides,
    /// The epoch that takes the place of what the files say.
    pub base: Option<Box<Record>>,
}

/// Models, each with the files beside it in which some of its weights lie.
pub(in crate::app) type Models = BTreeMap<PathBuf, Vec<PathBuf>>;

impl Standing {
    /// Makes the record of an epoch that has no number yet. `models` are those that were read, `seen` is how files were before.
    pub(in crate::app) fn record(
        &self,
        journal: &mut Journal,
        configuration: &Path,
        (trigger, spec, mut models): (Trigger, &Spec, Models),
        seen: &Seen,
    ) -> Record {
        let mut served = spec.clone();
        // What cannot be swapped was refused.
        let _ = self.overrides.swap(&mut served);
        let paths = served.blocks.iter().filter_map(|block| block.source.path());
        let known = self.base.as_ref().map(|base| &base.models);
        let mut described = BTreeMap::new();
        let mut others = Models::new();
        for path in paths {
            let before = known.and_then(|known| known.iter().find(|model| model.path == path));
            match before {
                Some(model) => drop(described.insert(path.to_owned(), model.clone())),
                // One of a pipeline that is not loaded was not read; then its file alone is known.
                None => {
                    let data = models.remove(path).unwrap_or_default();
                    others.insert(path.to_owned(), data);
                }
            }
        }
        let others = journal.describe(others, seen).into_iter();
        described.extend(others.map(|model| (model.path.clone(), model)));
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let time_ms = since.map_or(0, |since| since.as_millis());
        Record {
            epoch: 0,
            time_ms: u64::try_from(time_ms).unwrap_or(u64::MAX),
            trigger,
            changes: Vec::new(),
            configuration: journal.file(configuration, seen),
            models: described.into_values().collect(),
            overrides: self.overrides.clone(),
            spec: spec.clone(),
        }
    }
}
