//! Starting the program again in its place: with a setting that a library reads only once, when it is loaded, or to go on after
//! something that a process does not survive.

use std::env;
use std::ffi::OsString;
use std::io::{self, stdin};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use clap::Args;
use listenfd::ListenFd;

use super::error::CliError;
use crate::app::Inheritance;

/// How long a thread of libgomp waits actively for work, in rounds. Its default makes operators of several threads many
/// times slower on a busy machine: a waiting thread keeps the core from the one it waits for.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";

/// The settings that say the same; whoever sets one of them means it.
const CHOSEN: [&str; 2] = [SPIN_COUNT, "OMP_WAIT_POLICY"];

/// How a service manager says that it hands sockets over; they are taken once.
const HANDED: [&str; 3] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// What flags of the program itself begin with.
const INHERIT: &str = "--inherit-";

/// What the program tells itself when it starts itself again.
#[derive(Debug, Args)]
pub(super) struct InheritArguments {
    /// Standard input is the socket to serve HTTP on.
    #[arg(long, hide = true)]
    inherit_listener: bool,
    /// When that was done, in milliseconds since 1970.
    #[arg(long, hide = true, value_name = "MS", value_delimiter = ',')]
    inherit_replaced: Vec<u64>,
}

/// Makes waiting threads sleep where an operator uses more than one (`threads`). If the environment does not say how
/// they wait, the process is replaced by itself with an environment that does; its id, files and arguments stay.
pub(super) fn let_threads_sleep(threads: usize) {
    if threads <= 1 || CHOSEN.iter().any(|name| env::var_os(name).is_some()) {
        return;
    }
    let error = again(env::args_os().skip(1)).env(SPIN_COUNT, "0").exec();
    tracing::warn!(%error, "threads of operators will spin: {SPIN_COUNT}=0 could not be set");
}

impl InheritArguments {
    /// Returns what the program hands over to itself or, at its first start, what a service manager hands over to it
    /// (`LISTEN_FDS`).
    pub(super) fn take(&self) -> Result<Inheritance, CliError> {
        let listener = if self.inherit_listener {
            let own = stdin().as_fd().try_clone_to_owned();
            Some(own.map(TcpListener::from))
        } else {
            let handed = ListenFd::from_env().take_tcp_listener(0);
            // A copy, which no other program gets along with the rest when it is started.
            let copy = |listener: TcpListener| listener.try_clone();
            handed
                .and_then(|listener| listener.map(copy).transpose())
                .transpose()
        };
        Ok(Inheritance {
            listener: listener.transpose().map_err(CliError::Inherited)?,
            replaced_ms: self.inherit_replaced.clone(),
        })
    }
}

/// Replaces the process by itself, with what it hands over. Returns why that could not be done.
pub(super) fn take_own_place(inheritance: Inheritance) -> io::Error {
    let Inheritance {
        listener,
        replaced_ms,
    } = inheritance;
    let times: Vec<_> = replaced_ms.iter().map(ToString::to_string).collect();
    let mut flags = vec![format!("{INHERIT}replaced={}", times.join(","))];
    if listener.is_some() {
        flags.push(format!("{INHERIT}listener"));
    }
    let mut command = again(handed_on(env::args_os().skip(1), flags));
    if let Some(listener) = listener {
        command.stdin(Stdio::from(OwnedFd::from(listener)));
    }
    for name in HANDED {
        command.env_remove(name);
    }
    command.exec()
}

/// Returns the arguments to be started with again: those of the user, with new flags of the program itself.
fn handed_on(
    arguments: impl Iterator<Item = OsString>,
    flags: impl IntoIterator<Item = String>,
) -> Vec<OsString> {
    let own = |argument: &OsString| argument.as_encoded_bytes().starts_with(INHERIT.as_bytes());
    let mut arguments: Vec<_> = arguments.filter(|argument| !own(argument)).collect();
    let end = arguments.iter().position(|argument| argument == "--");
    let end = end.unwrap_or(arguments.len());
    arguments.splice(end..end, flags.into_iter().map(OsString::from));
    arguments
}

fn again(arguments: impl IntoIterator<Item = OsString>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = env::args_os().next() {
        command.arg0(name);
    }
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_program_itself_are_replaced_and_those_of_the_user_stay() {
        let again = |before: &[&str]| {
            let before = before.iter().map(OsString::from);
            let flags = ["--inherit-replaced=7".to_owned()];
            handed_on(before, flags)
        };
        assert_eq!(
            again(&[
                "run",
                "a.toml",
                "--inherit-replaced=1,2",
                "--no-watch",
                "--inherit-listener"
            ]),
            ["run", "a.toml", "--no-watch", "--inherit-replaced=7"]
        );
        assert_eq!(
            again(&["run", "--", "-odd.toml"]),
            ["run", "--inherit-replaced=7", "--", "-odd.toml"]
        );
    }
}
