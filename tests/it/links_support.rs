//! A link of one carrier under test: both its ends, driven by one thread under a watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use blockflow::tensormq::{
    ARENA_BYTES, Addressed, Arena, Body, Context, Digest, Discarded, Envelope, Inbound, LinkState,
    LostPeer, Outbound, Party, Received, Window,
};
use blockflow::types::{
    Compress, DType, Encoding, Encodings, Endpoint, Epoch, Failure, FailureKind, HostMemory,
    PipelineId, RequestId, StepId, Tensor,
};
use tempfile::TempDir;

pub(crate) const WATCHDOG: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Inproc,
    Ipc,
    /// Ipc with an arena that every tensor of at least a byte goes through.
    Arena,
    Tcp,
    /// Tcp with every tensor compressed that can be.
    Lz4,
    Zstd,
}

/// Runs each function as a test on each carrier: `conformance! { [inproc Inproc, tcp Tcp] [order, back_pressure] }`.
macro_rules! conformance {
    ([$($carrier:ident $kind:ident),+] $names:tt) => {
        $(conformance! { $carrier $kind $names })+
    };
    ($carrier:ident $kind:ident [$($name:ident),+ $(,)?]) => {
        mod $carrier {
            use crate::links_support::Carrier;
            $(#[test]
            fn $name() {
                super::$name(Carrier::$kind);
            })+
        }
    };
}
pub(crate) use conformance;

/// Memory that counts how many of its kind are alive.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    pub(crate) fn tensor(alive: &Arc<AtomicUsize>, bytes: usize) -> Tensor {
        alive.fetch_add(1, Ordering::SeqCst);
        let memory = Self {
            bytes: vec![3; bytes],
            alive: alive.clone(),
        };
        Tensor::new(DType::U8, vec![bytes], Arc::new(memory)).unwrap()
    }
}

impl HostMemory for Counted {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn party(digest: u8) -> Party {
    Party::new(Digest([digest; Digest::BYTES]))
}

pub(crate) fn address(request: u64) -> Addressed {
    Addressed {
        request: RequestId(request),
        epoch: Epoch(1),
        pipeline: PipelineId(0),
        step: StepId(0),
        time_left: Duration::from_secs(1),
    }
}

pub(crate) fn envelope(request: u64, body: Body) -> Envelope {
    Envelope {
        address: address(request),
        body,
    }
}

pub(crate) fn tensors(request: u64, tensor: Tensor) -> Envelope {
    envelope(request, Body::Tensors(vec![(0, tensor)]))
}

pub(crate) fn small() -> Tensor {
    Tensor::copy_of(DType::U8, vec![1], &[1]).unwrap()
}

pub(crate) fn requests(received: &[Received]) -> Vec<u64> {
    let request = |one: &Received| one.envelope.address.request.0;
    received.iter().map(request).collect()
}

/// Repeats a step until it says that it is done.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < WATCHDOG, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Where links of a carrier can be made.
#[derive(Debug)]
pub(crate) struct Place {
    pub carrier: Carrier,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(carrier: Carrier) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { carrier, folder }
    }

    /// Returns an endpoint to bind that nobody has; on tcp its port is chosen by whoever binds it.
    pub(crate) fn endpoint(&self) -> Endpoint {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        match self.carrier {
            Carrier::Inproc => Endpoint::Inproc(format!("links-test-{number}")),
            Carrier::Ipc => Endpoint::Ipc(self.folder.path().join(format!("{number}.sock"))),
            Carrier::Arena => Endpoint::Ipc(self.folder.path().join(format!("{number}.arena"))),
            Carrier::Tcp | Carrier::Lz4 | Carrier::Zstd => Endpoint::Tcp {
                host: "127.0.0.1".to_owned(),
                port: 0,
            },
        }
    }
}

/// A consumer in a process of its own, as far as its peers can tell; on inproc in that of its producers.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub inbound: Inbound,
    pub endpoint: Endpoint,
    pub context: Context,
    pub arrived: Vec<Received>,
    pub discarded: Vec<Discarded>,
}

impl Consumer {
    pub(crate) fn bind(context: Context, endpoint: &Endpoint, window: u32) -> Self {
        let endpoints = [endpoint.clone()];
        let inbound = Inbound::bind(&context, &endpoints, Window(window)).unwrap();
        let endpoint = inbound.endpoints().unwrap().remove(0);
        Self {
            inbound,
            endpoint,
            context,
            arrived: Vec::new(),
            discarded: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self) {
        while let Some(received) = self.inbound.try_receive().unwrap() {
            match received {
                Ok(received) => self.arrived.push(received),
                Err(discarded) => self.discarded.push(discarded),
            }
        }
    }
}

/// A producer in a process of its own.
#[derive(Debug)]
pub(crate) struct Producer {
    pub outbound: Outbound,
    pub context: Context,
    pub lost: Vec<LostPeer>,
    barriers: u64,
}

impl Producer {
    pub(crate) fn connect(context: Context, endpoint: &Endpoint, name: &str) -> Self {
        let mut outbound = Outbound::connect(&context, endpoint, name).unwrap();
        if matches!(endpoint, Endpoint::Ipc(path) if path.extension().unwrap() == "arena") {
            outbound = outbound.with_arena(&Arena::new(ARENA_BYTES, 0).unwrap());
        }
        Self {
            outbound,
            context,
            lost: Vec::new(),
            barriers: 0,
        }
    }

    pub(crate) fn step(&mut self) {
        loop {
            let polled = self.outbound.poll().unwrap();
            self.lost.extend(polled.lost);
            if !polled.progress {
                break;
            }
        }
    }

    pub(crate) fn send(&mut self, envelope: Envelope) {
        self.outbound.send(envelope).unwrap();
    }

    pub(crate) fn is_up(&self) -> bool {
        self.outbound.peer().is_some()
    }

    pub(crate) fn refusal(&self) -> Option<String> {
        match self.outbound.link_state() {
            LinkState::Refused { reason } => Some(reason.clone()),
            _ => None,
        }
    }
}

/// Both ends.
#[derive(Debug)]
pub(crate) struct Link {
    pub producer: Producer,
    pub consumer: Consumer,
    pub place: Place,
}

impl Link {
    /// Returns a link that is up.
    pub(crate) fn new(carrier: Carrier, window: u32) -> Self {
        let place = Place::new(carrier);
        let context = Context::new(party(1));
        let consumer = Consumer::bind(context.clone(), &place.endpoint(), window);
        let producers = match carrier {
            Carrier::Inproc => context,
            _ => Context::new(party(1)),
        };
        let producer = Producer::connect(producers, &consumer.endpoint, "producer");
        let mut link = Self {
            producer,
            consumer,
            place,
        };
        link.until("the link is up", |link| link.producer.is_up());
        let compress = match carrier {
            Carrier::Lz4 => Compress::Lz4,
            Carrier::Zstd => Compress::Zstd,
            _ => return link,
        };
        let encoding = Encoding::of(None, Some(compress));
        let edge = |port| ((PipelineId(0), StepId(0), port), encoding);
        link.encode(&Arc::new((0..=u16::MAX).map(edge).collect()));
        link
    }

    /// Has the producer encode what it sends from now on.
    pub(crate) fn encode(&mut self, encodings: &Arc<Encodings>) {
        self.producer.outbound.set_encodings(encodings);
    }

    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        until(what, || {
            self.producer.step();
            self.consumer.step();
            done(self)
        });
    }

    /// Waits for so many more envelopes.
    pub(crate) fn arrive(&mut self, count: usize) -> Vec<Received> {
        self.until(&format!("{count} envelopes"), |link| {
            link.consumer.arrived.len() >= count
        });
        std::mem::take(&mut self.consumer.arrived)
    }

    /// Waits until all that the producer could send until now has arrived: a failure, which overtakes only what waits for
    /// credit, comes last.
    pub(crate) fn settle(&mut self) -> Vec<Received> {
        self.producer.barriers += 1;
        let barrier = u64::MAX - self.producer.barriers;
        let failure = Failure::new(FailureKind::Cancelled, "barrier");
        self.producer
            .send(envelope(barrier, Body::Failure(failure)));
        let is_barrier = |one: &Received| one.envelope.address.request == RequestId(barrier);
        self.until("a barrier", |link| {
            link.consumer.arrived.iter().any(is_barrier)
        });
        self.consumer.arrived.retain(|one| !is_barrier(one));
        std::mem::take(&mut self.consumer.arrived)
    }

    pub(crate) fn release(&mut self, received: &[Received]) {
        for one in received {
            self.consumer.inbound.release(one.peer).unwrap();
        }
    }
}
