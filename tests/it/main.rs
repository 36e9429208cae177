//! Integration tests, one module per hazard.

mod serve_protocol;
mod serve_roundtrip;
mod serve_support;
