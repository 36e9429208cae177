//! Admission, batching, restarts and the switch of epochs together, in virtual time: schedules at random, each with its seed, in
//! which requests arrive and expire, runs fail, blocks are rebuilt or given up, and configurations take each other's place.
//! Every decision is made by the state machines of `sched`; what is simulated is only what carries them out.
//!
//! `SCHEDULES` makes it a longer run, `SCHEDULE_SEED` repeats one.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use blockflow::sched::{Batcher, Decision, Item, Limits, Restart, RestartPolicy};
use blockflow::types::RestartSpec;

use crate::support::from_environment;

const SCHEDULES: u64 = 100_000;
const MS: Duration = Duration::from_millis(1);
const BLOCKS: usize = 2;
const ARRIVALS_MAX: usize = 24;
/// No schedule needs more steps, unless one wakes for nothing again and again.
const STEPS_MAX: usize = 2_000;

/// A request that waits at a block.
#[derive(Debug, Clone)]
struct Job {
    request: u64,
    rows: usize,
    key: u8,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    Serving,
    Rebuilding(Instant),
    GivenUp,
}

#[derive(Debug)]
struct Run {
    ends: Instant,
    batch: Vec<Item<u8, Job>>,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// Of the request or requests alone.
    Refused,
    /// The session is lost.
    Fault,
}

#[derive(Debug)]
struct Block {
    batcher: Batcher<u8, Job>,
    limits: Limits,
    state: State,
    restarts: RestartPolicy,
    run: Option<Run>,
    run_time: Duration,
    /// Whether what failed together is tried alone.
    faults: u32,
}

/// A configuration, running.
#[derive(Debug)]
struct Epoch {
    number: u64,
    blocks: Vec<Block>,
}

/// A request that was admitted.
#[derive(Debug)]
struct Open {
    epoch: u64,
    /// Blocks that it went through, each with the epoch of that block.
    seen: Vec<u64>,
}

struct World {
    random: fastrand::Rng,
    now: Instant,
    arrivals_left: usize,
    next_arrival: Instant,
    /// The epoch of now comes last; before it one that drains, if there is one.
    epochs: VecDeque<Epoch>,
    /// When an epoch that is being prepared will be ready, or will have failed.
    preparing: Option<(Instant, bool)>,
    next_reload: Instant,
    reloads_left: usize,
    in_flight_max: usize,
    open: BTreeMap<u64, Open>,
    admitted: u64,
    refused: u64,
    replied: u64,
    switched: u64,
}

impl Block {
    fn new(random: &mut fastrand::Rng) -> Self {
        let limits = Limits {
            rows_max: random.usize(1..=4),
            wait: random.u32(0..=3) * MS,
        };
        Self {
            batcher: Batcher::new(limits),
            limits,
            state: State::Serving,
            restarts: RestartPolicy::new(RestartSpec {
                budget: random.usize(0..=3),
                window: random.u32(1..=50) * MS,
                backoff_min: MS,
                backoff_max: 8 * MS,
            }),
            run: None,
            run_time: Duration::ZERO,
            faults: 0,
        }
    }

    fn is_idle(&self) -> bool {
        self.run.is_none() && self.batcher.is_empty()
    }

    /// Returns when something is to be done here unasked.
    fn next(&self, now: Instant) -> Option<Instant> {
        let run = self.run.as_ref().map(|run| run.ends);
        let rebuilt = match self.state {
            State::Rebuilding(at) => Some(at),
            State::Serving | State::GivenUp => None,
        };
        let closes = match (&self.state, &self.run) {
            (State::Serving, None) => match self.batcher.decide(now, self.run_time, |_| true) {
                Decision::Run(_) => Some(now),
                Decision::Wait(at) => Some(at),
                Decision::Idle => None,
            },
            _ => None,
        };
        // Nobody looks at the queue while a run goes on.
        let expires = self.batcher.next_expiry().filter(|_| self.run.is_none());
        [run, rebuilt, closes, expires].into_iter().flatten().min()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let first = Epoch {
            number: 1,
            blocks: (0..BLOCKS).map(|_| Block::new(&mut random)).collect(),
        };
        Self {
            now,
            arrivals_left: random.usize(1..=ARRIVALS_MAX),
            next_arrival: now,
            epochs: [first].into(),
            preparing: None,
            next_reload: now + random.u32(0..60) * MS,
            reloads_left: random.usize(0..=3),
            in_flight_max: random.usize(1..=12),
            open: BTreeMap::new(),
            admitted: 0,
            refused: 0,
            replied: 0,
            switched: 0,
            random,
        }
    }

    fn reply(&mut self, request: u64, success: bool) {
        let open = self.open.remove(&request);
        let open = open.unwrap_or_else(|| panic!("request {request} was answered twice"));
        assert!(
            open.seen.iter().all(|&epoch| epoch == open.epoch),
            "request {request} of epoch {} saw {:?}",
            open.epoch,
            open.seen
        );
        assert!(
            !success || open.seen.len() == BLOCKS,
            "a block was left out"
        );
        self.replied += 1;
    }

    fn arrive(&mut self) {
        self.arrivals_left -= 1;
        self.next_arrival = self.now + self.random.u32(0..6) * MS;
        if self.open.len() >= self.in_flight_max {
            self.refused += 1;
            return;
        }
        let request = self.admitted;
        self.admitted += 1;
        let job = Job {
            request,
            rows: self.random.usize(1..=3),
            key: self.random.u8(0..2),
            deadline: self.now + self.random.u32(1..40) * MS,
        };
        let epoch = self.epochs.back_mut().expect("one is served");
        let open = Open {
            epoch: epoch.number,
            seen: Vec::new(),
        };
        self.open.insert(request, open);
        let number = epoch.number;
        self.enter(number, 0, job);
    }

    /// A request comes to a block, or to its end.
    fn enter(&mut self, epoch: u64, block: usize, job: Job) {
        if block == BLOCKS {
            return self.reply(job.request, true);
        }
        let now = self.now;
        let found = self.epochs.iter_mut().find(|one| one.number == epoch);
        let found = found.expect("an epoch does not end before its requests");
        let entered = &mut found.blocks[block];
        if let State::GivenUp = entered.state {
            return self.reply(job.request, false);
        }
        entered.batcher.push(Item {
            key: job.key,
            rows: job.rows,
            solo: false,
            arrived: now,
            deadline: job.deadline,
            content: job,
        });
    }

    fn start_run(&mut self, epoch: usize, index: usize, place: usize) {
        let number = self.epochs[epoch].number;
        let block = &mut self.epochs[epoch].blocks[index];
        let batch = block.batcher.take(place, |_| true);
        let rows: usize = batch.iter().map(|item| item.rows).sum();
        assert!(
            batch.len() == 1 || rows <= block.limits.rows_max,
            "{rows} rows"
        );
        assert!(
            batch
                .windows(2)
                .all(|two| two[0].key == two[1].key
                    && two[0].content.request < two[1].content.request)
        );
        assert!(
            batch.iter().all(|item| item.deadline > self.now),
            "run too late"
        );
        for item in &batch {
            let open = self.open.get_mut(&item.content.request);
            let seen = &mut open.expect("what is answered does not run").seen;
            // A second try of the same block is no second block.
            seen.truncate(index);
            seen.push(number);
        }
        let outcome = match self.random.u8(0..12) {
            0 => Outcome::Refused,
            1 => Outcome::Fault,
            _ => Outcome::Fine,
        };
        let took = self.random.u32(0..5) * MS + MS / 2;
        block.run_time = (block.run_time * 7 + took) / 8;
        block.run = Some(Run {
            ends: self.now + took,
            batch,
            outcome,
        });
    }

    fn end_run(&mut self, epoch: usize, index: usize) {
        let now = self.now;
        let number = self.epochs[epoch].number;
        let jitter = self.random.u32(..);
        let block = &mut self.epochs[epoch].blocks[index];
        let Some(run) = block.run.take_if(|run| run.ends <= now) else {
            return;
        };
        if run.outcome == Outcome::Fault {
            block.faults += 1;
            block.state = match block.restarts.on_failure(now, jitter) {
                Restart::After(wait) => State::Rebuilding(now + wait),
                Restart::GiveUp => State::GivenUp,
            };
        }
        if run.outcome == Outcome::Fine {
            for item in run.batch {
                self.enter(number, index + 1, item.content);
            }
        } else if run.batch.len() == 1 {
            for item in run.batch {
                self.reply(item.content.request, false);
            }
        } else {
            for item in run.batch.into_iter().rev() {
                block.batcher.push_front(Item { solo: true, ..item });
            }
        }
    }

    fn step_block(&mut self, epoch: usize, index: usize) {
        self.end_run(epoch, index);
        let now = self.now;
        let block = &mut self.epochs[epoch].blocks[index];
        if block.run.is_some() {
            return;
        }
        if let State::Rebuilding(at) = block.state
            && at <= now
        {
            block.state = State::Serving;
        }
        let mut gone = block.batcher.expire(now);
        if let State::GivenUp = block.state {
            gone.extend(block.batcher.remove(|_| true));
        }
        let decision = match block.state {
            State::Serving => block.batcher.decide(now, block.run_time, |_| true),
            State::Rebuilding(_) | State::GivenUp => Decision::Idle,
        };
        for item in gone {
            self.reply(item.content.request, false);
        }
        if let Decision::Run(place) = decision {
            self.start_run(epoch, index, place);
        }
    }

    /// What is configured is prepared beside what is served, and takes its place, unless it fails.
    fn step_reload(&mut self) {
        if let Some((ready, sound)) = self.preparing
            && ready <= self.now
        {
            self.preparing = None;
            if sound {
                assert_eq!(self.epochs.len(), 1, "more than two epochs");
                let number = self.epochs.back().map_or(1, |epoch| epoch.number) + 1;
                let blocks = (0..BLOCKS).map(|_| Block::new(&mut self.random)).collect();
                self.epochs.push_back(Epoch { number, blocks });
                self.switched += 1;
            }
        }
        // The next one waits for the one before the last to be gone.
        if self.preparing.is_none()
            && self.reloads_left > 0
            && self.next_reload <= self.now
            && self.epochs.len() == 1
        {
            self.reloads_left -= 1;
            self.next_reload = self.now + self.random.u32(0..60) * MS;
            let ready = self.now + self.random.u32(0..20) * MS;
            self.preparing = Some((ready, self.random.u8(0..4) > 0));
        }
        let served = self.epochs.len() - 1;
        let open = &self.open;
        let mut position = 0;
        self.epochs.retain(|epoch| {
            let is_old = position < served;
            position += 1;
            let is_over = open.values().all(|open| open.epoch != epoch.number);
            assert!(
                !is_over || epoch.blocks.iter().all(Block::is_idle),
                "an epoch without requests still has work"
            );
            !(is_old && is_over)
        });
    }

    fn step(&mut self) {
        if self.arrivals_left > 0 && self.next_arrival <= self.now {
            self.arrive();
        }
        for epoch in 0..self.epochs.len() {
            for block in 0..BLOCKS {
                self.step_block(epoch, block);
            }
        }
        self.step_reload();
    }

    /// Returns when something happens next.
    fn next(&self) -> Option<Instant> {
        let arrival = (self.arrivals_left > 0).then_some(self.next_arrival);
        let blocks = self.epochs.iter().flat_map(|epoch| &epoch.blocks);
        let blocks = blocks.filter_map(|block| block.next(self.now)).min();
        let ready = self.preparing.map(|(ready, _)| ready);
        let wanted = self.reloads_left > 0 && self.preparing.is_none() && self.epochs.len() == 1;
        let reload = wanted.then_some(self.next_reload);
        [arrival, blocks, ready, reload].into_iter().flatten().min()
    }
}

fn run(seed: u64) -> [u64; 3] {
    let mut world = World::new(seed);
    for _ in 0..STEPS_MAX {
        world.step();
        assert!(world.open.len() <= world.in_flight_max);
        match world.next() {
            Some(at) => world.now = world.now.max(at),
            None => {
                assert_eq!(world.open.len(), 0, "requests that nobody answers");
                assert_eq!(world.replied, world.admitted);
                assert_eq!(world.epochs.len(), 1, "an epoch that does not end");
                let idle = |epoch: &Epoch| epoch.blocks.iter().all(Block::is_idle);
                assert!(world.epochs.iter().all(idle));
                let faults = world.epochs[0]
                    .blocks
                    .iter()
                    .map(|block| u64::from(block.faults));
                return [world.admitted, world.switched, faults.sum()];
            }
        }
    }
    panic!("it does not come to rest: {:?}", world.epochs);
}

#[test]
fn requests_are_conserved_over_random_schedules() {
    let seeds = match from_environment("SCHEDULE_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = fastrand::u64(..1 << 60);
            first..first + from_environment("SCHEDULES").unwrap_or(SCHEDULES)
        }
    };
    let mut sums = [0; 3];
    for seed in seeds.clone() {
        let seen = std::panic::catch_unwind(|| run(seed));
        let seen = seen.unwrap_or_else(|_| panic!("SCHEDULE_SEED={seed}"));
        sums.iter_mut()
            .zip(seen)
            .for_each(|(sum, seen)| *sum += seen);
    }
    let [admitted, switched, faults] = sums;
    println!("{seeds:?}: {admitted} requests, {switched} switches, {faults} faults");
    assert!(
        sums.iter()
            .all(|&sum| sum > 0 || seeds.end - seeds.start < 100)
    );
}
