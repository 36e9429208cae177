//! Integration tests, one module per hazard.

#![expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected error is a failure, and a panic says so"
)]

mod batching;
mod cli;
mod cli_bench;
mod cli_bench_http;
mod cli_explain;
mod cli_inspect;
mod cli_npy;
mod cli_shared;
mod cli_split;
mod config;
mod config_environment;
mod config_reference;
mod conformance;
mod digits;
mod engine_choice;
mod engine_conformance;
mod engine_control;
mod engine_data;
mod engine_digits;
mod engine_failures;
mod engine_images;
mod engine_memory;
mod engine_operators;
mod engine_peak_memory;
mod engine_support;
mod engine_torchscript;
mod envelopes;
mod faults;
mod graph_control;
mod graph_cut;
mod graph_file;
mod graph_formulas;
mod graph_hash;
mod graph_hostile;
mod graph_images;
mod graph_parts;
mod graph_reader;
mod graph_refusals;
mod graph_shapes;
mod graph_share;
mod graph_weights;
mod graph_write;
mod infer;
mod joining;
mod links;
mod memory;
mod networks;
mod numbers;
mod passes_exact;
mod passes_fast;
mod passes_random;
mod passes_support;
mod peak_memory;
mod plan;
mod plan_random;
mod plan_routes;
mod requests;
mod restarts;
mod sequences;
mod serve_disconnect;
mod serve_limits;
mod serve_malformed;
mod serve_protocol;
mod serve_roundtrip;
mod serve_support;
mod support;
mod telemetry;
mod threads;
mod tidy;
mod trust;
mod zoo;
