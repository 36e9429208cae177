#![doc = include_str!("ARCHITECTURE.md")]

pub mod actors;
pub mod app;
pub mod cli;
pub mod config;
pub mod engine;
pub mod graph;
pub mod plan;
pub mod sched;
pub mod serve;
pub mod telemetry;
pub mod tensormq;
pub mod types;
