//! What has to stay until a device is done with it, and that nobody else keeps.

use std::any::Any;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use super::Event;
use super::context::lock;

type Kept = (Event, Box<dyn Any + Send>);
type Held = (Arc<Event>, Box<dyn Any + Send>);

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// Keeps something until an event is done. It goes when somebody next keeps something or calls [`sweep`], so there is never
/// more here than what is on its way, and what was on its way the last time.
pub fn keep_until(event: Event, what: Box<dyn Any + Send>) {
    sweep();
    lock(&KEPT).push((event, what));
}

/// What waits for [`let_go_after`] at most; whoever comes then waits until there is room.
const LET_GO_MAX: usize = 1 << 14;
/// Of those, the ones whose events are looked at; the others are on their way there.
const LOOKED_AT_MAX: usize = LET_GO_MAX / 2;
/// How often it is looked which of the events are done.
const LOOK: Duration = Duration::from_micros(250);

/// Drops something as soon as an event is done, on a thread of its own: for what others wait for. An event that is long in
/// coming holds up no other.
pub fn let_go_after(event: Arc<Event>, what: Box<dyn Any + Send>) {
    static DESK: OnceLock<Option<SyncSender<Held>>> = OnceLock::new();
    let open = || {
        let (desk, brought) = sync_channel(LET_GO_MAX - LOOKED_AT_MAX);
        let named = thread::Builder::new().name("blockflow-copies".into());
        named.spawn(move || look_after(&brought)).ok().map(|_| desk)
    };
    let held = (event, what);
    let held = match DESK.get_or_init(open) {
        Some(desk) => desk.send(held).map_err(|unsent| unsent.0),
        None => Err(held),
    };
    if let Err((event, what)) = held {
        let _ = event.wait();
        drop(what);
    }
}

/// Drops what is brought, each after its event.
fn look_after(brought: &Receiver<Held>) {
    let mut held: Vec<Held> = Vec::new();
    loop {
        let next = match held.len() {
            0 => brought.recv().map_err(|_| RecvTimeoutError::Disconnected),
            1..LOOKED_AT_MAX => brought.recv_timeout(LOOK),
            _ => {
                thread::sleep(LOOK);
                Err(RecvTimeoutError::Timeout)
            }
        };
        match next {
            Ok(one) => held.push(one),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody ends it.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let room = LOOKED_AT_MAX - held.len();
        held.extend(brought.try_iter().take(room));
        held.retain(|(event, _)| !is_over(event));
    }
}

/// Tells whether the device does no more of what an event is to come after: a device that is lost does nothing.
fn is_over(event: &Event) -> bool {
    event.is_done().unwrap_or_else(|error| error.is_sticky())
}

/// Drops what was kept until an event that is done.
pub fn sweep() {
    let mut kept = lock(&KEPT);
    let done: Vec<Kept> = kept
        .extract_if(.., |(event, _)| event.is_done().unwrap_or(false))
        .collect();
    drop(kept);
    // Dropping a tensor calls its allocator, for which nobody has to wait here.
    drop(done);
}
