//! How a new epoch is tried before it takes over.

use crate::types::{CanarySpec, ReloadSpec, ShadowSpec};

use super::defaults;
use super::proof;
use super::reader::{Section, Unit};

/// Smallest share of requests.
const SHARE_MIN: f32 = 0.0001;
const REQUESTS_MAX: u64 = 1_000_000_000;
const TIME_MS_MAX: u32 = 86_400_000;
const LATENCY_RATIO_MAX: f32 = 1000.0;

pub(super) fn reload(mut section: Section<'_>) -> Option<ReloadSpec> {
    // What was asked for and is wrong is reported; nothing is served with it.
    let shadow = part(&mut section, "shadow").and_then(shadow);
    let canary = part(&mut section, "canary").and_then(canary);
    section.finish("[reload]");
    Some(ReloadSpec { shadow, canary })
}

/// Returns a table that the configuration has, with its defaults.
fn part<'a>(section: &mut Section<'a>, name: &'static str) -> Option<Section<'a>> {
    let part = section.given(name)?;
    Some(part.with_defaults(defaults::table(name)))
}

fn shadow(mut section: Section<'_>) -> Option<ShadowSpec> {
    let share = section.fraction("share", SHARE_MIN..=1.0);
    let requests = section.number("requests", 1..=REQUESTS_MAX);
    let tolerance = proof::tolerance(&mut section);
    let mismatches_max = section.number("mismatches_max", 0..=REQUESTS_MAX);
    let time_max = section.duration("time_max_ms", Unit::Milliseconds, 1..=TIME_MS_MAX);
    section.finish("shadow");
    Some(ShadowSpec {
        share: share?,
        requests: requests?,
        tolerance: tolerance?,
        mismatches_max: mismatches_max?,
        time_max: time_max?,
    })
}

fn canary(mut section: Section<'_>) -> Option<CanarySpec> {
    let share = section.fraction("share", SHARE_MIN..=1.0);
    let requests = section.number("requests", 1..=REQUESTS_MAX);
    let time_max = section.duration("time_max_ms", Unit::Milliseconds, 1..=TIME_MS_MAX);
    let error_ratio_max = section.fraction("error_ratio_max", 0.0..=1.0);
    let latency_ratio_max = section.fraction("latency_ratio_max", 1.0..=LATENCY_RATIO_MAX);
    section.finish("canary");
    Some(CanarySpec {
        share: share?,
        requests: requests?,
        time_max: time_max?,
        error_ratio_max: error_ratio_max?,
        latency_ratio_max: latency_ratio_max?,
    })
}
