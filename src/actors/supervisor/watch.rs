//! Looking now and then at what instances and worker processes are doing.

use std::time::{Duration, Instant};

use actix::prelude::*;

use crate::actors::NodeError;
use crate::actors::board::BlockState;
use crate::sched::{Doing, Remedy, Sight};
use crate::telemetry::{BlockBack, BlockStuck, Event};
use crate::types::FaultKind;

use super::actor::{Instance, Supervisor};
use super::faults::Fault;

/// Looks within the shortest bound.
const LOOKS: u32 = 8;
/// Between two looks at least, and at most.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Begins to look, as often as the shortest bound asks for.
    pub(super) fn watch_all(&self, ctx: &mut Context<Self>) {
        let blocks = self.plan.blocks.iter();
        let bounds = blocks.flat_map(|block| [block.spec.stuck.run, block.spec.stuck.warm]);
        if let Some(shortest) = bounds.flatten().min() {
            let pause = (shortest / LOOKS).clamp(LOOK_MIN, LOOK_MAX);
            ctx.run_interval(pause, |supervisor, _| supervisor.look());
        }
    }

    fn look(&mut self) {
        let now = Instant::now();
        let mut seen = Vec::new();
        for (place, watch) in &mut self.watches {
            if let Some(Instance { progress, .. }) = self.blocks.get(place) {
                let (doing, lasted) = progress.look(now);
                match watch.look(doing, lasted) {
                    Sight::Same => {}
                    sight => seen.push((*place, doing, lasted, sight)),
                }
            }
        }
        for (place, doing, lasted, sight) in seen {
            match sight {
                Sight::Same => {}
                Sight::Stuck(bound) => self.hold(place, doing, bound),
                Sight::Back => self.welcome_back(place),
                Sight::Overdue => self.call_overdue(place, doing, lasted),
            }
        }
        self.look_at_workers(now);
    }

    /// An instance is stuck: what needs it is answered, and not admitted any more.
    fn hold(&mut self, (block, instance): (usize, usize), doing: Doing, bound: Duration) {
        let cause = told(doing, bound);
        let name = self.name(block).to_owned();
        if self.started.is_some() {
            self.tell_started(Err(NodeError::Block { block: name, cause }));
            return;
        }
        let Some((remedy, _)) = self.decide((block, instance), FaultKind::Hang) else {
            return;
        };
        BlockStuck {
            block: &name,
            instance,
            cause: &cause,
        }
        .emit();
        let state = BlockState::Stuck {
            cause: cause.clone(),
        };
        self.note(block, instance, state);
        self.refuse(vec![block], format!("stuck: {cause}"));
        if remedy == Remedy::Replace {
            self.replace(&Fault {
                block,
                instance,
                kind: FaultKind::Hang,
                cause,
            });
        }
    }

    fn welcome_back(&mut self, (block, instance): (usize, usize)) {
        // What it told meanwhile, such as that its session is to be rebuilt, stays.
        if matches!(
            self.board.get(block, instance),
            Some(BlockState::Stuck { .. })
        ) {
            self.note(block, instance, BlockState::Serving);
        }
        let block = self.name(block);
        BlockBack { block, instance }.emit();
    }

    /// What is stuck did not come back: in this process it will not.
    fn call_overdue(&mut self, (block, instance): (usize, usize), doing: Doing, lasted: Duration) {
        let cause = told(doing, lasted);
        self.replace(&Fault {
            block,
            instance,
            kind: FaultKind::Hang,
            cause,
        });
    }
}

fn told(doing: Doing, time: Duration) -> String {
    let what = match doing {
        Doing::Running | Doing::Idle => "a run (stuck.run_ms)",
        Doing::Warming => "warming or the first run (stuck.warm_ms)",
    };
    format!("{what} takes more than {} ms", time.as_millis())
}
