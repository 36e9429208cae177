//! Counts of this process, and their text for Prometheus.
//!
//! [`block`], [`pipeline`] and [`device`] are looked up once, by whoever counts, and kept: counting itself takes no lock. Names come
//! from configurations only, never from requests, which bounds the number of series.

mod cells;
mod devices;
mod forward;
mod lifecycle;
mod names;
mod registry;
mod text;
mod trials;

pub use cells::{Counter, Gauge, Histogram, Number};
pub use devices::DeviceMetrics;
pub use forward::{Share, Snapshot};
pub use lifecycle::LifecycleMetrics;
pub use names::{EdgeLabels, Names};
pub use registry::{
    BlockMetrics, LinkMetrics, PipelineMetrics, ProcessMetrics, Registry, block, device, lifecycle,
    links, pipeline, process, registry, render, trials,
};
pub use trials::TrialMetrics;
