//! Tells the linker where libtorch is.

use std::path::Path;

fn main() {
    let link = Path::new("../../.libtorch/lib");
    if let Ok(lib) = link.canonicalize() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
