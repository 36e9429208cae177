//! What has to stay until a device is done with it, and that nobody else keeps.

use std::any::Any;
use std::sync::Mutex;

use super::Event;
use super::context::lock;

type Kept = (Event, Box<dyn Any + Send>);

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// Keeps something until an event is done. It goes when somebody next keeps something or calls [`sweep`], so there is never
/// more here than what is on its way, and what was on its way the last time.
pub fn keep_until(event: Event, what: Box<dyn Any + Send>) {
    sweep();
    lock(&KEPT).push((event, what));
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
