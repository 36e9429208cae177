//! When runs of blocks began and ended, for as long as somebody asks: on a CUDA device by events of its streams, elsewhere by
//! the clock of the host.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::types::{Device, lock};

use super::EngineError;
use super::cuda::{Context, CudaError, Event, EventKind, Priority, Stream};

/// Runs that are noted at most; those after them are not.
const SPANS_MAX: usize = 4096;

static CURRENT: Mutex<Option<Arc<Notes>>> = Mutex::new(None);
/// Whether there is one, for those who run.
static ON: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The block that this thread is about to run in a stream; empty: none that is noted.
    static BLOCK: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Notes the runs of all blocks on one device, until it ends. A process has one at a time.
#[derive(Debug)]
pub struct Timeline(Arc<Notes>);

/// A run of a block: times since the timeline began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub block: String,
    /// When its inputs were there.
    pub start: Duration,
    pub end: Duration,
}

#[derive(Debug)]
struct Notes {
    device: Device,
    origin: Origin,
    taken: Mutex<Vec<Note>>,
}

#[derive(Debug)]
enum Origin {
    Host(Instant),
    Device(Event),
}

#[derive(Debug)]
enum Note {
    Host(Span),
    Device {
        block: String,
        start: Event,
        end: Event,
    },
}

/// A run in a stream that goes on.
#[derive(Debug)]
pub(in crate::engine) struct Begun {
    notes: Arc<Notes>,
    block: String,
    start: Event,
}

impl Timeline {
    /// Begins one. Fails where the device does, and while there is another one.
    pub fn begin(device: Device) -> Result<Self, EngineError> {
        let failed = |cause: String| EngineError::Device { device, cause };
        let origin = match device {
            Device::Cuda(ordinal) => {
                Origin::Device(origin(ordinal).map_err(|error| failed(error.to_string()))?)
            }
            Device::Cpu | Device::Sim(_) => Origin::Host(Instant::now()),
        };
        let mut current = lock(&CURRENT);
        if current.is_some() {
            return Err(failed("its runs are being noted already".to_owned()));
        }
        let notes = Arc::new(Notes {
            device,
            origin,
            taken: Mutex::default(),
        });
        *current = Some(notes.clone());
        ON.store(true, Ordering::Release);
        Ok(Self(notes))
    }

    /// Waits for the runs that were noted, and returns them in the order in which they began.
    pub fn end(self) -> Result<Vec<Span>, EngineError> {
        let notes = std::mem::take(&mut *lock(&self.0.taken));
        let spans = notes.into_iter().map(|note| self.0.span(note));
        let mut spans: Vec<Span> =
            spans
                .collect::<Result<_, _>>()
                .map_err(|error: CudaError| EngineError::Device {
                    device: self.0.device,
                    cause: error.to_string(),
                })?;
        spans.sort_by_key(|span| span.start);
        Ok(spans)
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        ON.store(false, Ordering::Release);
        *lock(&CURRENT) = None;
    }
}

/// Returns a point in the time of a device that lies in the past.
fn origin(ordinal: u16) -> Result<Event, CudaError> {
    let context = Context::of(ordinal)?;
    let event = Event::new(&context, EventKind::Timed)?;
    event.record(&Stream::new(&context, Priority::Normal)?)?;
    event.wait()?;
    Ok(event)
}

impl Notes {
    fn take(&self, note: Note) {
        let mut taken = lock(&self.taken);
        if taken.len() < SPANS_MAX {
            taken.push(note);
        }
    }

    fn span(&self, note: Note) -> Result<Span, CudaError> {
        let (block, start, end) = match note {
            Note::Host(span) => return Ok(span),
            Note::Device { block, start, end } => (block, start, end),
        };
        end.wait()?;
        let since = |event: &Event| match &self.origin {
            Origin::Device(origin) => event.since(origin),
            Origin::Host(_) => Ok(None),
        };
        Ok(Span {
            block,
            start: since(&start)?.unwrap_or_default(),
            end: since(&end)?.unwrap_or_default(),
        })
    }
}

fn current(device: Device) -> Option<Arc<Notes>> {
    if !ON.load(Ordering::Acquire) {
        return None;
    }
    let current = lock(&CURRENT).clone();
    current.filter(|notes| notes.device == device)
}

/// Runs a block on a device, and notes it if that is asked for.
pub(super) fn noted<T>(block: &str, device: Device, run: impl FnOnce() -> T) -> T {
    let Some(notes) = current(device) else {
        return run();
    };
    let Origin::Host(origin) = notes.origin else {
        BLOCK.set(block.to_owned());
        let done = run();
        // One that failed before it began leaves it there.
        BLOCK.take();
        return done;
    };
    let start = origin.elapsed();
    let done = run();
    notes.take(Note::Host(Span {
        block: block.to_owned(),
        start,
        end: origin.elapsed(),
    }));
    done
}

/// Notes that this thread's block begins in a stream, if that was asked for when the thread took it up.
pub(in crate::engine) fn begun(stream: &Stream) -> Option<Begun> {
    let notes = current(Device::Cuda(stream.context().ordinal()))?;
    let block = BLOCK.take();
    if block.is_empty() {
        return None;
    }
    // What is not noted is missed by nobody but the timeline.
    let start = Event::new(stream.context(), EventKind::Timed).ok()?;
    start.record(stream).ok()?;
    Some(Begun {
        notes,
        block,
        start,
    })
}

impl Begun {
    /// Notes that it ends when all is done that the stream was given until now.
    pub(in crate::engine) fn ended(self, stream: &Stream) {
        let Ok(end) = Event::new(stream.context(), EventKind::Timed) else {
            return;
        };
        if end.record(stream).is_ok() {
            self.notes.take(Note::Device {
                block: self.block,
                start: self.start,
                end,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_device_are_noted_while_somebody_asks() {
        let sim = Device::Sim(7);
        assert_eq!(noted("before", sim, || 1), 1);
        let timeline = Timeline::begin(sim).expect("there is no other one");
        let other = Timeline::begin(Device::Sim(8)).expect_err("there is one");
        assert!(other.to_string().contains("already"), "{other}");
        noted("outer", sim, || noted("inner", sim, || ()));
        noted("elsewhere", Device::Sim(8), || ());
        let spans = timeline.end().expect("the host has a clock");
        let names: Vec<_> = spans.iter().map(|span| span.block.as_str()).collect();
        assert_eq!(names, ["outer", "inner"]);
        assert!(spans[0].start <= spans[1].start && spans[1].end <= spans[0].end);
        noted("after", sim, || ());
        let again = Timeline::begin(sim).expect("the other one has ended");
        assert!(again.end().expect("the host has a clock").is_empty());
    }
}
