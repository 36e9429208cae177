//! What changes from one configuration to another, and what each change asks for.
//!
//! A [`Diff`] only says so; whoever applies it prepares what it has to. It can be turned around ([`Diff::flip`]): applying a
//! diff and then its flip leads back. Names are what blocks and pipelines are known by; the order in which they stand means
//! nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::graph::Digest;
use crate::types::LogSpec;

use super::Plan;
use super::compare::{
    blocks, compare_blocks, compare_named, compare_pipelines, compare_settings, pipelines,
};

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    pub plan: &'a Plan,
    pub log: &'a LogSpec,
    /// By block of the plan: of what the block computes, weights included.
    pub contents: &'a [Digest],
}

/// Everything that differs between two configurations; each list in the order of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    pub blocks: BTreeMap<String, Change>,
    pub pipelines: BTreeMap<String, Change>,
    /// What holds for all of them together.
    pub settings: Vec<Value>,
    /// What a running program cannot change.
    pub fixed: Vec<Value>,
}

/// What becomes of a block or a pipeline that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Add,
    Remove,
    /// What it computes or where is another: it is prepared anew. Of a pipeline: its blocks are wired differently, or what it
    /// takes or gives is another.
    Rebuild(Vec<Value>),
    /// Something is set differently that needs nothing to be prepared.
    Retune(Vec<Value>),
}

/// A key whose value is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As in the configuration, from where the change is.
    pub key: &'static str,
    pub from: String,
    pub to: String,
}

impl Diff {
    pub fn between(old: Side<'_>, new: Side<'_>) -> Self {
        let (mut settings, mut fixed) = (Vec::new(), Vec::new());
        compare_settings(old, new, &mut settings, &mut fixed);
        Self {
            blocks: compare_named(blocks(old), blocks(new), compare_blocks),
            pipelines: compare_named(pipelines(old), pipelines(new), compare_pipelines),
            settings,
            fixed,
        }
    }

    /// Tells whether both sides mean the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the diff of the other direction.
    #[must_use]
    pub fn flip(self) -> Self {
        let all = |changes: BTreeMap<String, Change>| {
            let changes = changes.into_iter();
            changes
                .map(|(name, change)| (name, change.flip()))
                .collect()
        };
        Self {
            blocks: all(self.blocks),
            pipelines: all(self.pipelines),
            settings: flip(self.settings),
            fixed: flip(self.fixed),
        }
    }
}

impl Change {
    fn flip(self) -> Self {
        match self {
            Self::Add => Self::Remove,
            Self::Remove => Self::Add,
            Self::Rebuild(values) => Self::Rebuild(flip(values)),
            Self::Retune(values) => Self::Retune(flip(values)),
        }
    }

    pub(super) fn of(rebuilt: Vec<Value>, retuned: Vec<Value>) -> Option<Self> {
        if !rebuilt.is_empty() {
            return Some(Self::Rebuild(rebuilt.into_iter().chain(retuned).collect()));
        }
        (!retuned.is_empty()).then_some(Self::Retune(retuned))
    }
}

fn flip(values: Vec<Value>) -> Vec<Value> {
    let flip = |Value { key, from, to }| Value {
        key,
        from: to,
        to: from,
    };
    values.into_iter().map(flip).collect()
}

impl Change {
    /// Returns what becomes of it, in a word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Add => "added",
            Self::Remove => "removed",
            Self::Rebuild(_) => "rebuilt",
            Self::Retune(_) => "retuned",
        }
    }

    /// Returns the keys whose values are others.
    pub fn values(&self) -> &[Value] {
        match self {
            Self::Add | Self::Remove => &[],
            Self::Rebuild(values) | Self::Retune(values) => values,
        }
    }
}

impl Diff {
    /// Writes each change: `block a: added`, `block b: rebuilt (model: x.onnx → y.onnx)`.
    pub fn lines(&self) -> Vec<String> {
        let named = |kind: &'static str, changes: &BTreeMap<String, Change>| {
            let changes = changes.iter();
            changes
                .map(|(name, change)| format!("{kind} {name}: {change}"))
                .collect::<Vec<_>>()
        };
        let mut parts = named("block", &self.blocks);
        parts.extend(named("pipeline", &self.pipelines));
        let values = self.settings.iter().chain(&self.fixed);
        parts.extend(values.map(ToString::to_string));
        parts
    }
}

/// All [`Diff::lines`] in one.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("; "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        let values: Vec<_> = self.values().iter().map(ToString::to_string).collect();
        if values.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", values.join(", "))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, from, to } = self;
        write!(f, "{key}: {from} → {to}")
    }
}
