//! The program.

use std::process::ExitCode;

use blockflow::cli;

fn main() -> ExitCode {
    cli::prepare_process();
    cli::main()
}
