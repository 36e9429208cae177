//! What a benchmark found, for people and for programs. JSON fields are added, never renamed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::output::columns;

use crate::cli::histogram::Histogram;

use super::driver::{Load, Outcome};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    target: String,
    arrivals: &'static str,
    concurrency: Option<usize>,
    rate_per_s: Option<f64>,
    pub(super) requests: u64,
    pub(super) failed: u64,
    elapsed_s: f64,
    /// Successful requests in a second.
    throughput_per_s: f64,
    latency_us: Summary,
    /// How late requests were sent.
    lateness_us: Summary,
    errors: BTreeMap<String, Errors>,
    #[serde(skip)]
    heading: String,
}

#[derive(Debug, Serialize)]
struct Summary {
    min: u64,
    mean: f64,
    p50: u64,
    p95: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct Errors {
    count: u64,
    /// What the first one said.
    first: String,
}

impl Report {
    pub(super) fn new(target: String, load: &Load, outcome: Outcome) -> Self {
        use super::arrivals::Arrivals;
        let (concurrency, rate_per_s) = match load.arrivals {
            Arrivals::Closed { concurrency } => (Some(concurrency), None),
            Arrivals::Constant { rate } | Arrivals::Poisson { rate } => (None, Some(rate)),
        };
        let failed = outcome.failed();
        let succeeded = outcome.latency.count();
        let elapsed_s = outcome.elapsed.as_secs_f64();
        let errors = outcome.errors.into_iter();
        Self {
            target,
            arrivals: load.arrivals.name(),
            concurrency,
            rate_per_s,
            requests: succeeded + failed,
            failed,
            elapsed_s,
            throughput_per_s: if elapsed_s > 0.0 {
                succeeded as f64 / elapsed_s
            } else {
                0.0
            },
            latency_us: Summary::of(&outcome.latency),
            lateness_us: Summary::of(&outcome.lateness),
            errors: errors
                .map(|(kind, (count, first))| (kind, Errors { count, first }))
                .collect(),
            heading: load.arrivals.to_string(),
        }
    }

    pub(super) fn text(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("target", self.target.clone()),
            row("arrivals", self.heading.clone()),
            row(
                "requests",
                format!("{}, {} failed", self.requests, self.failed),
            ),
            row("elapsed", format!("{:.3} s", self.elapsed_s)),
            row("throughput", format!("{:.1} per s", self.throughput_per_s)),
            row("latency", self.latency_us.text()),
        ];
        if self.rate_per_s.is_some() {
            rows.push(row("lateness", self.lateness_us.text()));
        }
        for (kind, errors) in &self.errors {
            rows.push(row(
                "error",
                format!("{} {kind}, first: {}", errors.count, errors.first),
            ));
        }
        columns(0, &rows)
    }
}

impl Summary {
    fn of(histogram: &Histogram) -> Self {
        Self {
            min: histogram.min(),
            mean: histogram.mean(),
            p50: histogram.quantile(0.50),
            p95: histogram.quantile(0.95),
            p99: histogram.quantile(0.99),
            max: histogram.max(),
        }
    }

    fn text(&self) -> String {
        let Self {
            min,
            mean,
            p50,
            p95,
            p99,
            max,
        } = self;
        format!("min {min}  mean {mean:.0}  p50 {p50}  p95 {p95}  p99 {p99}  max {max}  us")
    }
}
