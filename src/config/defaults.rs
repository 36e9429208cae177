//! The compiled-in defaults.

use std::sync::LazyLock;

use config::{File, FileFormat, Map, Source, Value, ValueKind};

/// Text of the defaults.
pub(super) const TEXT: &str = include_str!("defaults.toml");

/// Sections that a configuration has, in the order of the reference.
pub(super) const SECTIONS: [&str; 8] = [
    "server",
    "limits",
    "log",
    "devices",
    "reload",
    "hosts",
    "blocks",
    "pipelines",
];

static DEFAULTS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    File::from_str(TEXT, FileFormat::Toml)
        .collect()
        .expect("the compiled defaults are TOML")
});

/// Returns the defaults of every table.
pub(super) fn all() -> &'static Map<String, Value> {
    &DEFAULTS
}

/// Returns the defaults of one table.
pub(super) fn table(name: &str) -> &'static Map<String, Value> {
    let table = DEFAULTS.get(name).map(|value| &value.kind);
    let Some(ValueKind::Table(table)) = table else {
        unreachable!("the compiled defaults have a table {name}")
    };
    table
}
