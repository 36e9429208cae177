//! The program.

use std::process::ExitCode;

use blockflow::{cli, engine};

fn main() -> ExitCode {
    engine::torch::tune_allocator();
    cli::main()
}
