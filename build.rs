//! Generates the ONNX types, compiles the libtorch shims and tells the linker where libtorch is.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    generate_onnx_types();
    compile_shim();
    compile_graphs();
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
    compiler(&[&include, &include.join("torch/csrc/api/include")])
        .files(sources)
        .compile("blockflow_shim");
}

/// Compiles what captures CUDA graphs into a library that the program carries along and loads where there is a device: it
/// refers to libtorch's CUDA half, which others have not. Without the headers of CUDA it is an empty file, and the program
/// does without.
fn compile_graphs() {
    const SOURCE: &str = "src/engine/torch/ffi/graphs.cpp";
    const HEADER: &str = ".libtorch/cuda/include/cuda_runtime.h";
    println!("cargo::rerun-if-changed={SOURCE}");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let library = folder.join("blockflow_graphs.so");
    if !Path::new(HEADER).exists() {
        println!("cargo::warning=no CUDA graphs: {HEADER} is missing; scripts/setup brings it");
        // To watch a file that is missing is to build all anew each time. Who brings it touches `build-version`.
        if !fs::read(&library).is_ok_and(|bytes| bytes.is_empty()) {
            fs::write(&library, []).expect("cargo's own folder is writable");
        }
        return;
    }
    println!("cargo::rerun-if-changed={HEADER}");
    let include = libtorch().join("include");
    let objects = compiler(&[
        &include,
        &include.join("torch/csrc/api/include"),
        Path::new(".libtorch/cuda/include"),
    ])
    .file(SOURCE)
    .compile_intermediates();
    let mut linker = compiler(&[]).get_compiler().to_command();
    linker
        .arg("-shared")
        .arg("-s")
        .arg("-o")
        .arg(&library)
        .args(objects);
    let status = linker.status();
    let linked = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(linked, "cannot link {}: {status:?}", library.display());
}

fn compiler(includes: &[&Path]) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1");
    for include in includes {
        build.flag("-isystem").flag(include);
    }
    build
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
