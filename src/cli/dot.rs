//! Graphviz text that several commands write.

/// Quotes a text as a DOT string; line breaks stay visible in the drawing.
pub(super) fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}
