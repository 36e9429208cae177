//! Passing on what a worker writes to standard error, with its name on every line.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde_json::{Map, Value, json};

use crate::types::LogFormat;

/// Bytes of one line at most; what is longer comes in pieces.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Passes lines on until there are no more. Returns the last one that says something.
pub(super) fn relay(process: &str, format: LogFormat, from: impl Read) -> String {
    let mut from = BufReader::new(from);
    let mut last = String::new();
    while let Some(line) = take_line(&mut from) {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        let mut named = named(process, format, line);
        named.push('\n');
        // In one call, so that lines of several workers do not mix. If nobody listens, there is nobody to tell.
        let _ = io::stderr().lock().write_all(named.as_bytes());
        if !line.is_empty() {
            line.clone_into(&mut last);
        }
    }
    last
}

/// Returns the next line or, where it is longer than [`LINE_BYTES_MAX`], the next piece of it.
pub(super) fn take_line(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    matches!(read, Ok(1..)).then_some(line)
}

fn named(process: &str, format: LogFormat, line: &str) -> String {
    match format {
        LogFormat::Text => format!("{process} | {line}"),
        LogFormat::Json => {
            let object = serde_json::from_str::<Map<String, Value>>(line);
            let mut object = object.unwrap_or_else(|_| {
                // Something of a library, or the last words of a panic.
                Map::from_iter([("message".to_owned(), json!(line))])
            });
            object.insert("process".to_owned(), json!(process));
            Value::Object(object).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_the_name_of_the_process() {
        assert_eq!(named("heads", LogFormat::Text, "a b"), "heads | a b");
        let line = named(
            "heads",
            LogFormat::Json,
            r#"{"level":"INFO","message":"a"}"#,
        );
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            line,
            json!({"level": "INFO", "message": "a", "process": "heads"})
        );
        let line = named("heads", LogFormat::Json, "oh \"no\"");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line, json!({"message": "oh \"no\"", "process": "heads"}));
    }

    #[test]
    fn long_lines_come_in_pieces_and_the_last_one_needs_no_end() {
        let mut text = vec![b'x'; LINE_BYTES_MAX as usize];
        text.extend_from_slice(b"yz\nlast");
        let mut from = text.as_slice();
        assert_eq!(take_line(&mut from).map(|line| line.len()), Some(1 << 20));
        assert_eq!(take_line(&mut from).as_deref(), Some(&b"yz\n"[..]));
        assert_eq!(take_line(&mut from).as_deref(), Some(&b"last"[..]));
        assert_eq!(take_line(&mut from), None);
    }

    #[test]
    fn the_last_words_are_kept() {
        let text = &b"first\nerror: no model\n\n"[..];
        assert_eq!(relay("p", LogFormat::Text, text), "error: no model");
    }
}
