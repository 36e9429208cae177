//! Operators on strings.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Case, Fault, NgramCount, Op, Text, Weighting};

pub(super) const RULES: &[Rule] = &[
    ("RegexFullMatch", full_match),
    ("StringConcat", |call| call.plain(Op::Text(Text::Concat))),
    ("StringNormalizer", normalise),
    ("StringSplit", split),
    ("TfIdfVectorizer", ngram_count),
];

fn split(call: &mut Call<'_>) -> Result<Form, Fault> {
    let delimiter = call.attributes.text("delimiter")?;
    let splits_max = call.attributes.int("maxsplit")?;
    call.plain(Op::Text(Text::Split {
        delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()),
        // Any negative number stands for no bound.
        splits_max: splits_max.and_then(|most| usize::try_from(most).ok()),
    }))
}

fn full_match(call: &mut Call<'_>) -> Result<Form, Fault> {
    let pattern = call.attributes.text("pattern")?;
    let pattern = pattern.ok_or_else(|| missing("pattern", "a regular expression"))?;
    call.plain(Op::Text(Text::FullMatch { pattern }))
}

fn normalise(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let case = match attributes.text("case_change_action")?.as_deref() {
        None | Some("NONE") => Case::Keep,
        Some("LOWER") => Case::Lower,
        Some("UPPER") => Case::Upper,
        Some(seen) => {
            let expected = "\"NONE\", \"LOWER\" or \"UPPER\"";
            return Err(wrong("case_change_action", format!("{seen:?}"), expected));
        }
    };
    let stop_words = attributes.byte_strings("stopwords")?.unwrap_or_default();
    let op = Text::Normalise {
        case,
        case_sensitive: attributes.flag("is_case_sensitive", false)?,
        stop_words: stop_words
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect(),
    };
    // Letters change their case as Unicode says, in every language.
    attributes.ignore(&["locale"]);
    call.plain(Op::Text(op))
}

/// The pool and the weights, which are attributes, turn into inputs.
fn ngram_count(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let weighting = match attributes.text("mode")?.as_deref() {
        Some("TF") => Weighting::Count,
        Some("IDF") => Weighting::Weight,
        Some("TFIDF") => Weighting::WeightedCount,
        seen => {
            let expected = "\"TF\", \"IDF\" or \"TFIDF\"";
            return Err(wrong("mode", format!("{seen:?}"), expected));
        }
    };
    let length = |name| {
        let length = attributes.int(name)?;
        let length = length.ok_or_else(|| missing(name, "a number of items"))?;
        match usize::try_from(length) {
            Ok(length) if length > 0 => Ok(length),
            _ => Err(wrong(name, length, "at least 1")),
        }
    };
    let lengths = length("min_gram_length")?..=length("max_gram_length")?;
    let skips = attributes.int("max_skip_count")?;
    let skips = skips.ok_or_else(|| missing("max_skip_count", "a number of items"))?;
    let skips_max = usize::try_from(skips);
    let skips_max = skips_max.map_err(|_| wrong("max_skip_count", skips, "at least 0"))?;
    let (starts, columns) = (
        attributes.sizes("ngram_counts")?,
        attributes.sizes("ngram_indexes")?,
    );
    if columns.is_empty() {
        return Err(missing("ngram_indexes", "one column per n-gram"));
    }
    let strings = attributes.byte_strings("pool_strings")?;
    let integers = attributes.ints("pool_int64s")?;
    let weights = attributes.floats("weights")?;
    let pool = match (strings, integers) {
        (Some(strings), None) => literal::strings(vec![strings.len()], strings),
        (None, Some(integers)) => literal::integers(integers),
        _ => {
            let expected = "strings or integers, one of both";
            return Err(missing("pool_strings", expected));
        }
    };
    let mut inputs = vec![Some(call.input(0)?), Some(call.literal("pool", pool)?)];
    if let Some(weights) = weights {
        let weights = literal::floats(vec![weights.len()], weights);
        inputs.push(Some(call.literal("weights", weights)?));
    }
    let op = Text::NgramCount(NgramCount {
        weighting,
        lengths,
        skips_max,
        starts,
        columns,
    });
    Ok(Form::Node(Op::Text(op), inputs))
}

fn missing(attribute: &str, expected: &'static str) -> Fault {
    Fault::NoAttribute {
        attribute: attribute.to_owned(),
        expected,
    }
}
