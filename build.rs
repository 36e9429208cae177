//! Generates the ONNX types, compiles the libtorch shim and tells the linker where libtorch is.

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

fn compile_shim() {}

fn link_libtorch() {}
