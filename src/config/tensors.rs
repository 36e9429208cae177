//! Declared tensors: `{ name = "features", datatype = "FP32", shape = ["batch", 64] }`.

use config::{Value, ValueKind};

use crate::types::{DType, Dim, RANK_MAX, ShapeSpec, TensorSpec, nearest};

use super::reader::{Problems, Section, is_name};
use super::value::{quoted, show, typed};

const SIZE_MAX: i64 = 1 << 40;
const SHAPE: &str = "expected a list of sizes and names such as [\"batch\", 64]";
const DIMENSION: &str = "expected a size from 1, a name such as \"batch\", or \"?\" for any size";

/// Reads a list of tensors with names of their own.
pub(super) fn tensors(section: &mut Section<'_>, name: &str) -> Option<Vec<TensorSpec>> {
    let expected = "expected a list of tables such as [{ name = \"x\", datatype = \"FP32\", shape = [\"batch\", 64] }]";
    let list = section.list(name, expected)?;
    let problems = section.problems();
    let total = list.len();
    let mut specs: Vec<TensorSpec> = Vec::new();
    for (path, value) in list {
        let Some(spec) = Section::of(path.clone(), value, problems).and_then(tensor) else {
            continue;
        };
        if specs.iter().any(|known| known.name == spec.name) {
            let seen = format!("repeats the name {:?}", spec.name);
            problems.add(&path, seen, "expected each name once");
            continue;
        }
        specs.push(spec);
    }
    (specs.len() == total).then_some(specs)
}

fn tensor(mut section: Section<'_>) -> Option<TensorSpec> {
    let name = section.text("name", "expected the name of the tensor");
    let dtype = datatype(&mut section);
    let shape = shape(&mut section);
    section.finish("a tensor");
    Some(TensorSpec {
        name: name?,
        dtype: dtype?,
        shape: shape?,
    })
}

fn datatype(section: &mut Section<'_>) -> Option<DType> {
    let names = DType::ALL.map(DType::name);
    let expected = format!("expected one of {}", names.join(" "));
    let text = section.text("datatype", &expected)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let known = match text.to_lowercase().as_str() {
            "float" | "float32" | "f32" => Some("FP32"),
            "double" | "float64" | "f64" => Some("FP64"),
            "half" | "float16" | "f16" => Some("FP16"),
            "bfloat16" => Some("BF16"),
            "string" => Some("BYTES"),
            other => nearest(other, names),
        };
        let hint = known
            .map(|name| format!("did you mean {name:?}?"))
            .unwrap_or(expected);
        section.wrong("datatype", format!("is {}", quoted(&text)), hint);
    }
    parsed
}

fn shape(section: &mut Section<'_>) -> Option<ShapeSpec> {
    let Some(value) = section.take("shape") else {
        section.wrong("shape", "is missing", SHAPE);
        return None;
    };
    let value = typed(value);
    let ValueKind::Array(list) = &value.kind else {
        section.wrong("shape", show(&value), SHAPE);
        return None;
    };
    if list.len() > RANK_MAX {
        let seen = format!("has {} dimensions", list.len());
        section.wrong("shape", seen, format!("expected at most {RANK_MAX}"));
        return None;
    }
    let path = section.path_of("shape");
    let read = |(index, value)| dim(&format!("{path}[{index}]"), value, section.problems());
    let dims: Vec<_> = list.iter().enumerate().map(read).collect();
    dims.into_iter().collect::<Option<_>>().map(ShapeSpec)
}

fn dim(path: &str, value: &Value, problems: &Problems) -> Option<Dim> {
    let dim = match &value.kind {
        ValueKind::I64(size) if (1..=SIZE_MAX).contains(size) => {
            usize::try_from(*size).ok().map(Dim::Fixed)
        }
        ValueKind::String(text) if text == "?" => Some(Dim::Any),
        ValueKind::String(text) if is_name(text) => Some(Dim::symbol(text)),
        _ => None,
    };
    if dim.is_none() {
        problems.add(path, show(value), DIMENSION);
    }
    dim
}
