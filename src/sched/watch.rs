//! Telling a thread that is stuck from one that works.
//!
//! What counts is progress: a run that has begun and not ended. Making a session, warming it and its first run are a protected
//! zone with a bound of their own, as they may take long in good order.
//!
//! ```text
//!        longer than the bound          twice as long
//! Free ─────────────────────▶ Stuck ─────────────────▶ Overdue
//!   ▲                           │                          │
//!   └────── it has ended ───────┴──────────────────────────┘
//! ```

use std::time::Duration;

use crate::types::StuckSpec;

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It waits for requests.
    Idle,
    /// Its session is made, warmed, or runs for the first time.
    Warming,
    Running,
}

/// What a look brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing has changed.
    Same,
    /// It has been doing one thing for longer than this bound.
    Stuck(Duration),
    /// What was stuck has ended.
    Back,
    /// It has been stuck for as long again.
    Overdue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Free,
    Stuck,
    Overdue,
}

/// Watches one instance.
#[derive(Debug)]
pub struct Watch {
    spec: StuckSpec,
    state: State,
}

impl Watch {
    pub fn new(spec: StuckSpec) -> Self {
        Self {
            spec,
            state: State::Free,
        }
    }

    /// Tells whether it was stuck when it was looked at last.
    pub fn is_stuck(&self) -> bool {
        self.state != State::Free
    }

    /// Takes note of what is done and for how long it has been.
    pub fn look(&mut self, doing: Doing, lasted: Duration) -> Sight {
        let bound = match doing {
            Doing::Idle => None,
            Doing::Warming => self.spec.warm,
            Doing::Running => self.spec.run,
        };
        let now = match bound {
            Some(bound) if lasted > bound.saturating_mul(2) => State::Overdue,
            Some(bound) if lasted > bound => State::Stuck,
            _ => State::Free,
        };
        let before = std::mem::replace(&mut self.state, now);
        match (before, now) {
            (State::Free, State::Stuck | State::Overdue) => {
                // That it is overdue is for the next look to tell, after this.
                self.state = State::Stuck;
                Sight::Stuck(bound.unwrap_or_default())
            }
            (State::Stuck | State::Overdue, State::Free) => Sight::Back,
            (State::Stuck, State::Overdue) => Sight::Overdue,
            // Where it is stuck and was overdue, this is another run, which is slow as well.
            _ => Sight::Same,
        }
    }
}
