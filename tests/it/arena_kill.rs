//! Processes that are killed while they share memory: nothing stays, and the other side goes on.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use blockflow::tensormq::{ARENA_BYTES, Arena, Body, Context, Received};
use blockflow::types::{DType, Endpoint, Tensor};

use crate::links_support::{Carrier, Consumer, Link, Place, Producer, party, tensors, until};

const ROLE: &str = "BLOCKFLOW_TEST_ARENA_ROLE";
const PLACE: &str = "BLOCKFLOW_TEST_ARENA_PLACE";
const BYTES: usize = 300_000;
/// No other mapping of this process is so long.
const ODD_BYTES: usize = (77 << 20) + 3 * 4096;
const WINDOW: u32 = 4;

/// This very program, run to be one end of a link until it is killed, or until its input ends.
struct Peer(Child);

impl Peer {
    fn start(role: &str, endpoint: &Endpoint) -> Self {
        let Endpoint::Ipc(place) = endpoint else {
            panic!("not ipc")
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["arena_kill::peer", "--exact", "--nocapture"])
            .env(ROLE, role)
            .env(PLACE, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits until it says something.
    fn wait_for(&mut self, word: &str) {
        let output = BufReader::new(self.0.stdout.as_mut().unwrap());
        let said = output.lines().map(Result::unwrap);
        assert!(said.into_iter().any(|line| line.contains(word)), "it ended");
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn content(request: u64) -> Tensor {
    let mut bytes = vec![0; BYTES];
    fastrand::Rng::with_seed(request).fill(&mut bytes);
    Tensor::copy_of(DType::U8, vec![BYTES], &bytes).unwrap()
}

fn is_whole(received: &Received) -> bool {
    let Body::Tensors(tensors) = &received.envelope.body else {
        panic!("no tensors")
    };
    tensors[0].1.bytes() == content(received.envelope.address.request.0).bytes()
}

/// Not a test: what a child does. It is a test so that the program can be told to run it alone.
#[test]
fn peer() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    // Whoever started it is gone when its input ends.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let endpoint = Endpoint::Ipc(std::env::var_os(PLACE).unwrap().into());
    let context = Context::new(party(1));
    let say = |word: &str| {
        let mut output = std::io::stdout();
        writeln!(output, "{word}").unwrap();
        output.flush().unwrap();
    };
    if role == "producer" {
        let arena = Arena::new(ODD_BYTES, 0).unwrap();
        let mut producer = Producer::connect(context, &endpoint, "producer");
        producer.outbound = producer.outbound.with_arena(&arena);
        for request in 0.. {
            producer.send(tensors(request, content(request)));
            while producer.outbound.backlog() > 2 {
                producer.step();
                std::thread::yield_now();
            }
        }
        return;
    }
    let mut consumer = Consumer::bind(context, &endpoint, WINDOW);
    let mut held: Vec<Received> = Vec::new();
    let mut said = false;
    loop {
        consumer.step();
        held.append(&mut consumer.arrived);
        assert!(consumer.discarded.is_empty(), "{:?}", consumer.discarded);
        if !said && held.len() == WINDOW as usize {
            say("full");
            said = true;
        }
        if role == "reader" {
            for received in held.drain(..) {
                assert!(is_whole(&received));
                consumer.inbound.release(received.peer).unwrap();
            }
        }
        std::thread::yield_now();
    }
}

/// Returns how many mappings have the length of the children's arena.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let length = |line: &&str| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split_once(' ').unwrap().0;
        let at = |text| usize::from_str_radix(text, 16).unwrap();
        at(end) - at(start) == ODD_BYTES
    };
    maps.lines().filter(length).count()
}

fn files() -> Vec<String> {
    let names = fs::read_dir("/dev/shm").into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("blockflow")).collect()
}

#[test]
fn a_producer_that_is_killed_leaves_nothing_but_what_is_read() {
    let place = Place::new(Carrier::Ipc);
    let mut consumer = Consumer::bind(Context::new(party(1)), &place.endpoint(), WINDOW);
    for round in 0..2 {
        let peer = Peer::start("producer", &consumer.endpoint);
        let mut held = Vec::new();
        until("a full window", || {
            consumer.step();
            held.append(&mut consumer.arrived);
            held.len() == WINDOW as usize
        });
        assert!(consumer.inbound.moved().lent >= (held.len() * BYTES) as u64);
        assert_eq!(mappings(), 1, "round {round}");
        peer.kill();
        consumer.step();
        assert!(held.iter().all(is_whole));
        for received in &held {
            consumer.inbound.release(received.peer).unwrap();
        }
        drop(held);
        consumer.step();
        assert!(consumer.discarded.is_empty(), "{:?}", consumer.discarded);
    }
    // One of the last is kept for a producer that might come again.
    assert_eq!(mappings(), 1);
    drop(consumer);
    assert_eq!(mappings(), 0);
    assert_eq!(files(), [""; 0]);
}

#[test]
fn a_consumer_that_is_killed_has_its_slots_taken_back() {
    let place = Place::new(Carrier::Ipc);
    let endpoint = place.endpoint();
    let arena = Arena::new(ARENA_BYTES, 0).unwrap();
    let mut producer = Producer::connect(Context::new(party(1)), &endpoint, "producer");
    producer.outbound = producer.outbound.with_arena(&arena);
    let mut peer = Peer::start("holder", &endpoint);
    for request in 0..WINDOW.into() {
        producer.send(tensors(request, content(request)));
    }
    until("all are lent", || {
        producer.step();
        producer.outbound.leases() == WINDOW as usize
    });
    peer.wait_for("full");
    assert_eq!(arena.slots(), WINDOW as usize);
    peer.kill();
    until("the loss is noticed", || {
        producer.step();
        !producer.lost.is_empty()
    });
    let mut next = Peer::start("holder", &endpoint);
    until("the next is there", || {
        producer.step();
        producer.is_up()
    });
    assert_eq!((producer.outbound.leases(), arena.slots()), (0, 0));
    for request in 10..10 + u64::from(WINDOW) {
        producer.send(tensors(request, content(request)));
    }
    next.wait_for("full");
    assert_eq!(producer.outbound.refused_returns(), 0);
    next.kill();
    assert_eq!(files(), [""; 0]);
}

#[test]
fn wherever_a_reader_is_killed_no_slot_stays_lent() {
    let place = Place::new(Carrier::Ipc);
    let endpoint = place.endpoint();
    let arena = Arena::new(64 << 20, 0).unwrap();
    let mut producer = Producer::connect(Context::new(party(1)), &endpoint, "producer");
    producer.outbound = producer.outbound.with_arena(&arena);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut request = 0;
    for _ in 0..3 {
        let peer = Peer::start("reader", &endpoint);
        let last = request + random.u64(1..60);
        until("some are read", || {
            while producer.outbound.backlog() < 3 && request < last {
                producer.send(tensors(request, content(request)));
                request += 1;
            }
            producer.step();
            request == last && producer.outbound.backlog() < 3
        });
        peer.kill();
        until("the loss is noticed", || {
            producer.step();
            !producer.is_up()
        });
    }
    let consumer = Consumer::bind(Context::new(party(1)), &endpoint, WINDOW);
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    link.until("all is back", |link| link.producer.is_up());
    link.until("what waits has arrived", |link| {
        link.producer.outbound.backlog() == 0
    });
    let rest = link.settle();
    assert!(rest.iter().all(is_whole));
    drop(rest);
    link.until("slots are back", |_| arena.slots() == 0);
}
