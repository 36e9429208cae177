//! The one timer of an actor that drains its sockets: at the next moment at which something is to be done unasked.

use std::time::Instant;

use actix::prelude::*;

/// An actor that does all it can when it is woken.
pub(super) trait Pump: Actor<Context = Context<Self>> {
    fn alarm(&mut self) -> &mut Alarm;

    /// Does what can be done now and arms the alarm for the rest.
    fn pump(&mut self, ctx: &mut Context<Self>);
}

/// At most one pending wake-up.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<(Instant, SpawnHandle)>);

/// Has `actor` pumped at `at`, or earlier if it already is to be. The timer ticks in milliseconds and never early.
pub(super) fn arm<A: Pump>(actor: &mut A, ctx: &mut Context<A>, at: Instant) {
    let now = Instant::now();
    if let Some((armed, handle)) = actor.alarm().0.take() {
        if armed <= at && armed > now {
            actor.alarm().0 = Some((armed, handle));
            return;
        }
        ctx.cancel_future(handle);
    }
    let handle = ctx.run_later(at.saturating_duration_since(now), |actor, ctx| {
        actor.alarm().0 = None;
        actor.pump(ctx);
    });
    actor.alarm().0 = Some((at, handle));
}
