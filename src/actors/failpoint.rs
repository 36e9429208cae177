//! Faults that nothing else brings about, for builds with debug assertions: `FAILPOINTS=links.NAME=50` has the links of the block
//! fail on every 50th look at them. Several are separated by `;`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name, and how often it fails.
#[derive(Debug)]
struct Point {
    name: String,
    every: u64,
    passed: AtomicU64,
}

static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| {
    let text = std::env::var("FAILPOINTS").unwrap_or_default();
    let points = text.split(';').map(str::trim).filter_map(|point| {
        let (name, every) = point.split_once('=')?;
        Some(Point {
            name: name.to_owned(),
            every: every.parse().ok().filter(|&every| every > 0)?,
            passed: AtomicU64::new(0),
        })
    });
    points.collect()
});

/// Tells whether something is to fail now; never in a build without debug assertions.
pub(super) fn is_due(kind: &str, name: &str) -> bool {
    if !cfg!(debug_assertions) || POINTS.is_empty() {
        return false;
    }
    let mut points = POINTS.iter();
    let point = points.find(|point| {
        let rest = point.name.strip_prefix(kind);
        rest.and_then(|rest| rest.strip_prefix('.')) == Some(name)
    });
    point.is_some_and(|point| {
        let passed = point.passed.fetch_add(1, Ordering::Relaxed) + 1;
        passed.is_multiple_of(point.every)
    })
}
