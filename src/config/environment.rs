//! Variables of the environment as one more layer of a configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;

use config::{Map, Value, ValueKind};

use crate::types::{Problem, nearest};

use super::Locator;
use super::defaults::SECTIONS;
use super::value::ENVIRONMENT;

const PREFIX: &str = "BLOCKFLOW_";

/// Variable with our prefix that is no key but a switch of the tests.
const OTHER: &str = "BLOCKFLOW_REQUIRE_GPU";

/// Sections whose tables bear names of the user's.
const NAMED: [&str; 4] = ["devices", "hosts", "blocks", "pipelines"];

/// Reads the variables with our prefix, one layer for each, in the order of their names. Tells the locator which
/// variable sets which key, and records those that name nothing.
pub(super) fn layers(
    environment: impl Iterator<Item = (OsString, OsString)>,
    locator: &mut Locator,
    problems: &mut Vec<Problem>,
) -> Vec<Map<String, Value>> {
    // A name that is not UTF-8 names nothing, and is reported like any other such name.
    let variables: BTreeMap<String, OsString> = environment
        .map(|(name, text)| (name.to_string_lossy().into_owned(), text))
        .filter(|(name, _)| name.starts_with(PREFIX) && name != OTHER)
        .collect();
    let mut layers = Vec::new();
    for (variable, text) in variables {
        let rest = variable[PREFIX.len()..].to_lowercase();
        let resolved = resolve(&rest, locator).and_then(|path| match text.into_string() {
            Ok(text) => Ok((path, text)),
            Err(_) => Err(Problem::new(
                path.join("."),
                "is not UTF-8",
                "expected text",
            )),
        });
        match resolved {
            Ok((path, text)) => {
                locator.add_variable(&path.join("."), &variable);
                layers.extend(nest(&path, text));
            }
            Err(problem) => {
                locator.add_variable(&problem.key, &variable);
                problems.push(problem);
            }
        }
    }
    layers
}

/// Returns how a name of the file is spelled in a variable, but for capitals.
fn spelled(name: &str) -> String {
    name.to_lowercase().replace(['-', ':'], "_")
}

/// Turns `blocks__backbone__batch__max` into the key's parts, the block spelled as in the file.
fn resolve(rest: &str, locator: &Locator) -> Result<Vec<String>, Problem> {
    let mut parts = rest.split("__");
    let section = parts.next().unwrap_or_default();
    let tail: Vec<&str> = parts.collect();
    if !SECTIONS.contains(&section) || tail.is_empty() || tail.contains(&"") {
        return Err(unknown_section(rest));
    }
    let mut path = vec![section.to_owned()];
    if !NAMED.contains(&section) {
        path.extend(tail.into_iter().map(str::to_owned));
        return Ok(path);
    }
    let names = locator.names(section);
    let tail = tail.join("__");
    // Each name that fits, with the key that is left over. The longest name leaves the shortest key.
    let fitting: Vec<(&String, &str)> = names
        .iter()
        .filter_map(|name| {
            let key = tail.strip_prefix(&spelled(name))?;
            Some((name, key.strip_prefix("__")?))
        })
        .collect();
    let shortest = fitting.iter().map(|(_, key)| key.len()).min();
    let chosen: Vec<_> = fitting
        .into_iter()
        .filter(|(_, key)| Some(key.len()) == shortest)
        .collect();
    match chosen.as_slice() {
        [(name, key)] => {
            path.push((*name).clone());
            path.extend(key.split("__").map(str::to_owned));
            Ok(path)
        }
        [] => Err(unknown_name(section, &tail, names)),
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| name).collect();
            Err(Problem::new(
                format!("{section}.{tail}").replace("__", "."),
                format!("may mean any of {names:?}"),
                "rename all but one of them, or set the key in the file",
            ))
        }
    }
}

fn unknown_section(rest: &str) -> Problem {
    let key = rest.replace("__", ".");
    let spelled = SECTIONS.iter().find_map(|section| {
        let tail = rest.strip_prefix(section)?.trim_start_matches('_');
        (!tail.is_empty()).then(|| format!("{section}__{tail}"))
    });
    let corrected = || {
        let (section, tail) = rest.split_once("__")?;
        Some(format!("{}__{tail}", nearest(section, SECTIONS)?))
    };
    let expected = match spelled.or_else(corrected) {
        Some(meant) => format!("did you mean {PREFIX}{}?", meant.to_uppercase()),
        None => format!(
            "expected {PREFIX}SECTION__KEY, where the section is one of {}",
            SECTIONS.join(", ")
        ),
    };
    Problem::new(key, "names no key", expected)
}

fn unknown_name(section: &str, tail: &str, names: &[String]) -> Problem {
    let noun = section.trim_end_matches('s');
    let (name, key) = tail.split_once("__").unwrap_or((tail, ""));
    let path = format!("{section}.{name}");
    if names.iter().any(|known| spelled(known) == name) && key.is_empty() {
        return Problem::new(
            path,
            format!("names a {noun}, not a key"),
            "append __ and the key",
        );
    }
    let expected = match nearest(name, names.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None if names.is_empty() => format!("the file has no {section}"),
        None => format!("expected one of {}", names.join(", ")),
    };
    Problem::new(path, format!("names no {noun} of the file"), expected)
}

/// Wraps a value in one table for each part of its path.
fn nest(path: &[String], text: String) -> Option<Map<String, Value>> {
    let origin = ENVIRONMENT.to_owned();
    let mut value = Value::new(Some(&origin), ValueKind::String(text));
    let (first, inner) = path.split_first()?;
    for name in inner.iter().rev() {
        value = Value::new(Some(&origin), Map::from([(name.clone(), value)]));
    }
    Some(Map::from([(first.clone(), value)]))
}
