//! Integration tests, one module per hazard.
