//! Generates the ONNX types, compiles the libtorch shim and tells the linker where libtorch is.

use std::path::{Path, PathBuf};

fn main() {
    generate_onnx_types();
    compile_shim();
    link_libtorch();
}

fn generate_onnx_types() {
    const DESCRIPTION: &str = "src/graph/onnx/onnx.proto";
    println!("cargo::rerun-if-changed={DESCRIPTION}");
    let descriptors = protox::compile([DESCRIPTION], ["src/graph/onnx"])
        .unwrap_or_else(|error| panic!("{DESCRIPTION}: {error}"));
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(descriptors)
        .unwrap_or_else(|error| panic!("cannot write the types of {DESCRIPTION}: {error}"));
}

fn compile_shim() {
    let include = libtorch().join("include");
    const FOLDER: &str = "src/engine/torch/ffi";
    let sources = ["shim.cpp", "boxed.cpp", "cuda.cpp"].map(|file| format!("{FOLDER}/{file}"));
    println!("cargo:rerun-if-changed={FOLDER}/guarded.h");
    for source in &sources {
        println!("cargo:rerun-if-changed={source}");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .flag("-isystem")
        .flag(&include)
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include"))
        .files(sources)
        .compile("blockflow_shim");
}

fn link_libtorch() {
    // The real path, so that a binary survives a move of the checkout; torch-sys names the libraries.
    println!(
        "cargo:rustc-link-arg=-Wl,-rpath,{}",
        libtorch().join("lib").display()
    );
    println!("cargo:rerun-if-changed=.libtorch/build-version");
    println!("cargo:rerun-if-changed=build.rs");
}

/// Where `.libtorch` points to.
fn libtorch() -> PathBuf {
    let link = Path::new(".libtorch");
    match link.canonicalize() {
        Ok(libtorch) if libtorch.join("lib/libtorch_cpu.so").exists() => libtorch,
        _ => {
            println!("cargo::error=libtorch is missing: run scripts/setup first");
            std::process::exit(1);
        }
    }
}
