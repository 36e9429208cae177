//! The epochs that were applied, in their order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::{debug, warn};

use crate::app::Overrides;
use crate::app::steps::Step;
use crate::graph::Digest;
use crate::types::{LogFormat, LogSpec, SourceSpec, Spec};

use super::files::{Files, Stamp, stamp_of};
use super::folder::{EPOCHS, Folder, MODELS, failed, read};
use super::record::{RECORD_BYTES_MAX, epoch_of, file_name};
use super::{HistoryError, Record, RecordedFile, RecordedModel, kept};

/// Epochs that are kept.
const EPOCHS_MAX: usize = 16;

/// A state directory, or why there is none.
#[derive(Debug)]
pub struct Journal {
    place: Result<PathBuf, HistoryError>,
    /// Where this process may write.
    folder: Option<Folder>,
    files: Files,
}

/// What a state directory has of epochs.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The newest first.
    pub records: Vec<Record>,
    /// What could not be read.
    pub skipped: Vec<HistoryError>,
    /// The highest number that there is, also of one that could not be read.
    pub last: Option<u32>,
}

/// What was at the paths of files at some moment.
#[derive(Debug, Clone)]
pub(in crate::app) struct Seen {
    pub stamps: BTreeMap<PathBuf, Option<Stamp>>,
    pub at: SystemTime,
}

impl Journal {
    /// Takes a state directory to write to; where that cannot be done, nothing is read or written.
    pub fn open(place: Result<PathBuf, HistoryError>) -> Self {
        let taken = place.and_then(|path| Folder::take(&path));
        let (place, folder) = match taken {
            Ok(folder) => (Ok(folder.path().to_owned()), Some(folder)),
            Err(error) => (Err(error), None),
        };
        Self {
            place,
            folder,
            files: Files::default(),
        }
    }

    /// Looks into a state directory that another process may have.
    pub fn look(place: PathBuf) -> Self {
        Self {
            place: Ok(place),
            folder: None,
            files: Files::default(),
        }
    }

    /// Returns the state directory, or why there is none.
    pub fn place(&self) -> Result<&Path, &HistoryError> {
        self.place.as_deref()
    }

    /// Reads what there is.
    pub fn recorded(&self) -> Recorded {
        let Ok(place) = &self.place else {
            return Recorded::default();
        };
        let directory = place.join(EPOCHS);
        let mut epochs = match epochs_in(&directory) {
            Ok(epochs) => epochs,
            Err(error) => {
                return Recorded {
                    skipped: vec![error],
                    ..Recorded::default()
                };
            }
        };
        epochs.sort_unstable_by(|one, other| other.cmp(one));
        let mut recorded = Recorded {
            last: epochs.first().copied(),
            ..Recorded::default()
        };
        for epoch in epochs.into_iter().take(EPOCHS_MAX) {
            let path = directory.join(file_name(epoch));
            let bytes = read(&path, RECORD_BYTES_MAX);
            match bytes.and_then(|bytes| Record::decode(&path, epoch, &bytes)) {
                Ok(record) => recorded.records.push(record),
                Err(error) => recorded.skipped.push(error),
            }
        }
        recorded
    }

    /// Reads what there is, and logs what cannot be read.
    pub(in crate::app) fn recorded_aloud(&self) -> Recorded {
        let recorded = self.recorded();
        for error in &recorded.skipped {
            warn!(%error, "a record of the history is skipped");
        }
        recorded
    }

    /// Writes a record, in place of what there may be of that epoch, and keeps its models. What is older than those that are kept
    /// goes.
    pub(in crate::app) fn write(&mut self, record: &Record) -> Result<(), HistoryError> {
        let folder = self.folder.as_ref().ok_or(HistoryError::Off)?;
        folder.put(&file_name(record.epoch), &record.encode()?)?;
        Step::Renamed.reached();
        let models = folder.path().join(MODELS);
        for model in &record.models {
            if !model.is_in(model.folder(), &mut self.files) {
                continue;
            }
            if let Err(cause) = kept::keep(&models, model, &mut self.files) {
                let path = model.path.display();
                debug!(%path, %cause, "no link to a model can be kept");
            }
        }
        self.prune();
        Ok(())
    }

    /// Removes old epochs, and models of no recorded one. What cannot be removed now is by the next.
    fn prune(&self) {
        let Ok(place) = &self.place else {
            return;
        };
        let directory = place.join(EPOCHS);
        let mut epochs = epochs_in(&directory).unwrap_or_default();
        epochs.sort_unstable_by(|one, other| other.cmp(one));
        for epoch in epochs.into_iter().skip(EPOCHS_MAX) {
            let _ = fs::remove_file(directory.join(file_name(epoch)));
        }
        let recorded = self.recorded();
        if !recorded.skipped.is_empty() {
            // What they need is not known.
            return;
        }
        let models = recorded.records.iter().flat_map(|record| &record.models);
        let needed: Vec<_> = models.filter_map(RecordedModel::kept_name).collect();
        if let Err(cause) = kept::prune(&place.join(MODELS), &needed) {
            debug!(%cause, "models of old epochs stay");
        }
    }

    /// Returns the configuration of a record, with the models that blocks had then where they are now. `Err` names those that
    /// are nowhere.
    pub(in crate::app) fn restore(
        &mut self,
        record: &Record,
        overrides: &Overrides,
    ) -> Result<Spec, Vec<String>> {
        let mut spec = record.spec.clone();
        let mut wrong: Vec<_> = overrides
            .apply(&mut spec)
            .iter()
            .map(ToString::to_string)
            .collect();
        for block in &mut spec.blocks {
            let (SourceSpec::Graph { path, .. } | SourceSpec::TorchScript { path, .. }) =
                &mut block.source
            else {
                continue;
            };
            let models = record.models.iter();
            let Some(model) = models.into_iter().find(|model| model.path == *path) else {
                // It came by a swap since.
                continue;
            };
            if model.is_in(model.folder(), &mut self.files) {
                continue;
            }
            match self.kept(model) {
                Ok(kept) => {
                    *path = kept;
                    // It was proven when it was applied; the cases beside it may be those of another version by now.
                    block.proof.golden = None;
                }
                Err(cause) => wrong.push(format!("blocks.{}.model: {cause}", block.name)),
            }
        }
        if wrong.is_empty() {
            Ok(spec)
        } else {
            Err(wrong)
        }
    }

    fn kept(&mut self, model: &RecordedModel) -> Result<PathBuf, String> {
        let place = self.place.as_ref().map_err(ToString::to_string)?;
        kept::find(&place.join(MODELS), model, &mut self.files)
    }

    /// Describes models, which may have `data` files beside them, as they are, if they still are as they were `seen`.
    pub(in crate::app) fn describe(
        &mut self,
        models: BTreeMap<PathBuf, Vec<PathBuf>>,
        seen: &Seen,
    ) -> Vec<RecordedModel> {
        let describe = |(path, data): (PathBuf, Vec<PathBuf>)| {
            let folder = path.parent().unwrap_or(Path::new(""));
            let parts = std::iter::once(&path).chain(&data).map(|file| {
                let mut part = self.file(file, seen);
                if let Ok(inside) = file.strip_prefix(folder) {
                    inside.clone_into(&mut part.path);
                }
                part
            });
            let parts = parts.collect();
            RecordedModel { path, parts }
        };
        models.into_iter().map(describe).collect()
    }

    /// Describes a file as it is, if it still is as it was seen.
    pub(in crate::app) fn file(&mut self, path: &Path, seen: &Seen) -> RecordedFile {
        // Where nothing is kept, nobody is going to ask.
        let kept = self.place.is_ok();
        let digest = kept.then(|| self.files.digest(path).ok()).flatten();
        let same = seen
            .stamps
            .get(path)
            .is_none_or(|seen| *seen == stamp_of(path));
        let digest = digest.filter(|_| same);
        RecordedFile {
            path: path.to_owned(),
            bytes: digest.map_or(0, |(_, bytes)| bytes),
            digest: digest.map(|(digest, _)| digest.to_string()),
        }
    }

    /// Returns a digest of what a configuration says and its models hold; how it is logged is no part of it.
    pub(in crate::app) fn fingerprint(&mut self, spec: &Spec) -> String {
        let log = LogSpec {
            filter: String::new(),
            format: LogFormat::Text,
        };
        let spec = Spec {
            log,
            ..spec.clone()
        };
        let sources = spec.blocks.iter().map(|block| &block.source);
        let digests = sources.filter_map(SourceSpec::path).map(|path| {
            let digest = self.files.digest(path).ok();
            digest.map(|(digest, _)| digest.to_string())
        });
        let parts = (digests.collect::<Vec<_>>(), &spec);
        let text = serde_json::to_vec(&parts).expect("a specification has a form in JSON");
        Digest::of("configured", &text).to_string()
    }
}

impl Seen {
    /// Looks at files as they are now.
    pub(in crate::app) fn now(files: Vec<PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let stamp = stamp_of(&path);
            (path, stamp)
        };
        let at = SystemTime::now();
        let stamps = files.into_iter().map(look).collect();
        Self { stamps, at }
    }
}

fn epochs_in(directory: &Path) -> Result<Vec<u32>, HistoryError> {
    let entries = fs::read_dir(directory).map_err(failed("read", directory))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| epoch_of(name.to_str()?)).collect())
}
