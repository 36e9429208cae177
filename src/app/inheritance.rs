//! What a process takes over from the one whose place it takes, and whether it may be followed by another.
//!
//! A program that cannot go on, because a thread does not come back or a device is lost, starts itself again in the same process:
//! same id, same arguments, and the socket that HTTP is served on stays open, so that who connects meanwhile waits.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::actors::{Call, Distress};
use crate::sched::{Restart, RestartPolicy};
use crate::telemetry::{Event, ProcessReplaced};

/// Successions that are remembered; a budget is not larger.
const REMEMBERED_MAX: usize = 1000;

/// What is handed over.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Listens already; takes the place of an address to serve HTTP on.
    pub listener: Option<TcpListener>,
    /// When places were taken so far, in milliseconds since 1970, oldest first.
    pub replaced_ms: Vec<u64>,
}

/// Returns who hears the calls of nodes, and what it hears: the first call, until it is taken.
pub(super) fn distress() -> (Distress, mpsc::Receiver<Call>) {
    let (calls, heard) = mpsc::channel(1);
    let distress = Distress::new(move |call| {
        // One that is heard already is enough.
        let _ = calls.try_send(call);
    });
    (distress, heard)
}

impl Inheritance {
    /// Decides about a call: after how long this process takes its own place, which is noted, or why it does not. It may no more
    /// often than the block that asks for it may be restarted.
    pub(super) fn answer(&mut self, call: &Call) -> Result<Duration, String> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        let (now, mut policy) = (Instant::now(), RestartPolicy::new(call.restart));
        for &replaced_ms in &self.replaced_ms {
            let ago = Duration::from_millis(now_ms.saturating_sub(replaced_ms));
            if let Some(at) = now.checked_sub(ago) {
                policy.on_failure(at, 0);
            }
        }
        let cause = format!("block {:?}: {}", call.block, call.cause);
        match policy.on_failure(now, 0) {
            Restart::After(backoff) => {
                self.replaced_ms.push(now_ms);
                let forgotten = self.replaced_ms.len().saturating_sub(REMEMBERED_MAX);
                self.replaced_ms.drain(..forgotten);
                ProcessReplaced {
                    cause: &cause,
                    attempt: policy.attempts(),
                    backoff,
                }
                .emit();
                Ok(backoff)
            }
            Restart::GiveUp => {
                let (times, window) = (policy.attempts() - 1, call.restart.window);
                Err(format!(
                    "{cause}; the program has started itself again {times} times within {} s for such a reason, which is all that the block's restart.budget allows",
                    window.as_secs()
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::types::{FaultKind, RestartSpec};

    use super::*;

    #[test]
    fn places_are_taken_no_more_often_than_the_budget_allows() {
        let call = Call {
            kind: FaultKind::DeviceLost,
            block: "b".to_owned(),
            cause: "gone".to_owned(),
            restart: RestartSpec {
                budget: 2,
                window: Duration::from_secs(60),
                backoff_min: Duration::from_millis(100),
                backoff_max: Duration::from_secs(1),
            },
        };
        // Long ago, so it does not count.
        let mut inheritance = Inheritance {
            listener: None,
            replaced_ms: vec![7],
        };
        assert_eq!(inheritance.answer(&call), Ok(Duration::from_millis(100)));
        // What a successor reads.
        let mut inheritance = Inheritance {
            listener: None,
            replaced_ms: inheritance.replaced_ms,
        };
        assert_eq!(inheritance.answer(&call), Ok(Duration::from_millis(200)));
        assert_eq!(inheritance.replaced_ms.len(), 3);
        let cause = inheritance
            .answer(&call)
            .expect_err("the budget is used up");
        assert!(cause.contains("2 times within 60 s"), "{cause}");
        assert_eq!(inheritance.replaced_ms.len(), 3);
    }
}
