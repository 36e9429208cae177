//! One edge of a pipeline, as text: `"backbone.features -> head.features"`.

use crate::types::EdgeSpec;

use super::reader::is_name;
use super::value::quoted;

const FORM: &str = "expected \"input -> step.input\", \"step.output -> step.input\" or \
                    \"step.output -> output\"";

type End = (Option<String>, String);

/// Reads an edge, or returns what was seen and what is right. A tensor's name may contain dots, a step's cannot: the
/// first dot separates the two.
pub(super) fn edge(text: &str) -> Result<EdgeSpec, (String, String)> {
    let wrong = || (format!("is {}", quoted(text)), FORM.to_owned());
    let mut sides = text.split("->");
    let (Some(from), Some(to), None) = (sides.next(), sides.next(), sides.next()) else {
        return Err(wrong());
    };
    let (from, to) = (end(from).ok_or_else(wrong)?, end(to).ok_or_else(wrong)?);
    if from.0.is_none() && to.0.is_none() {
        let seen = format!("is {}, which connects no step", quoted(text));
        return Err((seen, FORM.to_owned()));
    }
    Ok(EdgeSpec { from, to })
}

fn end(text: &str) -> Option<End> {
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_whitespace) {
        return None;
    }
    match text.split_once('.') {
        None => Some((None, text.to_owned())),
        Some((step, tensor)) if is_name(step) && !tensor.is_empty() => {
            Some((Some(step.to_owned()), tensor.to_owned()))
        }
        Some(_) => None,
    }
}
