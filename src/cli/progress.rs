//! Progress of long work over bytes, shown to a person: on stderr, when that is a terminal, and never elsewhere.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::graph::{Graph, ValueOrigin};

/// A bar that counts bytes. It disappears when it is dropped.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

/// Less work than this is done before a bar can be read.
const BYTES_MIN: u64 = 64 << 20;

impl Progress {
    /// Shows `label` and how much of `total` bytes is done.
    pub(super) fn new(label: &'static str, total: u64) -> Self {
        let shown = total >= BYTES_MIN && stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        Self(bar.with_message(label))
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Returns the bytes of all tensors that a model carries.
pub(super) fn weight_bytes(graph: &Graph) -> u64 {
    let bytes = graph.values.iter().map(|value| match &value.origin {
        ValueOrigin::Initializer(initializer) => initializer.tensor.bytes().len() as u64,
        ValueOrigin::Input(_) | ValueOrigin::Node(..) => 0,
    });
    bytes.sum()
}
