//! One worker process, from its start to its end.

use std::ffi::OsString;
use std::io::{self, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::warn;

use super::relay::{relay, take_line};
use crate::telemetry::metrics::{self, Share, Snapshot};
use crate::types::{FaultKind, LogFormat, lock};

/// What is written to a worker that is to end; one whose input ends without it has lost its parent.
pub const FAREWELL: &str = "end\n";

/// Lines that wait for a worker to read them.
const LINES_MAX: usize = 16;

/// How often an end is looked for that is near.
const END_POLL: Duration = Duration::from_millis(5);

/// Exit code of a worker one of whose devices is lost.
pub const EXIT_DEVICE_LOST: u8 = 6;
/// Exit code of a worker one of whose blocks is stuck.
pub const EXIT_STUCK: u8 = 7;

/// How a worker ended.
#[derive(Debug)]
pub(in crate::actors) struct End {
    pub kind: FaultKind,
    pub cause: String,
}

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
    /// To whoever writes to the worker's input, which stays open for as long as this does.
    lines: Option<SyncSender<Arc<[u8]>>>,
    child: Arc<Mutex<Child>>,
    voice: Arc<Voice>,
    watch: Option<JoinHandle<()>>,
}

/// What is known of a worker by what it says.
#[derive(Debug)]
struct Voice {
    started: Instant,
    /// When it last reported counts, in milliseconds since it was started; 0: not yet.
    heard_ms: AtomicU64,
    /// It was ended because it said nothing.
    silenced: AtomicBool,
}

impl Worker {
    /// Starts a worker. `ended` is called once, on another thread, with the reason why it ended.
    pub(in crate::actors) fn start(
        command: &WorkerCommand,
        assignment: &Assignment,
        ended: impl FnOnce(End) + Send + 'static,
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
        let Assignment {
            process,
            names,
            line,
            ..
        } = assignment.clone();
        let (lines, to_write) = sync_channel(LINES_MAX);
        // There is room for one.
        let _ = lines.try_send(line);
        thread::Builder::new()
            .name("blockflow-tell".into())
            .spawn(move || write(stdin, &to_write))?;
        let (format, watched) = (command.log, child.clone());
        let voice = Arc::new(Voice {
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
            silenced: AtomicBool::new(false),
        });
        let heard = voice.clone();
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
                metrics.up.add(1);
                follow(&process, names, stdout, &heard);
                let last_words = log.join().unwrap_or_default();
                let status = wait(&watched);
                metrics.up.sub(1);
                let silenced = heard.silenced.load(Ordering::Relaxed);
                ended(why(&process, status, &last_words, silenced));
            })?;
        Ok(Self {
            lines: Some(lines),
            child,
            voice,
            watch: Some(watch),
        })
    }

    /// Tells the worker a line. If it is not there any more, whoever takes its place is told.
    pub(in crate::actors) fn tell(&mut self, line: Arc<[u8]>) {
        let told = self.lines.as_ref().map(|lines| lines.try_send(line));
        if let Some(Err(TrySendError::Full(_))) = told {
            warn!(
                process = lock(&self.child).id(),
                "worker reads nothing of what it is told; it hears of new keys when it is started again"
            );
        }
    }

    /// Tells whether it has reported counts, which it does once its blocks run.
    pub(in crate::actors) fn has_spoken(&self) -> bool {
        self.voice.heard_ms.load(Ordering::Relaxed) > 0
    }

    /// Returns for how long it has said nothing.
    pub(in crate::actors) fn silence(&self, now: Instant) -> Duration {
        let heard = Duration::from_millis(self.voice.heard_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.voice.started + heard)
    }

    /// Ends a worker that has said nothing for longer than `bound`.
    pub(in crate::actors) fn kill_silent(&mut self, bound: Duration) {
        if !self.voice.silenced.swap(true, Ordering::Relaxed) {
            let process = lock(&self.child).id();
            warn!(process, ?bound, "worker says nothing any more, killing it");
            // If it has ended meanwhile, all the better.
            let _ = lock(&self.child).kill();
        }
    }

    /// Asks the worker to end.
    pub(in crate::actors) fn close(&mut self) {
        if let Some(lines) = self.lines.take() {
            // One that reads nothing, or has ended already, needs no farewell.
            let _ = lines.try_send(FAREWELL.as_bytes().into());
        }
    }

    /// Waits for the end until `deadline`, then enforces it; at once where its blocks do not run yet. Tells whether there was
    /// nothing to enforce.
    pub(in crate::actors) fn end(mut self, deadline: Instant) -> bool {
        self.close();
        let Some(watch) = self.watch.take() else {
            return true;
        };
        if !self.has_spoken() {
            // It loads, and hears nothing meanwhile. If it has ended, all the better.
            let _ = lock(&self.child).kill();
            let _ = watch.join();
            return true;
        }
        while !watch.is_finished() && Instant::now() < deadline {
            thread::sleep(END_POLL);
        }
        let late = !watch.is_finished();
        if late {
            warn!(
                process = lock(&self.child).id(),
                "worker did not end when it was asked to, killing it"
            );
            // If it has ended meanwhile, all the better.
            let _ = lock(&self.child).kill();
        }
        let _ = watch.join();
        !late
    }
}

/// Writes to a worker until nobody has anything to tell it any more, which ends its input, or until it has ended, which it
/// tells why on its standard error.
fn write(mut stdin: ChildStdin, lines: &Receiver<Arc<[u8]>>) {
    for line in lines {
        if stdin.write_all(&line).is_err() {
            return;
        }
    }
}

/// Adds up what a worker says of its counts until it says no more.
fn follow(process: &str, names: Vec<String>, stdout: ChildStdout, voice: &Voice) {
    let mut share = Share::new(names);
    let mut stdout = BufReader::new(stdout);
    while let Some(line) = take_line(&mut stdout) {
        match serde_json::from_slice::<Snapshot>(&line) {
            Ok(snapshot) => {
                let heard_ms = voice.started.elapsed().as_millis().max(1);
                voice.heard_ms.store(heard_ms as u64, Ordering::Relaxed);
                share.add(metrics::registry(), snapshot);
            }
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

/// Says why a process ended: its status, and what it said last if it ended by itself.
fn why(process: &str, status: io::Result<ExitStatus>, last_words: &str, silenced: bool) -> End {
    let code = status.as_ref().ok().and_then(ExitStatus::code);
    let signal = status.as_ref().ok().and_then(ExitStatus::signal);
    let kind = match (code.and_then(|code| u8::try_from(code).ok()), signal) {
        _ if silenced => FaultKind::Hang,
        (Some(EXIT_DEVICE_LOST), _) => FaultKind::DeviceLost,
        (Some(EXIT_STUCK), _) => FaultKind::Hang,
        (None, Some(_)) => FaultKind::Killed,
        _ => FaultKind::Exited,
    };
    let cause = match status {
        _ if silenced => format!("process {process:?} said nothing any more and was killed"),
        Ok(status) if code.is_some() && !last_words.is_empty() => {
            format!("process {process:?} ended ({status}): {last_words}")
        }
        Ok(status) => format!("process {process:?} ended ({status})"),
        Err(error) => format!("process {process:?} was lost: {error}"),
    };
    End { kind, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a worker that neither reads nor says anything, and tells it more than there is room for.
    fn sleeper() -> (Worker, Receiver<End>) {
        let command = WorkerCommand {
            program: "sleep".into(),
            arguments: vec!["1000".into()],
            log: LogFormat::Text,
        };
        let line: Arc<[u8]> = vec![b'x'; 1 << 20].into();
        let assignment = Assignment {
            process: "sleeper".into(),
            blocks: Vec::new(),
            names: Vec::new(),
            line: line.clone(),
        };
        let (ended, told) = sync_channel(1);
        let tell = move |end: End| {
            let _ = ended.send(end);
        };
        let mut worker = Worker::start(&command, &assignment, tell).expect("sleep exists");
        for _ in 0..2 * LINES_MAX {
            worker.tell(line.clone());
        }
        (worker, told)
    }

    fn assert_killed(told: &Receiver<End>) {
        let End { kind, cause } = told.recv().expect("a worker's end is told");
        assert!(cause.contains("SIGKILL"), "{cause}");
        assert_eq!(kind, FaultKind::Killed);
    }

    #[test]
    fn one_that_reads_nothing_blocks_nobody() {
        let (worker, told) = sleeper();
        // As if its blocks ran.
        worker.voice.heard_ms.store(1, Ordering::Relaxed);
        assert!(!worker.end(Instant::now()), "it had to be killed");
        assert_killed(&told);
    }

    #[test]
    fn one_that_loads_is_not_waited_for() {
        let (worker, told) = sleeper();
        let late = Instant::now() + Duration::from_secs(1000);
        assert!(worker.end(late), "it had nothing to finish");
        assert_killed(&told);
    }
}
