//! Functions of strings.

use std::collections::HashSet;

use regex::bytes::{Regex, RegexBuilder};
use tch::{Kind, Tensor};

use crate::graph::{Case, Text};
use crate::types;

use super::super::cause::Cause;
use super::args::{Args, Kernel, Outputs, signed};
use super::context::NodeContext;
use super::datum::Datum;
use super::ngram;

/// An expression takes at most this much memory when compiled.
const PATTERN_BYTES_MAX: usize = 1 << 22;

pub(super) fn text(context: &NodeContext<'_>, op: &Text) -> Result<Kernel, Cause> {
    Ok(match op {
        Text::Concat => Box::new(|args| concat(args)),
        Text::Split {
            delimiter,
            splits_max,
        } => split(delimiter.clone(), *splits_max),
        Text::Normalise {
            case,
            case_sensitive,
            stop_words,
        } => normalise(*case, *case_sensitive, stop_words),
        Text::FullMatch { pattern } => full_match(pattern)?,
        Text::NgramCount(op) => ngram::count(context, op)?,
    })
}

fn strings(shape: Vec<usize>, elements: &[impl AsRef<[u8]>]) -> Result<Datum, Cause> {
    types::Tensor::from_byte_strings(shape, elements)
        .map(Datum::Strings)
        .map_err(|error| Cause::new(error.to_string()))
}

pub(super) fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().copied().map(signed).collect()
}

fn utf8(element: &[u8]) -> Result<&str, Cause> {
    std::str::from_utf8(element)
        .map_err(|error| Cause::new(format!("a string is no UTF-8: {error}")))
}

/// `test_string_concat`, `test_string_concat_broadcasting`, `test_string_concat_empty_string`,
/// `test_string_concat_utf8`, `test_string_concat_zero_dimensional`
fn concat(args: &Args<'_>) -> Result<Outputs, Cause> {
    let [left, right] = [args.datum(0)?.strings()?, args.datum(1)?.strings()?];
    // libtorch lays places against each other as it would the elements.
    let places = |tensor: &types::Tensor| {
        let count: Vec<i64> = (0..).take(tensor.byte_strings().len()).collect();
        Tensor::f_from_slice(&count)?.f_reshape(sizes(tensor.shape()))
    };
    let pair = Tensor::f_broadcast_tensors(&[places(left)?, places(right)?])?;
    let [first, second] = pair.as_slice() else {
        return Err(Cause::new("broadcasting lost a tensor"));
    };
    let shape = first
        .size()
        .iter()
        .filter_map(|&size| usize::try_from(size).ok())
        .collect();
    let (first, second) = (
        super::args::integers(first)?,
        super::args::integers(second)?,
    );
    let (left, right) = (left.byte_strings(), right.byte_strings());
    let element = |list: &[&[u8]], place: i64| -> Vec<u8> {
        let element = usize::try_from(place)
            .ok()
            .and_then(|place| list.get(place).copied());
        element.unwrap_or_default().to_vec()
    };
    let joined = first.into_iter().zip(second).map(|(first, second)| {
        let mut joined = element(&left, first);
        joined.extend(element(&right, second));
        joined
    });
    Ok(strings(shape, &joined.collect::<Vec<_>>())?.into())
}

/// `test_string_split_basic`, `test_string_split_consecutive_delimiters`, `test_string_split_empty_string_delimiter`,
/// `test_string_split_empty_tensor`, `test_string_split_maxsplit`, `test_string_split_no_delimiter`
fn split(delimiter: Option<String>, splits_max: Option<usize>) -> Kernel {
    let parts_max = splits_max.map_or(usize::MAX, |most| most.saturating_add(1));
    Box::new(move |args| {
        let x = args.datum(0)?.strings()?;
        let mut rows = Vec::new();
        for element in x.byte_strings() {
            let element = utf8(element)?;
            rows.push(match &delimiter {
                Some(delimiter) => element.splitn(parts_max, delimiter).collect(),
                None => words(element, parts_max),
            });
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let counts: Vec<i64> = rows.iter().map(|row| signed(row.len())).collect();
        let mut parts = Vec::new();
        for mut row in rows {
            row.resize(width, "");
            parts.extend(row);
        }
        let mut shape = x.shape().to_vec();
        shape.push(width);
        let counts = Tensor::f_from_slice(&counts)?.f_reshape(sizes(x.shape()))?;
        Ok(Outputs::Many(vec![strings(shape, &parts)?, counts.into()]))
    })
}

/// Splits at white space; what is left after the last split keeps its own.
fn words(text: &str, parts_max: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if words.len() + 1 == parts_max {
            words.push(rest);
            break;
        }
        let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// `test_strnormalizer_export_monday_casesensintive_lower`, `_nochangecase`, `_upper`, `_empty_output`,
/// `_insensintive_upper_twodim`, `test_strnormalizer_nostopwords_nochangecase`, and these of `test_strnorm_model_…`
fn normalise(case: Case, case_sensitive: bool, stop_words: &[String]) -> Kernel {
    let compared = move |word: &str| match case_sensitive {
        true => word.to_owned(),
        false => word.to_lowercase(),
    };
    let stop_words: HashSet<String> = stop_words.iter().map(|word| compared(word)).collect();
    Box::new(move |args| {
        let x = args.datum(0)?.strings()?;
        let mut shape = x.shape().to_vec();
        if !matches!(shape.as_slice(), [_] | [1, _]) {
            return Err(Cause::new(format!("strings {shape:?} are no single row")));
        }
        let mut kept = Vec::new();
        for element in x.byte_strings() {
            let element = utf8(element)?;
            if stop_words.contains(&compared(element)) {
                continue;
            }
            kept.push(match case {
                Case::Keep => element.to_owned(),
                Case::Lower => element.to_lowercase(),
                Case::Upper => element.to_uppercase(),
            });
        }
        if kept.is_empty() {
            kept.push(String::new());
        }
        if let Some(last) = shape.last_mut() {
            *last = kept.len();
        }
        Ok(strings(shape, &kept)?.into())
    })
}

/// `test_regex_full_match_basic`, `test_regex_full_match_email_domain`, `test_regex_full_match_empty`
fn full_match(pattern: &str) -> Result<Kernel, Cause> {
    let regex = compile(pattern)?;
    Ok(Box::new(move |args| {
        let x = args.datum(0)?.strings()?;
        let matches = |element: &&[u8]| u8::from(regex.is_match(element));
        let matches: Vec<u8> = x.byte_strings().iter().map(matches).collect();
        let matches = Tensor::f_from_slice(&matches)?.f_totype(Kind::Bool)?;
        Ok(matches.f_reshape(sizes(x.shape()))?.into())
    }))
}

/// Compiles an expression that has to match the whole of a string, in time linear in its length.
fn compile(pattern: &str) -> Result<Regex, Cause> {
    RegexBuilder::new(&format!(r"\A(?:{})\z", ascii_classes(pattern)))
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| {
            let error = error.to_string();
            let last = error
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            Cause::new(format!("pattern {pattern:?}: {last}"))
        })
}

/// Writes out the classes that have only ASCII members in RE2.
fn ascii_classes(pattern: &str) -> String {
    let mut written = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            written.push(letter);
            continue;
        }
        match letters.next() {
            Some('w') => written.push_str("[0-9A-Za-z_]"),
            Some('W') => written.push_str("[^0-9A-Za-z_]"),
            Some('d') => written.push_str("[0-9]"),
            Some('D') => written.push_str("[^0-9]"),
            Some('s') => written.push_str(r"[\t\n\f\r ]"),
            Some('S') => written.push_str(r"[^\t\n\f\r ]"),
            Some('b') => written.push_str(r"(?-u:\b)"),
            Some('B') => written.push_str(r"(?-u:\B)"),
            other => {
                written.push(letter);
                written.extend(other);
            }
        }
    }
    written
}
