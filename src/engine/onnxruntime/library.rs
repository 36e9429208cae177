//! The library of ONNX Runtime: found once, loaded once.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::engine::EngineError;

/// Names the library's file, where it is none that the system's loader finds.
const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";

const FILE_NAMES: [&str; 2] = ["libonnxruntime.so", "libonnxruntime.so.1"];

/// Returns the environment of the loaded library, loading it at the first call.
pub(super) fn environment() -> Result<&'static Environment, EngineError> {
    static LOADED: OnceLock<Result<Environment, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| load(std::env::var_os(PATH_VARIABLE)));
    loaded.as_ref().map_err(|cause| EngineError::NoEngine {
        engine: "onnxruntime",
        cause: cause.clone(),
    })
}

/// Tells whether the library can be loaded.
pub fn available() -> Result<(), EngineError> {
    environment().map(drop)
}

/// Describes the loaded library; empty if there is none.
pub fn version() -> &'static str {
    match environment() {
        Ok(_) => ort::info(),
        Err(_) => "",
    }
}

fn load(path: Option<OsString>) -> Result<Environment, String> {
    let candidates: Vec<PathBuf> = match path {
        Some(path) => vec![path.into()],
        None => FILE_NAMES.map(PathBuf::from).into(),
    };
    let mut causes = Vec::new();
    for candidate in candidates {
        match ort::init_from(&candidate) {
            Ok(builder) => {
                let environment = builder
                    .with_name("blockflow")
                    .with_telemetry(false)
                    .build()
                    .map_err(|error| error.to_string())?;
                environment.set_log_level(LogLevel::Error);
                return Ok(environment);
            }
            Err(error) => causes.push(error.to_string()),
        }
    }
    Err(format!(
        "{}; set {PATH_VARIABLE} to the file libonnxruntime.so (version 1.17 or newer, as in the Python package onnxruntime)",
        causes.join("; ")
    ))
}
