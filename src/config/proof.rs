//! What a block has to show before it serves: shapes that it is warmed on, finite results, golden outputs.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Value, ValueKind};

use crate::types::{CudaGraphs, GoldenCase, GoldenSpec, ProofSpec, RANK_MAX, Shape, Tolerance};

use super::defaults;
use super::reader::Section;
use super::value::{show, typed};

const WARM_MAX: usize = 64;
const CASES_MAX: usize = 64;
const SIZE_MAX: i64 = 1 << 40;
const TOLERANCE_MAX: f32 = 1e12;

/// Reads it; files are taken from `directory`.
pub(super) fn proof(block: &mut Section<'_>, directory: &Path) -> Option<ProofSpec> {
    let warm = match block.has("warm") {
        true => warm(block),
        false => Some(Vec::new()),
    };
    let finite = block.flag("finite");
    let golden = block.optional("golden", |block| {
        golden(block.section("golden")?, directory)
    });
    let cuda_graphs = cuda_graphs(block);
    Some(ProofSpec {
        warm: warm?,
        finite: finite?,
        golden: golden?,
        cuda_graphs: cuda_graphs?,
    })
}

fn cuda_graphs(block: &mut Section<'_>) -> Option<CudaGraphs> {
    let expected = "expected true, false or \"auto\"";
    let Some(value) = block.take("cuda_graphs").map(typed) else {
        block.wrong("cuda_graphs", "is missing", expected);
        return None;
    };
    match &value.kind {
        ValueKind::Boolean(true) => Some(CudaGraphs::Required),
        ValueKind::Boolean(false) => Some(CudaGraphs::Off),
        ValueKind::String(text) if text == "auto" => Some(CudaGraphs::Auto),
        _ => {
            block.wrong("cuda_graphs", show(&value), expected);
            None
        }
    }
}

fn warm(block: &mut Section<'_>) -> Option<Vec<BTreeMap<String, Shape>>> {
    let expected = "expected a list of tables such as [{ image = [4, 3, 224, 224] }]";
    let list = block.list("warm", expected)?;
    if list.len() > WARM_MAX {
        let seen = format!("has {} entries", list.len());
        block.wrong("warm", seen, format!("expected at most {WARM_MAX}"));
        return None;
    }
    let problems = block.problems();
    let shapes = list.into_iter().map(|(path, value)| {
        let mut section = Section::of(path, value, problems)?;
        let names = section.names();
        let shapes = names.into_iter().map(|name| {
            let shape = shape(&mut section, &name)?;
            Some((name, shape))
        });
        // All of them, so that each problem is told.
        let shapes: Vec<_> = shapes.collect();
        shapes.into_iter().collect()
    });
    let shapes: Vec<Option<_>> = shapes.collect();
    shapes.into_iter().collect()
}

fn shape(section: &mut Section<'_>, name: &str) -> Option<Shape> {
    let expected = format!("expected a list of at most {RANK_MAX} sizes from 1, such as [4, 64]");
    let value = typed(section.take(name)?);
    let size = |value: &Value| match value.kind {
        ValueKind::I64(size) if (1..=SIZE_MAX).contains(&size) => usize::try_from(size).ok(),
        _ => None,
    };
    let sizes = match &value.kind {
        ValueKind::Array(list) if list.len() <= RANK_MAX => list.iter().map(size).collect(),
        _ => None,
    };
    if sizes.is_none() {
        let seen = match &value.kind {
            ValueKind::Array(list) => match list.iter().find(|value| size(value).is_none()) {
                Some(odd) => format!("holds a size that {}", show(odd)),
                None => format!("has {} sizes", list.len()),
            },
            _ => show(&value),
        };
        section.wrong(name, seen, expected);
    }
    sizes
}

fn golden(section: Section<'_>, directory: &Path) -> Option<GoldenSpec> {
    let mut section = section.with_defaults(defaults::table("golden"));
    let cases = cases(&mut section, directory);
    let tolerance = tolerance(&mut section);
    section.finish("golden");
    Some(GoldenSpec {
        cases: cases?,
        tolerance: tolerance?,
    })
}

fn cases(section: &mut Section<'_>, directory: &Path) -> Option<Vec<GoldenCase>> {
    let expected = "expected a list of files such as [\"case.npz\"], or of tables such as \
                    [{ inputs = \"in.npz\", outputs = \"out.npz\" }]";
    let list = section.list("cases", expected)?;
    if list.len() > CASES_MAX {
        let seen = format!("has {} entries", list.len());
        section.wrong("cases", seen, format!("expected at most {CASES_MAX}"));
        return None;
    }
    let problems = section.problems();
    let cases = list.into_iter().map(|(path, value)| {
        if let ValueKind::String(file) = &value.kind {
            let file = directory.join(file);
            return Some(GoldenCase {
                inputs: file.clone(),
                outputs: file,
            });
        }
        let mut section = Section::of(path, value, problems)?;
        let file = "expected the path of an .npz or .npy file";
        let inputs = section.text("inputs", file);
        let outputs = section.text("outputs", file);
        section.finish("a golden case");
        Some(GoldenCase {
            inputs: directory.join(inputs?),
            outputs: directory.join(outputs?),
        })
    });
    let cases: Vec<Option<_>> = cases.collect();
    cases.into_iter().collect()
}

/// Reads the tolerance of a section whose defaults have one.
pub(super) fn tolerance(section: &mut Section<'_>) -> Option<Tolerance> {
    let mut section = section.section("tolerance")?;
    let relative = section.fraction("relative", 0.0..=TOLERANCE_MAX);
    let absolute = section.fraction("absolute", 0.0..=TOLERANCE_MAX);
    section.finish("tolerance");
    Some(Tolerance {
        relative: relative?,
        absolute: absolute?,
    })
}
