//! Starting the program again in its place, with a setting that a library reads only once, when it is loaded.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// How long a thread of libgomp waits actively for work, in rounds. Its default makes operators of several threads many
/// times slower on a busy machine: a waiting thread keeps the core from the one it waits for.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";

/// The settings that say the same; whoever sets one of them means it.
const CHOSEN: [&str; 2] = [SPIN_COUNT, "OMP_WAIT_POLICY"];

/// Makes waiting threads sleep where an operator uses more than one (`threads`). If the environment does not say how
/// they wait, the process is replaced by itself with an environment that does; its id, files and arguments stay.
pub(super) fn let_threads_sleep(threads: usize) {
    if threads <= 1 || CHOSEN.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).env(SPIN_COUNT, "0").exec();
    tracing::warn!(%error, "threads of operators will spin: {SPIN_COUNT}=0 could not be set");
}
