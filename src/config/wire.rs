//! How edges of a pipeline travel between hosts: `"far.b -> tail.b" = { dtype = "BF16", compress = "lz4" }`.

use std::collections::BTreeMap;

use crate::types::{Compress, Encoding, Narrow, WireSpec};

use super::reader::Section;
use super::value::quoted;

const FORM: &str =
    "expected an edge as `blockflow explain` shows it: \"step.output -> step.input\"";
const NARROW: &str = "expected \"FP16\" or \"BF16\"";

/// Reads the table `wire` of a pipeline, which need not be there.
pub(super) fn wire(pipeline: &mut Section<'_>) -> Option<Vec<WireSpec>> {
    if !pipeline.has("wire") {
        return Some(Vec::new());
    }
    let mut section = pipeline.section("wire")?;
    let names = section.names();
    let total = names.len();
    let mut edges = BTreeMap::new();
    for name in names {
        let Some(edge) = edge(&name) else {
            section.wrong(&name, "is no edge", FORM);
            continue;
        };
        let Some(encoding) = section.section(&name).and_then(encoding) else {
            continue;
        };
        if edges.insert(edge, encoding).is_some() {
            section.wrong(
                &name,
                "names an edge a second time",
                "expected each edge once",
            );
        }
    }
    let specs: Vec<_> = edges
        .into_iter()
        .map(|(edge, encoding)| WireSpec { edge, encoding })
        .collect();
    (specs.len() == total).then_some(specs)
}

/// Returns an edge with one blank on either side of its arrow. Its ends are names of a plan, which are not looked at here: a
/// tensor may be called anything.
fn edge(text: &str) -> Option<String> {
    let (from, to) = text.split_once("->")?;
    let (from, to) = (from.trim(), to.trim());
    let sound = !from.is_empty() && !to.is_empty();
    sound.then(|| format!("{from} -> {to}"))
}

fn encoding(mut section: Section<'_>) -> Option<Encoding> {
    let narrow = section.optional("dtype", narrow);
    let compress = section.optional("compress", |section| {
        section.word("compress", &Compress::ALL)
    });
    if (narrow, compress) == (Some(None), Some(None)) {
        let expected =
            "expected dtype = \"FP16\" or \"BF16\", compress = \"lz4\" or \"zstd\", or both";
        let problems = section.problems();
        problems.add(
            section.path(),
            "says nothing of how the edge travels",
            expected,
        );
    }
    section.finish("an edge on the wire");
    let encoding = Encoding::of(narrow?, compress?);
    (!encoding.is_plain()).then_some(encoding)
}

/// Reads the type that FP32 is narrowed to. A word that is near one of them may well be another type: nothing is suggested.
fn narrow(section: &mut Section<'_>) -> Option<Narrow> {
    let text = section.text("dtype", NARROW)?;
    let known = Narrow::ALL
        .into_iter()
        .find(|narrow| narrow.dtype().name() == text);
    if known.is_none() {
        section.wrong("dtype", format!("is {}", quoted(&text)), NARROW);
    }
    known
}
