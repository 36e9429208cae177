//! Layers defaults, file and environment, and walks the result.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use config::{Config, File, FileFormat, Map, Source, Value, ValueKind};

use crate::types::{DeviceSpec, Problem, Spec, Unsound, nearest};

use super::defaults::{self, SECTIONS};
use super::reader::{Problems, Section};
use super::{
    ConfigError, Locator, block, device, environment, host, pipeline, place, reload, sections,
};

/// What a configuration says, all that is wrong with its form, and where each of its keys stands.
///
/// Hosts, blocks and pipelines that could not be understood are left out of `spec` and named in `unsound`. There are problems
/// wherever there is something unsound, but not only there.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub spec: Spec,
    pub unsound: Unsound,
    pub problems: Vec<Problem>,
    pub locator: Locator,
}

/// Reads a configuration from a file and from those variables that begin with `BLOCKFLOW_`. Relative model paths are
/// taken from the directory of the file.
pub fn load(
    path: &Path,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let mut found = Vec::new();
    let (mut locator, file) = read(path, &mut found)?;
    let mut builder = Config::builder().add_source(Layer(file));
    for layer in environment::layers(environment, &mut locator, &mut found) {
        builder = builder.add_source(Layer(layer));
    }
    let merged = builder.build().expect("layers are read already").cache;
    let ValueKind::Table(values) = merged.kind else {
        unreachable!("layers of tables are a table")
    };

    let problems = Problems::of(found);
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut root = Section::root(values, defaults::all(), &problems);
    let devices = devices(&mut root, &locator);
    let (hosts, unsound_hosts) = named(&mut root, "hosts", &locator, host::host);
    let (blocks, unsound_blocks) = named(&mut root, "blocks", &locator, |name, section| {
        block::block(name, section, directory)
    });
    let (pipelines, unsound_pipelines) =
        named(&mut root, "pipelines", &locator, pipeline::pipeline);
    place::check_alone(&blocks, &problems);
    let spec = Spec {
        server: once(&mut root, "server", sections::server),
        limits: once(&mut root, "limits", sections::limits),
        log: once(&mut root, "log", sections::log),
        devices,
        reload: once(&mut root, "reload", reload::reload),
        hosts,
        blocks: blocks.into_iter().map(|(block, _)| block).collect(),
        pipelines,
    };
    Ok(Loaded {
        spec,
        unsound: Unsound {
            hosts: unsound_hosts,
            blocks: unsound_blocks,
            pipelines: unsound_pipelines,
        },
        problems: problems.into_inner(),
        locator,
    })
}

impl Loaded {
    /// Finds it a problem if no pipeline is declared, as there would be nothing to serve.
    #[must_use]
    pub fn demand_pipelines(mut self) -> Self {
        if self.spec.pipelines.is_empty() && self.unsound.pipelines.is_empty() {
            let expected = "expected [pipelines.NAME] with flow or edges, once at least";
            let problem = Problem::new("pipelines", "declares none", expected);
            self.problems.push(problem);
        }
        self
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

/// Reads a section that every configuration has, if only by default.
fn once<T>(
    root: &mut Section<'_>,
    name: &'static str,
    read: impl Fn(Section<'_>) -> Option<T>,
) -> T {
    let read = root.section(name).and_then(read);
    read.expect("each of its keys has a sound default")
}

/// Reads every table of `devices`, in the order of the file. One that is unsound is reported, and nothing is said of it.
fn devices(root: &mut Section<'_>, locator: &Locator) -> Vec<DeviceSpec> {
    let mut all = root.given("devices");
    let names = locator.names("devices").iter();
    let read = names.filter_map(|name| {
        let section = all.as_mut()?.section(name)?;
        device::device(name, section)
    });
    read.collect()
}

/// Reads every table of `hosts`, `blocks` or `pipelines`, in the order of the file. Returns them and the names of unsound ones.
fn named<T>(
    root: &mut Section<'_>,
    kind: &'static str,
    locator: &Locator,
    read: impl Fn(&str, Section<'_>) -> Option<T>,
) -> (Vec<T>, Vec<String>) {
    let (mut sound, mut unsound) = (Vec::new(), Vec::new());
    let mut all = root.given(kind);
    for name in locator.names(kind) {
        let read = all.as_mut().and_then(|all| {
            let named = all.check_name(name, &all.path_of(name));
            let read = all.section(name).and_then(|section| read(name, section));
            read.filter(|_| named)
        });
        match read {
            Some(read) => sound.push(read),
            None => unsound.push(name.clone()),
        }
    }
    (sound, unsound)
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
