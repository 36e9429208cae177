//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::Histogram;
use super::cells::BOUNDS;

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: String,
}

impl Page {
    /// Begins a family: samples that follow bear its name.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        name.clone_into(&mut self.family);
    }

    /// Writes a family of one sample.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.named("", labels, value);
    }

    pub(super) fn histogram(&mut self, label: (&str, &str), histogram: &Histogram) {
        let mut total = 0;
        for (index, count) in histogram.counts().enumerate() {
            total += count;
            let bound = BOUNDS
                .get(index)
                .map_or_else(|| "+Inf".to_owned(), |bound| seconds(*bound));
            self.named("_bucket", &[label, ("le", &bound)], total);
        }
        self.named("_sum", &[label], histogram.sum().as_secs_f64());
        self.named("_count", &[label], total);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn named(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let family = std::mem::take(&mut self.family);
        self.line(format_args!(
            "{family}{suffix}{{{}}} {value}",
            labels.join(",")
        ));
        self.family = family;
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.text, "{line}").expect("writing to a string cannot fail");
    }
}

fn seconds(microseconds: u64) -> String {
    let text = format!(
        "{}.{:06}",
        microseconds / 1_000_000,
        microseconds % 1_000_000
    );
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
