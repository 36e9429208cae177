//! What a block runs: a model, a built-in step, or a mock; exactly one of them.

use std::path::{Path, PathBuf};

use config::{Value, ValueKind};

use crate::types::{
    GraphEngine, ImageLayout, ImageSpec, MockFailure, MockSpec, ModelFormat, Optimize, Pass,
    Passes, Precision, Signature, SourceSpec, nearest,
};

use super::defaults;
use super::reader::{Section, Unit, decimal};
use super::tensors;
use super::value::{quoted, show, typed};

const SIDE_MAX: u64 = 16_384;
const LATENCY_MS_MAX: u32 = 600_000;
const EVERY_MAX: u64 = 1_000_000_000;
const WEIGHTS_MB_MAX: u64 = 1_000_000_000;
const BYTES_PER_MEGABYTE: u64 = 1_000_000;
/// Keys of blocks with a model of one format or another.
const MODEL_KEYS: [&str; 7] = [
    "inputs",
    "outputs",
    "engine",
    "optimize",
    "passes_off",
    "precision",
    "trust",
];
const EITHER: &str = "expected exactly one of model, step and mock";

/// Returns whose keys the keys of the block are, for messages.
pub(super) const fn noun(source: &SourceSpec) -> &'static str {
    match source {
        SourceSpec::Graph { .. } => "a block with an ONNX or .pt2 model",
        SourceSpec::TorchScript { .. } => "a block with a TorchScript model",
        SourceSpec::DecodeImage(_) => "a decode-image step",
        SourceSpec::Mock(_) => "a mock block",
    }
}

/// Reads the source of a block; one that is `isolated` runs in another process than the main one.
pub(super) fn source(
    block: &mut Section<'_>,
    directory: &Path,
    isolated: bool,
) -> Option<SourceSpec> {
    let given: Vec<_> = ["model", "step", "mock"]
        .into_iter()
        .filter(|kind| block.has(kind))
        .collect();
    match given.as_slice() {
        ["model"] => model(block, directory, isolated),
        ["step"] => {
            as_written(block, "a built-in step");
            step(block)
        }
        ["mock"] => {
            as_written(block, "a mock");
            let section = block.section("mock");
            section.and_then(mock).map(SourceSpec::Mock)
        }
        several => {
            know_all(block);
            block.know("image");
            let seen = match several {
                [] => "says nothing of what it runs".to_owned(),
                several => format!("has {}", several.join(" and ")),
            };
            block.problems().add(block.path(), seen, EITHER);
            None
        }
    }
}

fn model(block: &mut Section<'_>, directory: &Path, isolated: bool) -> Option<SourceSpec> {
    let expected = "expected the path of an .onnx, .pt2, .pt, .pth or .ts file";
    let text = block.text("model", expected);
    let Some(text) = text else {
        know_all(block);
        return None;
    };
    let path = PathBuf::from(&text);
    let format = ModelFormat::of(&path);
    let path = directory.join(path);
    match format {
        Some(ModelFormat::Graph) => {
            let mut cut = |name| block.optional(name, |block| cut(block, name));
            let inputs = cut("inputs");
            let outputs = cut("outputs");
            let engine = block.word("engine", &GraphEngine::ALL);
            let passes = passes(block);
            let precision = precision(block, engine);
            Some(SourceSpec::Graph {
                path,
                inputs: inputs?,
                outputs: outputs?,
                engine: engine?,
                passes: passes?.in_precision(precision?),
            })
        }
        Some(ModelFormat::TorchScript) => {
            let given = block.has("trust");
            let trusted = if given {
                block.flag("trust")
            } else {
                Some(false)
            };
            let signature = signature(block);
            as_written(block, "a TorchScript model");
            if trusted? || isolated {
                let signature = signature?;
                return Some(SourceSpec::TorchScript { path, signature });
            }
            let seen = if given { "is false" } else { "is missing" };
            let expected = "a TorchScript file is code, expected true if you trust where it comes from, \
                            or isolation = \"process\"";
            block.wrong("trust", seen, expected);
            None
        }
        None => {
            know_all(block);
            block.wrong("model", format!("is {text:?}"), expected);
            None
        }
    }
}

/// Reads the tensors to cut a graph at.
fn cut(block: &mut Section<'_>, name: &str) -> Option<Vec<String>> {
    let texts = block.texts(name, "expected a list of tensor names, at least one")?;
    let mut names: Vec<String> = Vec::new();
    for (path, text) in texts {
        if names.contains(&text) {
            block.problems().add(
                &path,
                format!("repeats {text:?}"),
                "expected each tensor once",
            );
            return None;
        }
        names.push(text);
    }
    Some(names)
}

/// Makes the keys of a model known where it is not clear which model it is.
fn know_all(block: &mut Section<'_>) {
    for key in MODEL_KEYS {
        block.know(key);
    }
}

/// Reads how far a graph is rewritten, and what of that is left out.
fn passes(block: &mut Section<'_>) -> Option<Passes> {
    let level = block.word(
        "optimize",
        &Optimize::ALL.map(|level| (level.name(), level)),
    );
    if !block.has("passes_off") {
        return level.map(Passes::of);
    }
    let texts = block.texts("passes_off", "expected a list of passes, at least one")?;
    let mut passes = Passes::of(level?);
    let mut sound = true;
    for (path, text) in texts {
        match text.parse::<Pass>() {
            Ok(pass) => passes = passes.without(pass),
            Err(error) => {
                let meant = nearest(&text, Pass::ALL.map(Pass::name));
                let hint = meant.map(|name| format!("did you mean {name:?}?"));
                let expected = hint.unwrap_or_else(|| error.to_string());
                block
                    .problems()
                    .add(&path, format!("is {}", quoted(&text)), expected);
                sound = false;
            }
        }
    }
    sound.then_some(passes)
}

/// Reads the numbers that a graph is computed in; engines other than `aten` compute as the model says.
fn precision(block: &mut Section<'_>, engine: Option<GraphEngine>) -> Option<Precision> {
    let precision = block.word("precision", &Precision::ALL)?;
    if precision != Precision::Fp32 && engine.is_some_and(|engine| engine != GraphEngine::Aten) {
        block.wrong(
            "precision",
            format!("is {:?}", precision.name()),
            "of the engines \"aten\" alone computes so: expected engine = \"aten\", or \"fp32\"",
        );
    }
    Some(precision)
}

/// Refuses other numbers of what is no graph, which computes in those that it is made for.
fn as_written(block: &mut Section<'_>, what: &str) {
    if !block.has("precision") {
        return;
    }
    if let Some(precision) = block.word("precision", &Precision::ALL)
        && precision != Precision::Fp32
    {
        block.wrong(
            "precision",
            format!("is {:?}", precision.name()),
            format!(
                "{what} computes as it is written: expected an .onnx or .pt2 model, or \"fp32\""
            ),
        );
    }
}

fn signature(section: &mut Section<'_>) -> Option<Signature> {
    let inputs = tensors::tensors(section, "inputs");
    let outputs = tensors::tensors(section, "outputs");
    Some(Signature {
        inputs: inputs?,
        outputs: outputs?,
    })
}

fn step(block: &mut Section<'_>) -> Option<SourceSpec> {
    block.know("image");
    block.word("step", &[("decode-image", ())])?;
    let section = block
        .section("image")?
        .with_defaults(defaults::table("image"));
    image(section).map(SourceSpec::DecodeImage)
}

fn image(mut section: Section<'_>) -> Option<ImageSpec> {
    let width = section.size("width", 1..=SIDE_MAX);
    let height = section.size("height", 1..=SIDE_MAX);
    let channels = channels(&mut section);
    let layouts = [
        ("channels-first", ImageLayout::ChannelsFirst),
        ("channels-last", ImageLayout::ChannelsLast),
    ];
    let layout = section.word("layout", &layouts);
    let scale = single(
        &mut section,
        "scale",
        |number| number > 0.0,
        "expected a number above 0",
    );
    let mean = per_channel(&mut section, "mean", channels, |_| true, "a number");
    let above = "a number above 0";
    let deviation = per_channel(
        &mut section,
        "deviation",
        channels,
        |number| number > 0.0,
        above,
    );
    section.finish("image");
    Some(ImageSpec {
        width: width?,
        height: height?,
        channels: channels?,
        layout: layout?,
        scale: scale?,
        mean: mean?,
        deviation: deviation?,
    })
}

fn channels(section: &mut Section<'_>) -> Option<usize> {
    let value = typed(section.take("channels")?);
    match value.kind {
        ValueKind::I64(1) => Some(1),
        ValueKind::I64(3) => Some(3),
        _ => {
            section.wrong("channels", show(&value), "expected 1 (gray) or 3 (RGB)");
            None
        }
    }
}

fn single(
    section: &mut Section<'_>,
    name: &str,
    allowed: impl Fn(f32) -> bool,
    expected: &str,
) -> Option<f32> {
    let value = typed(section.take(name)?);
    let number = float(&value).filter(|number| allowed(*number));
    if number.is_none() {
        section.wrong(name, show(&value), expected);
    }
    number
}

/// Reads one number for all channels, or a list of one for each.
fn per_channel(
    section: &mut Section<'_>,
    name: &str,
    channels: Option<usize>,
    allowed: impl Fn(f32) -> bool,
    what: &str,
) -> Option<Vec<f32>> {
    let value = typed(section.take(name)?);
    let expected = match channels {
        Some(1) => format!("expected {what} (or a list of one)"),
        Some(count) => format!("expected {what} for all channels or a list of {count}"),
        None => format!("expected {what}, or a list of one for each channel"),
    };
    let ValueKind::Array(list) = value.kind else {
        let number = float(&value).filter(|number| allowed(*number));
        if number.is_none() {
            section.wrong(name, show(&value), expected);
        }
        return number.map(|number| vec![number; channels.unwrap_or(1)]);
    };
    let path = section.path_of(name);
    let mut numbers = Vec::new();
    for (index, value) in list.iter().enumerate() {
        match float(value).filter(|number| allowed(*number)) {
            Some(number) => numbers.push(number),
            None => section.problems().add(
                &format!("{path}[{index}]"),
                show(value),
                format!("expected {what}"),
            ),
        }
    }
    if channels.is_some_and(|channels| channels != list.len()) {
        section.wrong(name, format!("is a list of {}", list.len()), expected);
        return None;
    }
    (numbers.len() == list.len()).then_some(numbers)
}

/// Reads a number as `f32`; one too large for it is none.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding is what f32 means; infinity is refused"
)]
fn float(value: &Value) -> Option<f32> {
    decimal(value)
        .map(|number| number as f32)
        .filter(|number| number.is_finite())
}

fn mock(section: Section<'_>) -> Option<MockSpec> {
    let mut section = section.with_defaults(defaults::table("mock"));
    let signature = signature(&mut section);
    let latency = section.duration("latency_ms", Unit::Milliseconds, 0..=LATENCY_MS_MAX);
    let weights = section.number("weights_mb", 0..=WEIGHTS_MB_MAX);
    let failure = section.optional("failure", |section| {
        section.section("failure").and_then(failure)
    });
    section.finish("a mock");
    Some(MockSpec {
        signature: signature?,
        latency: latency?,
        weight_bytes: weights? * BYTES_PER_MEGABYTE,
        failure: failure?,
    })
}

/// What a mock may do wrong.
const KINDS: [&str; 7] = [
    "panic_every",
    "error_every",
    "hang_every",
    "nan_every",
    "leak_every",
    "lost_device_every",
    "warming_ms",
];

fn failure(mut section: Section<'_>) -> Option<MockFailure> {
    let given: Vec<_> = KINDS.into_iter().filter(|kind| section.has(kind)).collect();
    let failure = match given.as_slice() {
        ["panic_every"] => section
            .number("panic_every", 1..=EVERY_MAX)
            .map(|every| MockFailure::Panic { every }),
        ["error_every"] => section
            .number("error_every", 1..=EVERY_MAX)
            .map(|every| MockFailure::Error { every }),
        ["nan_every"] => section
            .number("nan_every", 1..=EVERY_MAX)
            .map(|every| MockFailure::NotANumber { every }),
        ["leak_every"] => section
            .number("leak_every", 1..=EVERY_MAX)
            .map(|every| MockFailure::Leak { every }),
        ["warming_ms"] => section
            .duration("warming_ms", Unit::Milliseconds, 1..=LATENCY_MS_MAX)
            .map(|time| MockFailure::SlowWarming { time }),
        ["lost_device_every"] => section
            .number("lost_device_every", 1..=EVERY_MAX)
            .map(|every| MockFailure::LostDevice { every }),
        ["hang_every"] => {
            section = section.with_defaults(defaults::table("failure"));
            let every = section.number("hang_every", 1..=EVERY_MAX);
            let time = section.duration("hang_ms", Unit::Milliseconds, 1..=LATENCY_MS_MAX);
            every
                .zip(time)
                .map(|(every, time)| MockFailure::Hang { every, time })
        }
        several => {
            section.know("hang_ms");
            let seen = match several {
                [] => "does not say what fails".to_owned(),
                several => format!("has {}", several.join(" and ")),
            };
            let expected = format!("expected exactly one of {}", KINDS.join(", "));
            section.problems().add(section.path(), seen, expected);
            None
        }
    };
    section.finish("failure");
    failure
}
