//! Where each key stands: line of the file or variable of the environment.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, TomlError, Value};

use crate::types::Problem;

use super::Located;

/// Finds the place of a key path such as `pipelines.digit.flow[1]` and gives problems their places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locator {
    path: PathBuf,
    lines: BTreeMap<String, usize>,
    variables: BTreeMap<String, String>,
    names: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Line(usize),
    /// Somewhere in the file, or absent from it.
    File,
    Variable(&'a str),
}

impl Locator {
    /// Reads the places of all keys of a TOML text; on a syntax error returns line, column (from 1) and cause.
    pub(super) fn of_text(path: &Path, text: &str) -> Result<Self, (usize, usize, String)> {
        let document = Document::parse(text).map_err(|error| syntax(text, &error))?;
        let mut locator = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let mut walk = Walk {
            starts: line_starts(text),
            locator: &mut locator,
        };
        walk.table("", document.as_table());
        Ok(locator)
    }

    pub(super) fn add_variable(&mut self, key: &str, variable: &str) {
        self.variables.insert(key.to_owned(), variable.to_owned());
    }

    /// Returns the names in a table of the file, in its order.
    pub(super) fn names(&self, table: &str) -> &[String] {
        self.names.get(table).map_or(&[], Vec::as_slice)
    }

    /// Returns the line (from 1) of the key, or of the closest table or list around it that the file has.
    pub fn line(&self, key: &str) -> Option<usize> {
        match self.place(key) {
            Place::Line(line) => Some(line),
            Place::File | Place::Variable(_) => None,
        }
    }

    fn place(&self, key: &str) -> Place<'_> {
        if !self.lines.contains_key(key)
            && let Some(variable) = self.variable_below(key)
        {
            return Place::Variable(variable);
        }
        let mut rest = key;
        loop {
            if let Some(variable) = self.variables.get(rest) {
                return Place::Variable(variable);
            }
            if let Some(line) = self.lines.get(rest) {
                return Place::Line(*line);
            }
            match rest.rfind(['.', '[']) {
                Some(end) => rest = &rest[..end],
                None => return Place::File,
            }
        }
    }

    /// Returns a variable that made a table of the key.
    fn variable_below(&self, key: &str) -> Option<&str> {
        let below = format!("{key}.");
        let (found, variable) = self.variables.range(below.clone()..).next()?;
        found.starts_with(&below).then_some(variable)
    }

    /// Puts problems in the order of the file, then of the environment, each once and with its place.
    pub fn locate(&self, problems: Vec<Problem>) -> Vec<Located> {
        let mut placed: Vec<_> = problems
            .iter()
            .map(|problem| (self.place(&problem.key), problem))
            .collect();
        placed.sort();
        placed.dedup();
        let located = placed.into_iter().map(|(place, problem)| {
            let (file, line) = match place {
                Place::Line(line) => (self.path.display().to_string(), Some(line)),
                Place::File => (self.path.display().to_string(), None),
                Place::Variable(variable) => (format!("environment {variable}"), None),
            };
            Located::new(file, line, problem.clone())
        });
        located.collect()
    }
}

struct Walk<'a> {
    starts: Vec<usize>,
    locator: &'a mut Locator,
}

impl Walk<'_> {
    fn table(&mut self, path: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            self.locator
                .names
                .entry(path.to_owned())
                .or_default()
                .push(name.to_owned());
            let path = join(path, name);
            let key = table.key(name).and_then(toml_edit::Key::span);
            self.note(&path, key.or_else(|| item.span()));
            self.item(&path, item);
        }
    }

    fn item(&mut self, path: &str, item: &Item) {
        if let Some(table) = item.as_table_like() {
            self.table(path, table);
        } else if let Some(tables) = item.as_array_of_tables() {
            for (index, table) in tables.iter().enumerate() {
                let path = format!("{path}[{index}]");
                self.note(&path, table.span());
                self.table(&path, table);
            }
        } else if let Some(value) = item.as_value() {
            self.value(path, value);
        }
    }

    fn value(&mut self, path: &str, value: &Value) {
        if let Some(table) = value.as_inline_table() {
            self.table(path, table);
        } else if let Some(list) = value.as_array() {
            for (index, element) in list.iter().enumerate() {
                let path = format!("{path}[{index}]");
                self.note(&path, element.span());
                self.value(&path, element);
            }
        }
    }

    fn note(&mut self, path: &str, span: Option<Range<usize>>) {
        if let Some(span) = span {
            let line = self.starts.partition_point(|start| *start <= span.start);
            self.locator.lines.insert(path.to_owned(), line);
        }
    }
}

/// Returns the key path of `name` in the table `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0)
        .chain(ends.map(|(index, _)| index + 1))
        .collect()
}

fn syntax(text: &str, error: &TomlError) -> (usize, usize, String) {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column, error.message().replace('\n', ", "))
}
