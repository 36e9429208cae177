//! Shared memory of peers that lie: what they announce is not mapped, what they describe is refused, what they return does
//! not count, and nobody writes into what is not theirs.

#![expect(unsafe_code, reason = "a memory file without seals has no safe maker")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use blockflow::tensormq::{
    ARENA_BYTES_MAX, Announcement, Arena, Body, Context, Discarded, Form, Grant, Hello, LEASES_MAX,
    LinkError, SlotError, SlotId, SlotRange, Welcome, encode,
};
use blockflow::types::{DType, Endpoint, Tensor};
use memmap2::MmapOptions;

use crate::links_support::{
    Carrier, Link, Place, Producer, party, requests, small, tensors, until,
};

const BYTES: usize = 4096;

/// A producer of libzmq itself that is let in.
struct Liar {
    socket: zmq::Socket,
    sequence: u64,
}

impl Liar {
    /// Returns whether its arena was mapped too.
    fn new(link: &mut Link, arena: Option<Announcement>) -> (Self, bool) {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        socket.connect(&link.consumer.endpoint.to_string()).unwrap();
        let hello = Hello {
            party: party(1),
            connection: 1,
            name: "liar".to_owned(),
            arena,
            pool: None,
        };
        socket.send(hello.encode(), 0).unwrap();
        let mut answer = None;
        link.until("a welcome", |_| {
            answer = socket.recv_bytes(zmq::DONTWAIT).ok();
            answer.is_some()
        });
        let welcome = Welcome::decode(&answer.unwrap()).unwrap();
        let liar = Self {
            socket,
            sequence: 1,
        };
        (liar, welcome.held.is_some())
    }

    /// Says that a tensor lies somewhere.
    fn describe(&mut self, request: u64, tensor: &Tensor, range: SlotRange) {
        let envelope = tensors(request, tensor.clone());
        let header = encode(&envelope, self.sequence, Form::Slot(range)).unwrap();
        self.sequence += 1;
        self.socket.send(header, 0).unwrap();
    }
}

fn slot(arena: &Arena, seed: u64) -> (Tensor, SlotRange) {
    let mut buffer = arena.allocate(DType::U8, vec![BYTES]).unwrap();
    fastrand::Rng::with_seed(seed).fill(buffer.as_mut_slice());
    let tensor = buffer.into_tensor();
    let range = arena.range(&tensor).unwrap();
    (tensor, range)
}

/// Returns why the message of that request was discarded; a sound producer goes on.
fn refused(link: &mut Link, request: u64) -> LinkError {
    link.until("a discarded message", |link| {
        !link.consumer.discarded.is_empty()
    });
    let Discarded { error, of } = link.consumer.discarded.remove(0);
    assert_eq!(of.unwrap().request.0, request);
    link.producer.send(tensors(7, small()));
    let seen = link.settle();
    assert_eq!(requests(&seen), [7]);
    link.release(&seen);
    error
}

#[test]
fn a_description_that_is_not_true_is_refused_with_its_request() {
    let arena = Arena::new(1 << 20, 0).unwrap();
    let other = Arena::new(1 << 20, 0).unwrap();
    let mut link = Link::new(Carrier::Ipc, 4);
    let (mut liar, mapped) = Liar::new(&mut link, Some(arena.announcement()));
    assert!(mapped);
    let (tensor, sound) = slot(&arena, 1);
    let (_foreign, elsewhere) = slot(&other, 2);
    let at = |offset: u64| SlotRange {
        slot: SlotId {
            offset,
            ..sound.slot
        },
        ..sound
    };
    let generation = |generation| SlotRange {
        slot: SlotId {
            generation,
            ..sound.slot
        },
        ..sound
    };
    let part = |start, length| SlotRange {
        start,
        length,
        ..sound
    };
    let SlotId { offset, .. } = sound.slot;
    let max = u64::MAX;
    type Refusal = fn(&SlotError) -> bool;
    let lies: Vec<(SlotRange, Refusal)> = vec![
        (at(offset + 1), |error| {
            matches!(error, SlotError::Misaligned { .. })
        }),
        (at(offset + 8), |error| {
            matches!(error, SlotError::Misaligned { .. })
        }),
        (at(0), |error| matches!(error, SlotError::OutOfRange { .. })),
        (at(4032), |error| {
            matches!(error, SlotError::OutOfRange { .. })
        }),
        (at(1 << 20), |error| {
            matches!(error, SlotError::OutOfRange { .. })
        }),
        (at(1 << 40), |error| {
            matches!(error, SlotError::OutOfRange { .. })
        }),
        (at(max - 63), |error| {
            matches!(error, SlotError::OutOfRange { .. })
        }),
        (at((1 << 20) - 64), |error| {
            matches!(error, SlotError::NoSlot { .. })
        }),
        (at(offset + 64), |error| {
            matches!(error, SlotError::NoSlot { .. })
        }),
        (generation(0), |error| {
            matches!(error, SlotError::Stale { .. })
        }),
        (generation(sound.slot.generation + 1), |error| {
            matches!(error, SlotError::Stale { .. })
        }),
        (elsewhere, |error| matches!(error, SlotError::Stale { .. })),
        (part(1, BYTES as u64), |error| {
            matches!(error, SlotError::TooLong { .. })
        }),
        (part(0, BYTES as u64 + 1), |error| {
            matches!(error, SlotError::TooLong { .. })
        }),
        (part(max, 1), |error| {
            matches!(error, SlotError::TooLong { .. })
        }),
        (part(1, max), |error| {
            matches!(error, SlotError::TooLong { .. })
        }),
        (part(max, max), |error| {
            matches!(error, SlotError::TooLong { .. })
        }),
    ];
    for (request, (lie, expected)) in (100..).zip(lies) {
        liar.describe(request, &tensor, lie);
        let error = refused(&mut link, request);
        assert!(
            matches!(&error, LinkError::Slot { index: 0, cause } if expected(cause)),
            "{lie:?}: {error}"
        );
    }
    // Too few bytes for the shape, though they are there.
    liar.describe(200, &tensor, part(0, 4095));
    let error = refused(&mut link, 200);
    assert!(
        matches!(error, LinkError::Payload { index: 0, .. }),
        "{error}"
    );
    assert_eq!(link.consumer.inbound.discarded(), 18);
    // The same peer may tell the truth.
    liar.describe(300, &tensor, sound);
    let received = link.arrive(1);
    let Body::Tensors(arrived) = &received[0].envelope.body else {
        panic!("no tensors")
    };
    assert!(arrived[0].1.bytes() == tensor.bytes());
}

#[test]
fn a_slot_without_an_arena_is_refused() {
    let arena = Arena::new(1 << 20, 0).unwrap();
    let (tensor, sound) = slot(&arena, 1);
    for (carrier, announced) in [
        (Carrier::Ipc, None),
        // A peer of another host names descriptors of its own.
        (Carrier::Tcp, Some(arena.announcement())),
    ] {
        let mut link = Link::new(carrier, 4);
        let (mut liar, mapped) = Liar::new(&mut link, announced);
        assert!(!mapped);
        liar.describe(5, &tensor, sound);
        let error = refused(&mut link, 5);
        assert!(
            matches!(
                error,
                LinkError::Slot {
                    index: 0,
                    cause: SlotError::NoArena
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn slots_are_lent_a_bounded_number_of_times() {
    let arena = Arena::new(1 << 20, 0).unwrap();
    let mut link = Link::new(Carrier::Ipc, 64);
    let (mut liar, _) = Liar::new(&mut link, Some(arena.announcement()));
    let (tensor, sound) = slot(&arena, 1);
    let mut held = Vec::new();
    for request in 0..LEASES_MAX as u64 {
        liar.describe(request, &tensor, sound);
        if request % 64 == 63 {
            let arrived = link.arrive(64);
            link.release(&arrived);
            held.extend(arrived);
        }
    }
    liar.describe(9999, &tensor, sound);
    let error = refused(&mut link, 9999);
    let LinkError::Slot { cause, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(cause, SlotError::TooMany);
    held.pop();
    link.consumer.step();
    liar.describe(10_000, &tensor, sound);
    assert_eq!(requests(&link.arrive(1)), [10_000]);
}

#[test]
fn a_producer_cannot_send_more_than_its_window() {
    let arena = Arena::new(1 << 20, 0).unwrap();
    let mut link = Link::new(Carrier::Ipc, 4);
    let (mut liar, _) = Liar::new(&mut link, Some(arena.announcement()));
    let (tensor, sound) = slot(&arena, 1);
    for request in 0..4 {
        liar.describe(request, &tensor, sound);
    }
    let arrived = link.arrive(4);
    liar.describe(4, &tensor, sound);
    let error = refused(&mut link, 4);
    assert!(matches!(error, LinkError::Overrun { window: 4 }), "{error}");
    link.release(&arrived);
    liar.describe(5, &tensor, sound);
    assert_eq!(requests(&link.arrive(1)), [5]);
}

/// Makes a memory file of a page.
fn memory_file(flags: u32) -> File {
    // SAFETY: the name is a string that ends with a zero byte and is only read.
    let descriptor = unsafe { libc::memfd_create(c"blockflow-arena".as_ptr(), flags) };
    assert!(descriptor >= 0);
    // SAFETY: the descriptor was just made, is open, and nobody else owns it.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    file.set_len(8192).unwrap();
    file
}

#[test]
fn what_is_no_sealed_arena_is_not_opened_nor_mapped() {
    let arena = Arena::new(8192, 0).unwrap();
    let sound = arena.announcement();
    // It says that it is the arena, byte for byte.
    let mut unsealed = memory_file(libc::MFD_ALLOW_SEALING);
    let words = [u64::from_le_bytes(*b"BFarena2"), sound.id, 8192];
    unsealed
        .write_all(&words.map(u64::to_le_bytes).concat())
        .unwrap();
    let on_disk = tempfile::tempfile().unwrap();
    on_disk.set_len(8192).unwrap();
    let (mut pipe, mut pipe_in) = std::io::pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    let descriptor = |file: &dyn AsRawFd| Announcement {
        descriptor: file.as_raw_fd().cast_unsigned(),
        ..sound
    };
    let bytes = |bytes| Announcement { bytes, ..sound };
    let lies = [
        descriptor(&unsealed),
        descriptor(&on_disk),
        descriptor(&pipe),
        descriptor(&pipe_in),
        descriptor(&null),
        Announcement {
            descriptor: u32::MAX,
            ..sound
        },
        Announcement {
            process: u32::MAX,
            ..sound
        },
        Announcement {
            process: 0,
            ..sound
        },
        Announcement {
            id: sound.id ^ 1,
            ..sound
        },
        bytes(0),
        bytes(4096),
        bytes(8191),
        bytes(8192 + 4096),
        bytes(ARENA_BYTES_MAX as u64),
        bytes(ARENA_BYTES_MAX as u64 + 4096),
        bytes(u64::MAX),
        bytes(u64::MAX - 4095),
    ];
    for lie in lies {
        let mut link = Link::new(Carrier::Ipc, 4);
        let (_, mapped) = Liar::new(&mut link, Some(lie));
        assert!(!mapped, "{lie:?}");
        // Otherwise it is a peer like any other, and so are the rest.
        link.producer.send(tensors(7, small()));
        assert_eq!(requests(&link.settle()), [7]);
    }
    pipe_in.write_all(b"x").unwrap();
    pipe.read_exact(&mut [0]).unwrap();
    let mut link = Link::new(Carrier::Ipc, 4);
    assert!(Liar::new(&mut link, Some(sound)).1);
}

/// Opens an arena as a consumer could, to write.
fn writable(arena: &Arena) -> Option<File> {
    let Announcement {
        process,
        descriptor,
        ..
    } = arena.announcement();
    let place = format!("/proc/{process}/fd/{descriptor}");
    File::options().read(true).write(true).open(place).ok()
}

#[test]
fn nobody_writes_to_an_arena_nor_resizes_it() {
    let arena = Arena::new(1 << 20, 0).unwrap();
    let (tensor, _) = slot(&arena, 3);
    let before = tensor.bytes().to_vec();
    // A file may be opened to write by whoever owns it; it takes nothing.
    let mut file = writable(&arena).expect("the file of this process");
    assert!(MmapOptions::new().map_raw(&file).is_err());
    assert!(MmapOptions::new().map_raw_read_only(&file).is_ok());
    assert!(file.write_all(&[0xff; 8192]).is_err());
    for length in [0, 4096, 2 << 20] {
        assert!(file.set_len(length).is_err());
    }
    assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    assert!(tensor.bytes() == before);
}

/// A consumer of libzmq itself, and a sound producer with an arena.
struct Trap {
    router: zmq::Socket,
    identity: Vec<u8>,
    connection: u32,
    producer: Producer,
    arena: Arena,
    _place: Place,
}

impl Trap {
    fn new() -> Self {
        let place = Place::new(Carrier::Ipc);
        let router = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        router.set_linger(0).unwrap();
        router.bind(&place.endpoint().to_string()).unwrap();
        let endpoint: String = router.get_last_endpoint().unwrap().unwrap();
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let arena = Arena::new(1 << 20, 0).unwrap();
        let mut producer = Producer::connect(Context::new(party(1)), &endpoint, "producer");
        producer.outbound = producer.outbound.with_arena(&arena);
        let mut first = None;
        until("a hello", || {
            producer.step();
            first = router.recv_multipart(zmq::DONTWAIT).ok();
            first.is_some()
        });
        let [identity, hello] = first.unwrap().try_into().unwrap();
        let hello = Hello::decode(&hello).unwrap();
        assert_eq!(hello.arena, Some(arena.announcement()));
        Self {
            router,
            identity,
            connection: hello.connection,
            producer,
            arena,
            _place: place,
        }
    }

    fn answer(&self, frame: &[u8]) {
        let frames = [&self.identity, frame];
        self.router.send_multipart(frames, 0).unwrap();
    }

    fn welcome(&mut self, held: Option<Vec<SlotId>>) {
        let welcome = Welcome {
            incarnation: 5,
            connection: self.connection,
            window: 8,
            credits: 8,
            held,
            pool: false,
        };
        self.answer(&welcome.encode());
        let producer = &mut self.producer;
        until("the link is up", || {
            producer.step();
            producer.is_up()
        });
    }

    fn give(&mut self, returned: &[SlotId]) {
        let grant = Grant {
            connection: self.connection,
            credits: 0,
            returned: returned.to_vec(),
        };
        self.answer(&grant.encode());
    }
}

#[test]
fn slots_that_were_not_lent_cannot_be_returned() {
    let mut trap = Trap::new();
    trap.welcome(Some(Vec::new()));
    let (mine, kept) = slot(&trap.arena, 1);
    let (sent, lent) = slot(&trap.arena, 2);
    trap.producer.send(tensors(1, sent.clone()));
    trap.producer.send(tensors(2, sent.clone()));
    drop(sent);
    assert_eq!(
        (trap.producer.outbound.leases(), trap.arena.slots()),
        (2, 2)
    );
    let SlotId { offset, generation } = lent.slot;
    let wrong = [
        kept.slot,
        SlotId {
            offset,
            generation: generation - 1,
        },
        SlotId {
            offset: offset + 64,
            generation,
        },
        SlotId {
            offset: u64::MAX,
            generation: u64::MAX,
        },
    ];
    trap.give(&wrong);
    let producer = &mut trap.producer;
    until("the returns are refused", || {
        producer.step();
        producer.outbound.refused_returns() == 4
    });
    assert_eq!(
        (trap.producer.outbound.leases(), trap.arena.slots()),
        (2, 2)
    );
    trap.give(&[lent.slot, lent.slot, lent.slot]);
    let producer = &mut trap.producer;
    until("the third is refused", || {
        producer.step();
        producer.outbound.refused_returns() == 5
    });
    assert_eq!(
        (trap.producer.outbound.leases(), trap.arena.slots()),
        (0, 1)
    );
    drop(mine);
    assert_eq!(trap.arena.slots(), 0);
}

#[test]
fn a_consumer_that_maps_nothing_is_sent_bytes() {
    let mut trap = Trap::new();
    trap.welcome(None);
    let (sent, _) = slot(&trap.arena, 2);
    trap.producer.send(tensors(1, sent.clone()));
    let (router, producer) = (&trap.router, &mut trap.producer);
    let mut message = None;
    until("an envelope", || {
        producer.step();
        message = router.recv_multipart(zmq::DONTWAIT).ok();
        message.is_some()
    });
    assert!(message.unwrap()[2] == sent.bytes());
    assert_eq!(trap.producer.outbound.leases(), 0);
}
