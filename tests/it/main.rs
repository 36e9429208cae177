//! Integration tests, one module per hazard.

mod cli;
mod cli_bench;
mod cli_bench_http;
mod cli_explain;
mod cli_npy;
mod serve_disconnect;
mod serve_limits;
mod serve_malformed;
mod serve_protocol;
mod serve_roundtrip;
mod serve_support;
