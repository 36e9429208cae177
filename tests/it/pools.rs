//! Tensors of a device between processes: they lie in a pool for as long as the consumer needs it, and nothing that is said of a
//! pool is believed. The device is one that somebody made up; what a driver makes of it, `cuda_processes` shows.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use blockflow::tensormq::{
    Announcement, Arena, Body, Context, Discarded, Form, Hello, LinkError, PoolRange, SlotError,
    SlotId, Welcome, encode,
};
use blockflow::types::{
    DType, Device, DevicePool, Mapped, PoolCard, PoolError, PoolOpener, PoolPlace, PoolView,
    RemoteMemory, Shape, Tensor,
};
use proptest::prelude::*;

use crate::links_support::{Carrier, Consumer, Link, Place, Producer, party, requests, tensors};

const GPU: Device = Device::Cuda(0);
const EVENTS: usize = 3;

/// Memory that the host cannot read, as far as the links know.
#[derive(Debug)]
struct Far(Vec<u8>);

impl RemoteMemory for Far {
    fn device(&self) -> Device {
        GPU
    }

    fn byte_count(&self) -> usize {
        self.0.len()
    }
}

fn far(bytes: usize, seed: u8) -> Tensor {
    let memory = (0..bytes).map(|place| (place as u8).wrapping_mul(7) ^ seed);
    Tensor::remote(DType::U8, vec![bytes], Arc::new(Far(memory.collect()))).unwrap()
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let remote = tensor.as_remote().expect("it is on the device");
    remote.downcast::<Far>().unwrap().0[remote.range.clone()].to_vec()
}

/// One pool, of which both ends know the memory.
#[derive(Debug)]
struct Pool {
    memory: Mutex<Vec<u8>>,
    card: PoolCard,
    writes: AtomicUsize,
    /// Leases of copies that are not done yet; `None`: they are done at once.
    pending: Mutex<Option<Vec<Box<dyn Any + Send>>>>,
    /// Its owner has let go of it, so it may go to another.
    let_go: AtomicBool,
}

impl Pool {
    fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            memory: Mutex::new(vec![0xdb; bytes]),
            card: PoolCard {
                device: [1; 16],
                bytes: bytes as u64,
                memory: [2; 64],
                events: vec![[3; 64]; EVENTS],
            },
            writes: AtomicUsize::new(0),
            pending: Mutex::new(None),
            let_go: AtomicBool::new(false),
        })
    }

    /// Copies are not done until [`Pool::finish`].
    fn hold(&self) {
        *self.pending.lock().unwrap() = Some(Vec::new());
    }

    fn finish(&self) {
        let done = std::mem::take(self.pending.lock().unwrap().as_mut().unwrap());
        drop(done);
    }
}

#[derive(Debug)]
struct Shown(Arc<Pool>);

impl DevicePool for Shown {
    fn device(&self) -> Device {
        GPU
    }

    fn card(&self) -> &PoolCard {
        &self.0.card
    }

    fn write(&self, tensor: &Tensor, offset: u64) -> Result<u16, PoolError> {
        let bytes = bytes_of(tensor);
        self.0.memory.lock().unwrap()[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        Ok((self.0.writes.fetch_add(1, Ordering::SeqCst) % EVENTS) as u16)
    }

    fn to_host(&self, tensor: &Tensor) -> Result<Tensor, PoolError> {
        let made = Tensor::copy_of(tensor.dtype(), tensor.shape().to_vec(), &bytes_of(tensor));
        made.map_err(PoolError::new)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.let_go.store(true, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Opener(Arc<Pool>);

#[derive(Debug)]
struct View(Arc<Pool>);

impl PoolOpener for Opener {
    fn pin(&self, memory: Arc<dyn Mapped>) -> Result<Box<dyn Any + Send + Sync>, PoolError> {
        assert!(memory.span().1 > 0 && !memory.is_writable());
        Ok(Box::new(memory))
    }

    fn open(&self, card: &PoolCard) -> Result<Arc<dyn PoolView>, PoolError> {
        match *card == self.0.card {
            true => Ok(Arc::new(View(self.0.clone()))),
            false => Err(PoolError::new("no such pool")),
        }
    }
}

impl PoolView for View {
    fn fetch(
        &self,
        place: PoolPlace,
        dtype: DType,
        shape: Shape,
        lease: Box<dyn Any + Send>,
    ) -> Result<Tensor, PoolError> {
        let memory = self.0.memory.lock().unwrap();
        let bytes = memory[place.offset as usize..][..place.length as usize].to_vec();
        if let Some(pending) = self.0.pending.lock().unwrap().as_mut() {
            pending.push(lease);
        }
        Tensor::remote(dtype, shape, Arc::new(Far(bytes))).map_err(PoolError::new)
    }
}

/// A link whose producer shows a pool. `opens`: the consumer can map it.
fn link(pool: &Arc<Pool>, opens: bool, window: u32) -> (Link, Arena) {
    let place = Place::new(Carrier::Ipc);
    let consumer = consumer(&place, pool, opens, window);
    let arena = Arena::new(1 << 20, 0).unwrap();
    let arena = arena.with_pool(Arc::new(Shown(pool.clone())));
    let producer = producer(&consumer, &arena, "producer");
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    link.until("the link is up", |link| link.producer.is_up());
    (link, arena)
}

fn consumer(place: &Place, pool: &Arc<Pool>, opens: bool, window: u32) -> Consumer {
    let mut consumer = Consumer::bind(Context::new(party(1)), &place.endpoint(), window);
    if opens {
        consumer.inbound = consumer.inbound.with_pools(Arc::new(Opener(pool.clone())));
    }
    consumer
}

fn producer(consumer: &Consumer, arena: &Arena, name: &str) -> Producer {
    let mut producer = Producer::connect(Context::new(party(1)), &consumer.endpoint, name);
    producer.outbound = producer.outbound.with_arena(arena);
    producer
}

fn first(received: &blockflow::tensormq::Received) -> &Tensor {
    let Body::Tensors(tensors) = &received.envelope.body else {
        panic!("{received:?}");
    };
    &tensors[0].1
}

#[test]
fn tensors_lie_in_the_pool_until_they_are_copied_out() {
    let pool = Pool::new(1 << 16);
    let (mut link, arena) = link(&pool, true, 4);
    let all = arena.pool_free_bytes();
    for round in 0..40 {
        let sent = far(1000 + round, round as u8);
        assert!(link.producer.outbound.shows(&sent));
        link.producer.send(tensors(round as u64, sent.clone()));
        let seen = link.arrive(1);
        assert_eq!(bytes_of(first(&seen[0])), bytes_of(&sent));
        link.release(&seen);
    }
    link.until("all of it is back", |link| {
        link.producer.outbound.leases() == 0 && arena.pool_free_bytes() == all
    });
    let moved = link.producer.outbound.moved();
    let bytes: u64 = (0..40).map(|round| 1000 + round).sum();
    assert_eq!(
        (moved.shown, moved.copied, moved.fallen_back),
        (bytes, 0, 0)
    );
    assert_eq!((moved.bytes, moved.lent), (0, 0));
    assert_eq!(link.consumer.inbound.moved().shown, bytes);
    assert_eq!(link.producer.outbound.refused_returns(), 0);
}

#[test]
fn a_tensor_that_goes_to_two_consumers_is_copied_into_the_pool_once() {
    let pool = Pool::new(1 << 16);
    pool.hold();
    let (mut link, arena) = link(&pool, true, 4);
    let mut other = consumer(&link.place, &pool, true, 4);
    let mut second = producer(&other, &arena, "second");
    link.until("the other is up", |_| {
        second.step();
        other.step();
        second.is_up()
    });
    let sent = far(5000, 1);
    link.producer.send(tensors(1, sent.clone()));
    second.send(tensors(1, sent.clone()));
    link.until("both have it", |link| {
        second.step();
        other.step();
        link.consumer.arrived.len() + other.arrived.len() == 2
    });
    assert_eq!(pool.writes.load(Ordering::SeqCst), 1);
    for seen in [&link.consumer.arrived[0], &other.arrived[0]] {
        assert_eq!(bytes_of(first(seen)), bytes_of(&sent));
    }
    pool.finish();
    link.until("it is back", |link| {
        second.step();
        other.step();
        link.producer.outbound.leases() + second.outbound.leases() == 0
    });
}

#[test]
fn a_full_pool_holds_up_the_producer_until_the_consumer_has_copied() {
    let pool = Pool::new(8192);
    pool.hold();
    let (mut link, _arena) = link(&pool, true, 8);
    for request in 0..5 {
        let sent = tensors(request, far(4096, request as u8));
        link.producer.send(sent);
    }
    let seen = link.settle();
    assert_eq!(requests(&seen), [0, 1]);
    assert_eq!(link.producer.outbound.backlog(), 3);
    link.release(&seen);
    assert!(link.settle().is_empty(), "credits alone make no room");
    pool.finish();
    let more = link.arrive(2);
    assert_eq!(requests(&more), [2, 3]);
    assert_eq!(bytes_of(first(&more[1])), bytes_of(&far(4096, 3)));
    link.release(&more);
    pool.finish();
    assert_eq!(requests(&link.arrive(1)), [4]);
    let moved = link.producer.outbound.moved();
    assert_eq!((moved.copied, moved.fallen_back), (0, 0));
}

#[test]
fn what_finds_no_room_for_good_goes_through_the_host_and_is_counted() {
    let pool = Pool::new(8192);
    pool.hold();
    let (mut link, arena) = link(&pool, true, 8);
    let large = far(8193, 1);
    assert!(!link.producer.outbound.shows(&large));
    link.producer.send(tensors(1, large.clone()));
    let seen = link.arrive(1);
    assert_eq!(first(&seen[0]).bytes(), bytes_of(&large));
    assert_eq!(link.producer.outbound.moved().fallen_back, 1);
    // Another consumer has all of the pool, and may keep it: this one does not wait for that.
    let mut other = consumer(&link.place, &pool, true, 4);
    let mut hog = producer(&other, &arena, "hog");
    link.until("the other is up", |_| {
        hog.step();
        other.step();
        hog.is_up()
    });
    hog.send(tensors(1, far(8192, 2)));
    link.until("it has all", |_| {
        hog.step();
        other.step();
        other.arrived.len() == 1
    });
    assert_eq!(arena.pool_free_bytes(), 0);
    link.producer.send(tensors(2, far(64, 3)));
    let seen = link.arrive(1);
    assert_eq!(first(&seen[0]).bytes(), bytes_of(&far(64, 3)));
    assert_eq!(link.producer.outbound.moved().fallen_back, 2);
}

#[test]
fn a_consumer_without_the_device_gets_what_lies_on_the_host() {
    let pool = Pool::new(8192);
    let (mut link, _arena) = link(&pool, false, 4);
    let sent = far(100, 1);
    assert!(!link.producer.outbound.shows(&sent));
    // Whoever asks brings it to the host; what waited for the consumer's answer is brought by the link.
    link.producer.send(tensors(1, sent.clone()));
    assert_eq!(first(&link.arrive(1)[0]).bytes(), bytes_of(&sent));
    let moved = link.producer.outbound.moved();
    assert_eq!((moved.shown, moved.fallen_back), (0, 1));
}

#[test]
fn what_a_consumer_that_is_gone_had_is_back_when_another_takes_its_place() {
    let pool = Pool::new(8192);
    pool.hold();
    let (mut link, arena) = link(&pool, true, 4);
    link.producer.send(tensors(1, far(8192, 1)));
    link.arrive(1);
    assert_eq!(arena.pool_free_bytes(), 0);
    let endpoint = link.consumer.endpoint.clone();
    // As a process that ends: what it had is never returned.
    let gone = pool.pending.lock().unwrap().take();
    std::mem::forget(gone);
    let context = Context::new(party(1));
    drop(std::mem::replace(
        &mut link.consumer,
        consumer(&Place::new(Carrier::Ipc), &pool, true, 4),
    ));
    link.consumer = Consumer::bind(context, &endpoint, 4);
    link.consumer.inbound = link
        .consumer
        .inbound
        .with_pools(Arc::new(Opener(pool.clone())));
    link.until("the other one has it", |link| {
        link.producer.outbound.leases() == 0 && link.producer.is_up()
    });
    assert_eq!(arena.pool_free_bytes(), 8192);
    let sent = far(8192, 2);
    link.producer.send(tensors(2, sent.clone()));
    assert_eq!(bytes_of(first(&link.arrive(1)[0])), bytes_of(&sent));
}

#[test]
fn a_pool_is_let_go_with_its_link_unless_a_tensor_is_out() {
    for out in [false, true] {
        let pool = Pool::new(8192);
        pool.hold();
        let (mut link, arena) = link(&pool, true, 4);
        for request in 1..=2 {
            link.producer.send(tensors(request, far(1024, 1)));
            let seen = link.arrive(1);
            link.release(&seen);
            if request == 1 || !out {
                pool.finish();
                link.until("it is back", |link| link.producer.outbound.leases() == 0);
            }
        }
        let Link {
            producer, consumer, ..
        } = link;
        drop(producer);
        // What the consumer has yet to copy is nobody else's, also while the arena has other links.
        let free = if out { 8192 - 1024 } else { 8192 };
        assert_eq!(arena.pool_free_bytes(), free);
        assert!(!pool.let_go.load(Ordering::SeqCst));
        drop(arena);
        assert_eq!(pool.let_go.load(Ordering::SeqCst), !out);
        pool.finish();
        drop(consumer);
        assert_eq!(pool.let_go.load(Ordering::SeqCst), !out);
    }
}

/// A producer of libzmq itself that is let in, with an arena in which it writes what it likes.
struct Liar {
    socket: zmq::Socket,
    sequence: u64,
    arena: Arena,
    /// What it says is in use.
    kept: Vec<Tensor>,
}

impl Liar {
    fn new(consumer: &mut Consumer, card: Option<PoolCard>) -> (Self, bool) {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        socket.connect(&consumer.endpoint.to_string()).unwrap();
        let arena = Arena::new(1 << 20, 0).unwrap();
        let announced: Announcement = arena.announcement();
        let hello = Hello {
            party: party(1),
            connection: 1,
            name: "liar".to_owned(),
            arena: Some(announced),
            pool: card,
        };
        socket.send(hello.encode(), 0).unwrap();
        let mut answer = None;
        crate::links_support::until("a welcome", || {
            consumer.step();
            answer = socket.recv_bytes(zmq::DONTWAIT).ok();
            answer.is_some()
        });
        let pool = Welcome::decode(&answer.unwrap()).unwrap().pool;
        let liar = Self {
            socket,
            sequence: 1,
            arena,
            kept: Vec::new(),
        };
        (liar, pool)
    }

    /// Writes a slot that says where something lies.
    fn slot(&mut self, words: [u64; 3]) -> SlotId {
        let mut buffer = self.arena.allocate(DType::U64, vec![3]).unwrap();
        buffer
            .as_mut_slice()
            .copy_from_slice(bytemuck::cast_slice(&words));
        let tensor = buffer.into_tensor();
        let slot = self.arena.range(&tensor).unwrap().slot;
        self.kept.push(tensor);
        slot
    }

    /// Says that a tensor lies somewhere; returns what comes of it.
    fn describe(
        &mut self,
        consumer: &mut Consumer,
        tensor: &Tensor,
        slot: SlotId,
        place: PoolPlace,
    ) -> Result<Tensor, LinkError> {
        let form = Form::Pool(PoolRange { slot, place });
        let envelope = tensors(self.sequence, tensor.clone());
        let header = encode(&envelope, self.sequence, form).unwrap();
        self.sequence += 1;
        self.socket.send(header, 0).unwrap();
        crate::links_support::until("an answer", || {
            consumer.step();
            consumer.arrived.len() + consumer.discarded.len() > 0
        });
        if let Some(Discarded { error, of }) = consumer.discarded.pop() {
            assert_eq!(of.unwrap().request.0, self.sequence - 1);
            return Err(error);
        }
        let received = consumer.arrived.pop().unwrap();
        consumer.inbound.release(received.peer).unwrap();
        Ok(first(&received).clone())
    }
}

#[test]
fn a_description_of_a_pool_that_is_not_true_is_refused_with_its_request() {
    const POOL: u64 = 8192;
    let pool = Pool::new(POOL as usize);
    let place = Place::new(Carrier::Ipc);
    let mut consumer = consumer(&place, &pool, true, 4);
    let (mut liar, mapped) = Liar::new(&mut consumer, Some(pool.card.clone()));
    assert!(mapped);
    let tensor = far(128, 1);
    let sound = PoolPlace {
        offset: 64,
        length: 128,
        event: 2,
    };
    let words = |place: PoolPlace| [place.offset, place.length, place.event.into()];
    let slot = liar.slot(words(sound));
    liar.describe(&mut consumer, &tensor, slot, sound).unwrap();
    // The message says another thing than the slot.
    for other in [
        PoolPlace { offset: 0, ..sound },
        PoolPlace {
            length: 127,
            ..sound
        },
        PoolPlace { event: 1, ..sound },
    ] {
        let error = liar.describe(&mut consumer, &tensor, slot, other);
        let error = error.unwrap_err();
        let expected = SlotError::OtherPlace;
        assert!(
            matches!(&error, LinkError::Slot { cause, .. } if *cause == expected),
            "{error}"
        );
    }
    // Both say what cannot be.
    type Refusal = fn(&SlotError) -> bool;
    let lies: [(PoolPlace, Refusal); 8] = [
        (
            PoolPlace {
                offset: 65,
                ..sound
            },
            |error| matches!(error, SlotError::OutOfPool { .. }),
        ),
        (
            PoolPlace {
                offset: POOL - 64,
                ..sound
            },
            |error| matches!(error, SlotError::OutOfPool { .. }),
        ),
        (
            PoolPlace {
                offset: u64::MAX - 63,
                ..sound
            },
            |error| matches!(error, SlotError::OutOfPool { .. }),
        ),
        (
            PoolPlace {
                length: u64::MAX,
                ..sound
            },
            |error| matches!(error, SlotError::OutOfPool { .. }),
        ),
        (
            PoolPlace {
                length: 127,
                ..sound
            },
            |error| matches!(error, SlotError::OtherLength { expected: 128, .. }),
        ),
        (
            PoolPlace {
                length: 129,
                ..sound
            },
            |error| matches!(error, SlotError::OtherLength { expected: 128, .. }),
        ),
        (
            PoolPlace {
                event: EVENTS as u16,
                ..sound
            },
            |error| matches!(error, SlotError::NoEvent { .. }),
        ),
        (
            PoolPlace {
                event: u16::MAX,
                ..sound
            },
            |error| matches!(error, SlotError::NoEvent { .. }),
        ),
    ];
    for (lie, expected) in lies {
        let slot = liar.slot(words(lie));
        let error = liar
            .describe(&mut consumer, &tensor, slot, lie)
            .unwrap_err();
        assert!(
            matches!(&error, LinkError::Slot { cause, .. } if expected(cause)),
            "{lie:?}: {error}"
        );
    }
    // A slot that is not, or not any more.
    for wrong in [
        SlotId {
            generation: slot.generation + 1000,
            ..slot
        },
        SlotId {
            offset: slot.offset + 1,
            ..slot
        },
        SlotId {
            offset: 1 << 20,
            ..slot
        },
    ] {
        let error = liar.describe(&mut consumer, &tensor, wrong, sound);
        let error = error.unwrap_err();
        assert!(matches!(error, LinkError::Slot { .. }), "{error}");
    }
    // What has no fixed size lies in no pool.
    let texts = Tensor::from_byte_strings(vec![1], &["a"]).unwrap();
    let error = liar.describe(&mut consumer, &texts, slot, sound);
    assert!(error.is_err());
    let back = liar.describe(&mut consumer, &tensor, slot, sound).unwrap();
    assert_eq!(bytes_of(&back), vec![0xdb; 128]);
}

#[test]
fn nothing_is_taken_out_of_a_pool_that_is_not_mapped() {
    let pool = Pool::new(8192);
    let sound = PoolPlace {
        offset: 0,
        length: 128,
        event: 0,
    };
    let unknown = PoolCard {
        memory: [9; 64],
        ..pool.card.clone()
    };
    for card in [None, Some(unknown)] {
        let place = Place::new(Carrier::Ipc);
        let mut consumer = consumer(&place, &pool, true, 4);
        let (mut liar, mapped) = Liar::new(&mut consumer, card);
        assert!(!mapped);
        let slot = liar.slot([0, 128, 0]);
        let error = liar.describe(&mut consumer, &far(128, 1), slot, sound);
        let error = error.unwrap_err();
        let expected = SlotError::NoPool;
        assert!(
            matches!(&error, LinkError::Slot { cause, .. } if *cause == expected),
            "{error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever a slot and a message say, what is taken lies within the pool, or nothing is.
    #[test]
    fn what_is_taken_lies_within_the_pool(
        said in prop::collection::vec(
            (
                prop_oneof![0_u64..9000, any::<u64>(), (0_u64..140).prop_map(|unit| unit * 64)],
                prop_oneof![Just(128_u64), 0_u64..9000, any::<u64>()],
                prop_oneof![0_u16..4, any::<u16>()],
            ),
            1..12,
        )
    ) {
        const POOL: u64 = 8192;
        let pool = Pool::new(POOL as usize);
        let place = Place::new(Carrier::Ipc);
        let mut consumer = consumer(&place, &pool, true, 4);
        let (mut liar, _) = Liar::new(&mut consumer, Some(pool.card.clone()));
        for (offset, length, event) in said {
            let place = PoolPlace { offset, length, event };
            let slot = liar.slot([offset, length, event.into()]);
            let taken = liar.describe(&mut consumer, &far(128, 1), slot, place);
            let sound = offset % 64 == 0
                && length == 128
                && offset.checked_add(128).is_some_and(|end| end <= POOL)
                && usize::from(event) < EVENTS;
            prop_assert_eq!(taken.is_ok(), sound, "{:?}", place);
        }
    }
}
