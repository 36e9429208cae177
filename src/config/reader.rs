//! A table of a configuration, read key by key with every problem recorded.
//!
//! A method that finds something wrong records it and returns the default, or `None` where there is none, and the walk
//! goes on, so that one look finds all there is. Keys that nobody asked for are reported when the section is finished.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use config::{Map, Value, ValueKind};

use crate::types::{Problem, nearest};

use super::locator::join;
use super::value::{quoted, show, typed};

/// Longest name of a host, process, block, pipeline, step or dimension.
const NAME_CHARS_MAX: usize = 64;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

/// One table, its defaults, and which of its keys are known.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    values: Map<String, Value>,
    defaults: Option<&'a Map<String, Value>>,
    known: Vec<String>,
    problems: &'a Problems,
}

/// Unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Seconds,
}

impl Problems {
    pub(super) fn of(found: Vec<Problem>) -> Self {
        Self(RefCell::new(found))
    }

    pub(super) fn add(&self, key: &str, seen: impl Into<String>, expected: impl Into<String>) {
        self.0.borrow_mut().push(Problem::new(key, seen, expected));
    }

    pub(super) fn into_inner(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(
        values: Map<String, Value>,
        defaults: &'a Map<String, Value>,
        problems: &'a Problems,
    ) -> Self {
        Self {
            values,
            defaults: Some(defaults),
            ..Self::empty(String::new(), problems)
        }
    }

    /// Reads a value as a table of its own; `path` is its key.
    pub(super) fn of(path: String, value: Value, problems: &'a Problems) -> Option<Self> {
        let value = typed(value);
        match value.kind {
            ValueKind::Table(values) => Some(Self {
                values,
                ..Self::empty(path, problems)
            }),
            _ => {
                problems.add(&path, show(&value), "expected a table");
                None
            }
        }
    }

    fn empty(path: String, problems: &'a Problems) -> Self {
        Self {
            path,
            values: Map::new(),
            defaults: None,
            known: Vec::new(),
            problems,
        }
    }

    pub(super) fn with_defaults(mut self, defaults: &'a Map<String, Value>) -> Self {
        self.defaults = Some(defaults);
        self
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    pub(super) fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// Records that something is wrong with a key of this table.
    pub(super) fn wrong(&self, name: &str, seen: impl Into<String>, expected: impl Into<String>) {
        self.problems.add(&self.path_of(name), seen, expected);
    }

    /// Tells whether the configuration itself says something about the key; defaults do not count.
    pub(super) fn has(&mut self, name: &str) -> bool {
        self.know(name);
        self.values.contains_key(name)
    }

    /// Reads a key that need not be there. The outer `None`: something is wrong with it.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.has(name) {
            true => read(self).map(Some),
            false => Some(None),
        }
    }

    /// Makes keys known that are not read, because what they would mean is not clear.
    pub(super) fn know(&mut self, name: &str) {
        if !self.known.iter().any(|known| known == name) {
            self.known.push(name.to_owned());
        }
    }

    /// Takes a value out, or its default. `None`: there is neither.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.know(name);
        self.values
            .remove(name)
            .or_else(|| self.defaults?.get(name).cloned())
    }

    fn required(&mut self, name: &str, expected: &str) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            self.wrong(name, "is missing", expected);
        }
        value
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!(
            "expected a whole number from {} to {}",
            range.start(),
            range.end()
        );
        let read = |value: &Value| match value.kind {
            ValueKind::I64(number) => u64::try_from(number)
                .ok()
                .filter(|number| range.contains(number)),
            _ => None,
        };
        let value = typed(self.required(name, &expected)?);
        read(&value).or_else(|| {
            self.wrong(name, show(&value), expected);
            read(self.default(name)?)
        })
    }

    /// Returns what stands for a value that is wrong, so that what depends on it can be looked at.
    fn default(&self, name: &str) -> Option<&'a Value> {
        self.defaults?.get(name)
    }

    pub(super) fn size(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<usize> {
        usize::try_from(self.number(name, range)?).ok()
    }

    /// Reads a number, whole or with a fraction.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding is what f32 means"
    )]
    pub(super) fn fraction(&mut self, name: &str, range: RangeInclusive<f32>) -> Option<f32> {
        let (least, most) = (range.start(), range.end());
        let expected = format!("expected a number from {least} to {most}");
        let read = |value: &Value| {
            let number = decimal(value).map(|number| number as f32);
            number.filter(|number| range.contains(number))
        };
        let value = typed(self.required(name, &expected)?);
        read(&value).or_else(|| {
            self.wrong(name, show(&value), expected);
            read(self.default(name)?)
        })
    }

    /// Reads a duration, whole or with a fraction; the range counts in the unit.
    pub(super) fn duration(
        &mut self,
        name: &str,
        unit: Unit,
        range: RangeInclusive<u32>,
    ) -> Option<Duration> {
        let word = if unit == Unit::Seconds {
            "seconds"
        } else {
            "milliseconds"
        };
        let expected = format!("expected {word} from {} to {}", range.start(), range.end());
        let bounds = f64::from(*range.start())..=f64::from(*range.end());
        let read = |value: &Value| decimal(value).filter(|count| bounds.contains(count));
        let value = typed(self.required(name, &expected)?);
        let count = read(&value).or_else(|| {
            self.wrong(name, show(&value), expected);
            read(self.default(name)?)
        })?;
        Some(Duration::from_secs_f64(if unit == Unit::Seconds {
            count
        } else {
            count / 1000.0
        }))
    }

    pub(super) fn text(&mut self, name: &str, expected: &str) -> Option<String> {
        let value = self.required(name, expected)?;
        match value.kind {
            ValueKind::String(text) if !text.trim().is_empty() => Some(text),
            _ => {
                self.wrong(name, show(&value), expected);
                self.default_text(name)
            }
        }
    }

    fn default_text(&self, name: &str) -> Option<String> {
        self.default(name)?.clone().into_string().ok()
    }

    /// Reads a text that prints and parses.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        let text = self.text(name, expected)?;
        text.parse().ok().or_else(|| {
            self.wrong(name, format!("is {}", quoted(&text)), expected);
            self.default_text(name)?.parse().ok()
        })
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let listed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let expected = format!("expected {}", listed.join(" or "));
        let text = self.text(name, &expected)?;
        let find = |text: &str| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value)
        };
        find(&text).or_else(|| {
            let meant = nearest(&text, words.iter().map(|(word, _)| *word));
            let hint = meant
                .map(|word| format!("did you mean {word:?}?"))
                .unwrap_or(expected);
            self.wrong(name, format!("is {}", quoted(&text)), hint);
            find(&self.default_text(name)?)
        })
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let expected = "expected true or false";
        let value = typed(self.required(name, expected)?);
        match value.kind {
            ValueKind::Boolean(flag) => Some(flag),
            _ => {
                self.wrong(name, show(&value), expected);
                None
            }
        }
    }

    /// Reads a list; each element comes with its own key path.
    pub(super) fn list(&mut self, name: &str, expected: &str) -> Option<Vec<(String, Value)>> {
        let value = typed(self.required(name, expected)?);
        let path = self.path_of(name);
        match value.kind {
            ValueKind::Array(list) if !list.is_empty() => {
                let place = |(index, value)| (format!("{path}[{index}]"), value);
                Some(list.into_iter().enumerate().map(place).collect())
            }
            _ => {
                self.wrong(name, show(&value), expected);
                None
            }
        }
    }

    /// Reads a list of texts; each comes with its own key path.
    pub(super) fn texts(&mut self, name: &str, expected: &str) -> Option<Vec<(String, String)>> {
        let list = self.list(name, expected)?;
        let total = list.len();
        let mut texts = Vec::new();
        for (path, value) in list {
            match value.kind {
                ValueKind::String(text) if !text.trim().is_empty() => texts.push((path, text)),
                _ => self.problems.add(&path, show(&value), expected),
            }
        }
        (texts.len() == total).then_some(texts)
    }

    /// Reads a table inside this one, with its part of the defaults.
    pub(super) fn section(&mut self, name: &str) -> Option<Self> {
        let inner = self
            .defaults
            .and_then(|defaults| defaults.get(name))
            .map(|value| &value.kind);
        let path = self.path_of(name);
        self.know(name);
        let value = match (self.values.remove(name), inner) {
            (Some(value), _) => value,
            (None, Some(_)) => Value::new(None, Map::<String, Value>::new()),
            (None, None) => {
                self.problems.add(&path, "is missing", "expected a table");
                return None;
            }
        };
        let section = Self::of(path.clone(), value, self.problems);
        match inner {
            Some(ValueKind::Table(defaults)) => {
                let empty = || Self::empty(path, self.problems);
                Some(section.unwrap_or_else(empty).with_defaults(defaults))
            }
            _ => section,
        }
    }

    /// Reads a table inside this one that need not be there, whatever the defaults say of it.
    pub(super) fn given(&mut self, name: &str) -> Option<Self> {
        match self.has(name) {
            true => self.section(name),
            false => None,
        }
    }

    /// Returns the names in this table, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.values.keys().cloned().collect();
        names.sort();
        names
    }

    /// Checks a name given by the user; `key` is where it stands.
    pub(super) fn check_name(&self, name: &str, key: &str) -> bool {
        let sound = is_name(name);
        if !sound {
            self.problems
                .add(key, format!("is named {}", quoted(name)), name_rule());
        }
        sound
    }

    /// Reports every key that nobody asked for. `noun` says whose keys they would be.
    pub(super) fn finish(self, noun: &str) {
        for name in self.values.keys().filter(|name| !self.known.contains(name)) {
            let known = self.known.iter().map(String::as_str);
            let expected = match nearest(name, known) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("expected one of {}", self.known.join(", ")),
            };
            self.wrong(name, format!("is no key of {noun}"), expected);
        }
    }
}

/// Reads any finite number.
pub(super) fn decimal(value: &Value) -> Option<f64> {
    match value.kind {
        #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
        ValueKind::I64(number) => Some(number as f64),
        ValueKind::Float(number) => Some(number).filter(|number| number.is_finite()),
        _ => None,
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    name.chars().all(allowed)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= NAME_CHARS_MAX
}

pub(super) fn name_rule() -> String {
    let rule = "expected letters, digits, _ and - only, beginning with a letter or digit";
    format!("{rule}, {NAME_CHARS_MAX} characters at most")
}
