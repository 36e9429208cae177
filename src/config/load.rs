//! Layers defaults, file and environment, and walks the result.

use std::fs;
use std::path::Path;

use config::{Config, File, FileFormat, Map, Source, Value, ValueKind};

use crate::types::{Problem, Spec, nearest};

use super::defaults::{self, SECTIONS};
use super::reader::{Problems, Section};
use super::{ConfigError, Invalid, Locator, block, environment, pipeline, sections};

/// A configuration of sound form, and where each of its keys stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub spec: Spec,
    pub locator: Locator,
}

/// Reads a configuration from a file and from those variables that begin with `BLOCKFLOW_`. Without a file, defaults
/// and environment alone count. Relative model paths are taken from the directory of the file.
pub fn load(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let mut found = Vec::new();
    let (mut locator, file) = match path {
        Some(path) => read(path, &mut found)?,
        None => (Locator::default(), Map::new()),
    };
    let mut builder = Config::builder()
        .add_source(Layer(defaults()))
        .add_source(Layer(file));
    for layer in environment::layers(environment, &mut locator, &mut found) {
        builder = builder.add_source(Layer(layer));
    }
    let merged = builder.build().expect("layers are read already").cache;

    let problems = Problems::of(found);
    let directory = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let spec = walk(merged, &locator, directory, &problems);
    let problems = problems.into_inner();
    match spec {
        Some(spec) if problems.is_empty() => Ok(Loaded { spec, locator }),
        _ => Err(ConfigError::Invalid(Invalid { problems, locator })),
    }
}

/// Reads the file. Keys that are no section are recorded and left out.
fn read(
    path: &Path,
    found: &mut Vec<Problem>,
) -> Result<(Locator, Map<String, Value>), ConfigError> {
    let text = fs::read_to_string(path).map_err(|cause| ConfigError::Read {
        path: path.to_owned(),
        cause,
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let syntax = |(line, column, cause)| ConfigError::Syntax {
        path: path.to_owned(),
        line,
        column,
        cause,
    };
    let locator = Locator::of_text(path, text).map_err(syntax)?;
    let mut file = File::from_str(text, FileFormat::Toml)
        .collect()
        .map_err(|error| syntax((1, 1, error.to_string().replace('\n', " "))))?;
    file.retain(|name, _| {
        let known = SECTIONS.contains(&name.as_str());
        if !known {
            let expected = match nearest(name, SECTIONS) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("expected one of {}", SECTIONS.join(", ")),
            };
            found.push(Problem::new(
                name,
                "is no section of a configuration",
                expected,
            ));
        }
        known
    });
    Ok((locator, file))
}

fn defaults() -> Map<String, Value> {
    let section = |name: &str| {
        let kind = ValueKind::Table(defaults::table(name).clone());
        (name.to_owned(), Value::new(None, kind))
    };
    ["server", "limits", "log"]
        .map(section)
        .into_iter()
        .collect()
}

fn walk(merged: Value, locator: &Locator, directory: &Path, problems: &Problems) -> Option<Spec> {
    let ValueKind::Table(values) = merged.kind else {
        return None;
    };
    let mut root = Section::root(values, problems);
    let server = root.section("server").and_then(sections::server);
    let limits = root.section("limits").and_then(sections::limits);
    let log = root.section("log").and_then(sections::log);
    let blocks = named(&mut root, "blocks", locator, |name, section| {
        block::block(name, section, directory)
    });
    let pipelines = named(&mut root, "pipelines", locator, pipeline::pipeline);
    Some(Spec {
        server: server?,
        limits: limits?,
        log: log?,
        blocks: blocks?,
        pipelines: pipelines?,
    })
}

/// Reads every table of `blocks` or `pipelines`, in the order of the file.
fn named<T>(
    root: &mut Section<'_>,
    kind: &'static str,
    locator: &Locator,
    read: impl Fn(&str, Section<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    if !root.has(kind) {
        return Some(Vec::new());
    }
    let mut all = root.section(kind)?;
    let mut sound = true;
    let mut list = Vec::new();
    for name in locator.names(kind) {
        sound &= all.check_name(name, &all.path_of(name));
        let read = all.section(name).and_then(|section| read(name, section));
        sound &= read.is_some();
        list.extend(read);
    }
    sound.then_some(list)
}

/// Values that are read already, as a source of the `config` crate.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}
