//! CUDA devices for tests: the machine's own, or a rehearsed one.
//!
//! The rehearsal (`tests/rehearsal/`) is a driver and a CUDA half of libtorch that compute on the CPU and are as asynchronous
//! as a device may be. What a process loads cannot be taken back, so whatever runs over it is a child process.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use blockflow::engine::check_device;
use blockflow::types::Device;

/// Returns the machine's first CUDA device, or says aloud that what needs it is skipped. `BLOCKFLOW_REQUIRE_GPU=1` makes that
/// a failure.
pub(crate) fn device_or_skip() -> Option<Device> {
    let device = Device::Cuda(0);
    match check_device(device) {
        Ok(()) => Some(device),
        Err(error) => {
            assert!(
                env::var_os("BLOCKFLOW_REQUIRE_GPU").is_none(),
                "a device is required: {error}"
            );
            println!("skipped: {error}");
            None
        }
    }
}

/// Runs an ignored test of this binary, by its path, in a process that has the rehearsed device.
pub(crate) fn rehearse(test: &str) {
    rehearse_with(test, &[]);
}

/// Likewise, over a driver that is as its environment says.
pub(crate) fn rehearse_with(test: &str, environment: &[(&str, &str)]) {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([
        "--exact",
        test,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    child.envs(environment.iter().copied());
    let output = on_stage(&mut child).output().unwrap();
    let [told, log] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{test}:\n{told}\n{log}");
    assert!(told.contains("1 passed"), "{test} was not found: {told}");
}

/// Has a process find the rehearsed device.
pub(crate) fn on_stage(command: &mut Command) -> &mut Command {
    let mut folders = vec![libraries().to_owned()];
    folders.extend(
        env::var_os("LD_LIBRARY_PATH")
            .iter()
            .flat_map(env::split_paths),
    );
    command.env("LD_LIBRARY_PATH", env::join_paths(folders).unwrap())
}

/// Returns the folder of the rehearsed libraries, with links to those of libtorch beside them. They are built once for every
/// version of their sources.
fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources =
            ["driver.cpp", "torch.cpp"].map(|file| checkout.join("tests/rehearsal").join(file));
        let libtorch = checkout.join(".libtorch").canonicalize().unwrap();
        let mut hasher = DefaultHasher::new();
        libtorch.hash(&mut hasher);
        for source in &sources {
            fs::read(source).unwrap().hash(&mut hasher);
        }
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = scratch.join(format!("rehearsal-{:016x}", hasher.finish()));
        if built.is_dir() {
            return built;
        }
        let making = tempfile::tempdir_in(scratch).unwrap();
        for (source, name) in sources.iter().zip(["libcuda.so", "libtorch_cuda.so"]) {
            let mut compiler = Command::new(env::var_os("CXX").unwrap_or("c++".into()));
            compiler.args(["-std=c++17", "-fPIC", "-shared", "-o"]);
            compiler.arg(making.path().join(name)).arg(source);
            for include in ["include", "include/torch/csrc/api/include", "cuda/include"] {
                compiler.arg("-isystem").arg(libtorch.join(include));
            }
            if name.contains("torch") {
                compiler.arg("-L").arg(libtorch.join("lib"));
                compiler.args(["-ltorch_cpu", "-lc10"]);
            }
            let output = compiler.output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {told}", source.display());
        }
        for library in fs::read_dir(libtorch.join("lib")).unwrap() {
            let library = library.unwrap();
            std::os::unix::fs::symlink(library.path(), making.path().join(library.file_name()))
                .unwrap();
        }
        // Another process may have been faster.
        match fs::rename(making.keep(), &built) {
            Ok(()) => {}
            Err(error) => assert!(built.is_dir(), "{error}"),
        }
        built
    })
}
