//! Which libtorch this is.

#![expect(unsafe_code, reason = "calls the C++ shim")]

use std::sync::OnceLock;

use super::bindings::{blockflow_version, take_message};

/// Describes libtorch: its version, and the instructions of the processor that it uses.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        // SAFETY: no preconditions; returns null or a string of ours from `strdup`.
        unsafe { take_message(blockflow_version()) }.unwrap_or_default()
    })
}
