//! Integration tests, one module per hazard.

mod config;
mod config_environment;
mod config_reference;
mod plan;
mod plan_random;
mod plan_routes;
mod telemetry;
mod tidy;
