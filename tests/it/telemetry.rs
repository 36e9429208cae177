//! Metrics: what was counted is what the page says, in a form that Prometheus reads.

use std::time::Duration;

use blockflow::telemetry::metrics::{Registry, block, render};
use blockflow::telemetry::{BlockFailed, Event, LogError, init};
use blockflow::types::{FailureKind, FaultKind, LogFormat, LogSpec};

#[test]
fn requests_are_counted_by_pipeline_and_outcome() {
    let registry = Registry::default();
    let digit = registry.pipeline("digit");
    digit.succeeded(Duration::from_millis(3));
    digit.succeeded(Duration::from_millis(3));
    digit.failed(FailureKind::BlockFailed);
    registry.pipeline("digit").failed(FailureKind::Overloaded);
    let page = registry.render();
    for line in [
        "# TYPE blockflow_requests_total counter",
        "blockflow_requests_total{pipeline=\"digit\",outcome=\"ok\"} 2",
        "blockflow_requests_total{pipeline=\"digit\",outcome=\"block_failed\"} 1",
        "blockflow_requests_total{pipeline=\"digit\",outcome=\"overloaded\"} 1",
        "blockflow_requests_total{pipeline=\"digit\",outcome=\"cancelled\"} 0",
        "blockflow_request_seconds_bucket{pipeline=\"digit\",le=\"0.0025\"} 0",
        "blockflow_request_seconds_bucket{pipeline=\"digit\",le=\"0.005\"} 2",
        "blockflow_request_seconds_bucket{pipeline=\"digit\",le=\"+Inf\"} 2",
        "blockflow_request_seconds_sum{pipeline=\"digit\"} 0.006",
        "blockflow_request_seconds_count{pipeline=\"digit\"} 2",
    ] {
        assert!(
            page.lines().any(|seen| seen == line),
            "{line} is not in\n{page}"
        );
    }
}

#[test]
fn the_bounds_of_buckets_are_inclusive_and_cumulative() {
    let registry = Registry::default();
    let metrics = registry.block("b");
    for micros in [50, 51, 10_000_000, 10_000_001] {
        metrics.run_time.observe(Duration::from_micros(micros));
    }
    let page = registry.render();
    for (bound, count) in [
        ("0.00005", 1),
        ("0.0001", 2),
        ("5", 2),
        ("10", 3),
        ("+Inf", 4),
    ] {
        let line =
            format!("blockflow_block_run_seconds_bucket{{block=\"b\",le=\"{bound}\"}} {count}");
        assert!(
            page.lines().any(|seen| seen == line),
            "{line} is not in\n{page}"
        );
    }
}

#[test]
fn label_values_are_escaped() {
    let registry = Registry::default();
    registry.block("a\"b\\c\nd").runs.add(1);
    let page = registry.render();
    let line = "blockflow_block_runs_total{block=\"a\\\"b\\\\c\\nd\"} 1";
    assert!(page.lines().any(|seen| seen == line), "{page}");
}

#[test]
fn every_line_is_a_remark_or_a_sample() {
    let registry = Registry::default();
    registry.block("b").instances_up.sub(1);
    registry.pipeline("p").in_flight.set(3);
    for line in registry.render().lines() {
        let sample = line.rsplit_once(' ').is_some_and(|(name, value)| {
            name.starts_with("blockflow_") && name.ends_with('}') && value.parse::<f64>().is_ok()
        });
        assert!(
            sample || line.starts_with("# HELP ") || line.starts_with("# TYPE "),
            "{line}"
        );
    }
}

#[test]
fn an_event_counts_what_it_logs() {
    let name = "telemetry-test-block";
    BlockFailed {
        block: name,
        instance: 0,
        kind: FaultKind::Panic,
        cause: "panic",
        attempt: 1,
        backoff: Some(Duration::ZERO),
    }
    .emit();
    BlockFailed {
        block: name,
        instance: 0,
        kind: FaultKind::Links,
        cause: "links",
        attempt: 2,
        backoff: None,
    }
    .emit();
    assert_eq!(block(name).failures.get(), 2);
    let page = render();
    for line in [
        "blockflow_block_failures_total{block=\"telemetry-test-block\"} 2",
        "blockflow_block_faults_total{block=\"telemetry-test-block\",kind=\"panic\"} 1",
        "blockflow_block_faults_total{block=\"telemetry-test-block\",kind=\"links\"} 1",
        "blockflow_block_faults_total{block=\"telemetry-test-block\",kind=\"hang\"} 0",
    ] {
        assert!(
            page.lines().any(|seen| seen == line),
            "{line} is not in {page}"
        );
    }
}

#[test]
fn a_log_filter_that_is_none_is_refused_with_its_text() {
    let spec = LogSpec {
        filter: "info,=,=".to_owned(),
        format: LogFormat::Text,
    };
    let error = init(&spec).expect_err("no filter");
    assert!(
        matches!(&error, LogError::Filter { filter, .. } if filter == "info,=,="),
        "{error}"
    );
}
