//! The backend test suite of the ONNX project (the data of the `onnx` 1.22.0 wheel), run on every engine that runs
//! graphs, by the way a user's model takes: file, graph, preparation, session.
//!
//! `tests/data/conformance/<engine>.txt` lists the cases an engine is known not to pass, and may only shrink: a case on
//! it that passes fails the test, as does one beside it that does not. Every case and its outcome go to
//! `target/conformance/<engine>.txt`; `BLOCKFLOW_CONFORMANCE=TEXT` runs only the cases whose names hold TEXT.

mod case;
mod compare;
mod ledger;
mod written;

use std::path::PathBuf;

use blockflow::types::GraphEngine;
use case::Case;
use ledger::Ledger;

/// Folder of the suite inside the wheel.
fn suite() -> PathBuf {
    let lib = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv-test/lib");
    let python = std::fs::read_dir(&lib)
        .expect("scripts/setup --tests makes the environment with the suite")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("site-packages/onnx").is_dir())
        .expect("the environment holds onnx");
    python.join("site-packages/onnx/backend/test/data")
}

#[test]
fn the_aten_engine_passes_the_onnx_backend_suite() {
    let cases = Case::all(&suite());
    assert_eq!(cases.len(), 1905, "the suite is that of onnx 1.22.0");
    Ledger::of("aten").check(&cases, |case| case::run(case, GraphEngine::Aten));
}

/// What ONNX Runtime gets is our graph, written back: this checks reader and writer against an engine that is not ours.
#[test]
fn the_onnxruntime_engine_passes_the_onnx_backend_suite() {
    let cases = Case::all(&suite());
    Ledger::of("onnxruntime").check(&cases, |case| case::run(case, GraphEngine::OnnxRuntime));
}
