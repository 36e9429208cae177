//! One worker process, from its start to its end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::warn;

use super::relay::{relay, take_line};
use crate::telemetry::metrics::{self, Share, Snapshot};
use crate::types::LogFormat;

/// What is written to a worker that is to end; one whose input ends without it has lost its parent.
pub const FAREWELL: &str = "end\n";

/// How often an end is looked for that is near.
const END_POLL: Duration = Duration::from_millis(5);

/// How this program is started as a worker.
#[derive(Debug, Clone, Default)]
pub struct WorkerCommand {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Form of the log, which says how lines of standard error are passed on.
    pub log: LogFormat,
}

/// What a worker is to be.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub process: String,
    /// Indices of the blocks that it runs.
    pub blocks: Vec<usize>,
    /// Their names, under which it reports counts.
    pub names: Vec<String>,
    /// What it reads first: one line.
    pub line: Arc<[u8]>,
}

/// The worker processes of a host.
#[derive(Debug, Clone, Default)]
pub struct Workers {
    pub command: WorkerCommand,
    pub assignments: Vec<Assignment>,
}

/// A running worker. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::actors) struct Worker {
    /// Open for as long as the worker is to live.
    stdin: Option<ChildStdin>,
    child: Arc<Mutex<Child>>,
    watch: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a worker. `ended` is called once, on another thread, with the reason why it ended.
    pub(in crate::actors) fn start(
        command: &WorkerCommand,
        assignment: &Assignment,
        ended: impl FnOnce(String) + Send + 'static,
    ) -> io::Result<Self> {
        // In a group of its own, so that an interrupt typed at a terminal reaches the parent alone.
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let child = Arc::new(Mutex::new(child));
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("a pipe to the new process is missing"));
        };
        let mut written = File::from(stdin.as_fd().try_clone_to_owned()?);
        let Assignment {
            process,
            names,
            line,
            ..
        } = assignment.clone();
        let (format, watched) = (command.log, child.clone());
        let log = {
            let process = process.clone();
            thread::Builder::new()
                .name("blockflow-relay".into())
                .spawn(move || relay(&process, format, stderr))?
        };
        let watch = thread::Builder::new()
            .name("blockflow-watch".into())
            .spawn(move || {
                let metrics = metrics::process(&process);
                metrics.up.set(1);
                // A worker that ends before it has read this tells why on its standard error.
                let _ = written.write_all(&line);
                drop(written);
                follow(&process, names, stdout);
                let last_words = log.join().unwrap_or_default();
                let status = wait(&watched);
                metrics.up.set(0);
                ended(why(&process, status, &last_words));
            })?;
        Ok(Self {
            stdin: Some(stdin),
            child,
            watch: Some(watch),
        })
    }

    /// Tells the worker a line. If it is not there any more, whoever takes its place is told.
    pub(in crate::actors) fn tell(&mut self, line: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(line);
        }
    }

    /// Asks the worker to end.
    pub(in crate::actors) fn close(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            // A worker that has ended already needs no farewell.
            let _ = stdin.write_all(FAREWELL.as_bytes());
        }
    }

    /// Waits for the end until `deadline`, then enforces it.
    pub(in crate::actors) fn end(mut self, deadline: Instant) {
        self.close();
        let Some(watch) = self.watch.take() else {
            return;
        };
        while !watch.is_finished() && Instant::now() < deadline {
            thread::sleep(END_POLL);
        }
        if !watch.is_finished() {
            warn!(
                process = lock(&self.child).id(),
                "worker did not end when it was asked to, killing it"
            );
            // If it has ended meanwhile, all the better.
            let _ = lock(&self.child).kill();
        }
        let _ = watch.join();
    }
}

/// Adds up what a worker says of its counts until it says no more.
fn follow(process: &str, names: Vec<String>, stdout: ChildStdout) {
    let mut share = Share::new(names);
    let mut stdout = BufReader::new(stdout);
    while let Some(line) = take_line(&mut stdout) {
        match serde_json::from_slice::<Snapshot>(&line) {
            Ok(snapshot) => share.add(metrics::registry(), snapshot),
            Err(error) => warn!(process, %error, "worker wrote a line that is no report"),
        }
    }
    share.end(metrics::registry());
}

/// Waits without holding the lock meanwhile, for somebody else may want to kill it.
fn wait(child: &Mutex<Child>) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = lock(child).try_wait()? {
            return Ok(status);
        }
        thread::sleep(END_POLL);
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says why a process ended: its status, and what it said last if it ended by itself.
fn why(process: &str, status: io::Result<ExitStatus>, last_words: &str) -> String {
    match status {
        Ok(status) if status.code().is_some() && !last_words.is_empty() => {
            format!("process {process:?} ended ({status}): {last_words}")
        }
        Ok(status) => format!("process {process:?} ended ({status})"),
        Err(error) => format!("process {process:?} was lost: {error}"),
    }
}
