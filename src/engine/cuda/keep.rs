//! What has to stay until a device is done with it, and that nobody else keeps.

use std::any::Any;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

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

/// Drops something as soon as an event is done, on a thread of its own: for what others wait for.
pub fn let_go_after(event: Arc<Event>, what: Box<dyn Any + Send>) {
    static DESK: OnceLock<Option<SyncSender<Held>>> = OnceLock::new();
    let open = || {
        let (desk, held) = sync_channel::<Held>(LET_GO_MAX);
        let wait = move || {
            for (event, what) in held {
                // A device that is lost is done, too.
                let _ = event.wait();
                drop(what);
            }
        };
        let named = thread::Builder::new().name("blockflow-copies".into());
        named.spawn(wait).ok().map(|_| desk)
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
