//! Peers between processes that are no peers: whatever they send is refused, and disturbs nobody else.

use std::sync::Arc;

use blockflow::tensormq::{
    Body, Form, Grant, Hello, LinkError, LinkState, Refusal, VERSION, Welcome, encode,
};
use blockflow::types::{DType, Endpoint, Order, TENSORS_MAX, Tensor};

use crate::links_support::{
    Carrier, Link, Place, Producer, conformance, envelope, party, requests, small, tensors, until,
};

conformance! {
    [ipc Ipc, arena Arena, tcp Tcp] [
        garbage_is_counted_and_disturbs_nobody,
        a_producer_of_another_version_is_told_so,
        a_handle_is_refused_where_it_may_come_from_elsewhere,
        a_damaged_payload_is_told_with_its_request_and_costs_no_credit,
        an_order_that_is_none_is_counted_and_disturbs_nobody,
        an_envelope_before_the_hello_is_discarded,
        a_lost_message_is_noticed,
        a_consumer_that_makes_no_sense_is_not_sent_anything,
        a_consumer_of_another_version_is_named,
        a_consumer_cannot_grant_more_than_its_window,
        answers_to_another_connection_do_not_count,
    ]
}

/// A socket of libzmq itself.
pub(crate) struct Raw {
    socket: zmq::Socket,
}

impl Raw {
    fn dealer(endpoint: &Endpoint) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        socket.connect(&endpoint.to_string()).unwrap();
        Self { socket }
    }

    /// Says hello as a sound producer does.
    pub(crate) fn greeted(link: &mut Link, name: &str) -> Self {
        let raw = Self::dealer(&link.consumer.endpoint);
        raw.send(&[&hello(name)]);
        let mut answer = None;
        link.until("a welcome", |_| {
            answer = raw.try_receive();
            answer.is_some()
        });
        Welcome::decode(&answer.unwrap()[0]).unwrap();
        raw
    }

    pub(crate) fn send(&self, frames: &[&[u8]]) {
        self.socket.send_multipart(frames, 0).unwrap();
    }

    fn try_receive(&self) -> Option<Vec<Vec<u8>>> {
        self.socket.recv_multipart(zmq::DONTWAIT).ok()
    }
}

/// A consumer of libzmq itself, and a sound producer that is connected to it.
struct Trap {
    router: zmq::Socket,
    identity: Vec<u8>,
    hello: Hello,
    producer: Producer,
    _place: Place,
}

impl Trap {
    fn new(carrier: Carrier) -> Self {
        let place = Place::new(carrier);
        let router = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        router.set_linger(0).unwrap();
        router.bind(&place.endpoint().to_string()).unwrap();
        let endpoint = router.get_last_endpoint().unwrap().unwrap();
        let context = blockflow::tensormq::Context::new(party(1));
        let mut producer = Producer::connect(context, &endpoint.parse().unwrap(), "producer");
        let mut first = None;
        until("a hello", || {
            producer.step();
            first = router.recv_multipart(zmq::DONTWAIT).ok();
            first.is_some()
        });
        let [identity, hello] = first.unwrap().try_into().unwrap();
        Self {
            router,
            identity,
            hello: Hello::decode(&hello).unwrap(),
            producer,
            _place: place,
        }
    }

    fn answer(&self, frame: &[u8]) {
        let frames = [&self.identity, frame];
        self.router.send_multipart(frames, 0).unwrap();
    }

    fn welcome(&self, window: u32) -> Welcome {
        Welcome {
            incarnation: 5,
            connection: self.hello.connection,
            window,
            credits: window,
            held: None,
            pool: false,
        }
    }

    /// Returns how many messages have come, with those that a barrier of the producer's own making pushes out.
    fn heard(&mut self) -> usize {
        let mut heard = 0;
        let state = blockflow::tensormq::BlockState {
            block: 0,
            instance: 0,
            condition: blockflow::tensormq::Condition::Serving,
            cause: "barrier".to_owned(),
        };
        self.producer.send(envelope(0, Body::State(state)));
        let (router, producer) = (&self.router, &mut self.producer);
        until("a barrier", || {
            producer.step();
            let Ok(frames) = router.recv_multipart(zmq::DONTWAIT) else {
                return false;
            };
            heard += 1;
            frames[1].ends_with(b"barrier")
        });
        heard - 1
    }
}

fn hello(name: &str) -> Vec<u8> {
    let name = name.to_owned();
    let party = party(1);
    let connection = 1;
    Hello {
        party,
        connection,
        name,
        arena: None,
        pool: None,
    }
    .encode()
}

pub(crate) fn header(request: u64, sequence: u64, tensor: &Tensor, form: Form) -> Vec<u8> {
    encode(&tensors(request, tensor.clone()), sequence, form).unwrap()
}

/// Waits until so many messages have been discarded, and checks that a sound producer is not disturbed.
fn discarded(link: &mut Link, count: usize) -> Vec<LinkError> {
    link.until(&format!("{count} discarded messages"), |link| {
        link.consumer.discarded.len() >= count
    });
    assert_eq!(
        link.consumer.inbound.discarded(),
        link.consumer.discarded.len() as u64
    );
    link.producer.send(tensors(77, small()));
    let seen = link.settle();
    assert_eq!(requests(&seen), [77]);
    link.release(&seen);
    let all = std::mem::take(&mut link.consumer.discarded);
    all.into_iter().map(|one| one.error).collect()
}

fn garbage_is_counted_and_disturbs_nobody(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    let raw = Raw::dealer(&link.consumer.endpoint);
    let mut random = fastrand::Rng::with_seed(17);
    let mut sent = 0;
    let mut send = |frames: &[&[u8]]| {
        raw.send(frames);
        sent += 1;
    };
    send(&[b""]);
    send(&[b"", b"", b""]);
    send(&[b"GET / HTTP/1.1\r\n\r\n"]);
    send(&[&[0xff; 100_000]]);
    let many = vec![&b"x"[..]; TENSORS_MAX + 2];
    send(&many);
    for length in 0..60 {
        let mut damaged = hello("x");
        damaged.truncate(length.min(damaged.len() - 1));
        send(&[&damaged]);
        let mut damaged = hello("raw");
        let at = random.usize(..8);
        damaged[at] ^= random.u8(1..);
        send(&[&damaged, b"more"]);
    }
    discarded(&mut link, sent);
}

fn a_producer_of_another_version_is_told_so(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    let raw = Raw::dealer(&link.consumer.endpoint);
    let mut other = hello("other");
    other[4] = 9;
    // What version 9 has to say, this one does not know.
    other.extend_from_slice(&[1, 2, 3]);
    raw.send(&[&other]);
    let errors = discarded(&mut link, 1);
    assert!(
        matches!(errors[0], LinkError::Version { seen: 9, expected } if expected == VERSION),
        "{errors:?}"
    );
    let mut answer = None;
    until("an answer", || {
        answer = raw.try_receive();
        answer.is_some()
    });
    let refusal = Refusal::decode(&answer.unwrap()[0]).unwrap();
    for part in ["version 9", &format!("speaks {VERSION}")] {
        assert!(refusal.reason.contains(part), "{}", refusal.reason);
    }
}

fn a_handle_is_refused_where_it_may_come_from_elsewhere(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    let raw = Raw::greeted(&mut link, "raw");
    let tensor = Tensor::copy_of(DType::U8, vec![48], &[1; 48]).unwrap();
    // It begins as a handle of this very process does.
    let mut frame = 0x6b63_6f6c_6277_6f66_u64.to_le_bytes().to_vec();
    frame.resize(48, 0x41);
    raw.send(&[&header(5, 1, &tensor, Form::Handle), &frame]);
    let errors = discarded(&mut link, 1);
    assert!(
        matches!(
            errors[0],
            LinkError::Form {
                index: 0,
                announced: Form::Handle,
                seen: Form::Bytes
            }
        ),
        "{errors:?}"
    );
    // The same bytes as bytes are bytes.
    raw.send(&[&header(6, 2, &tensor, Form::Bytes), &frame]);
    let received = link.arrive(1).remove(0);
    let Body::Tensors(tensors) = &received.envelope.body else {
        panic!("no tensors")
    };
    assert_eq!(tensors[0].1.bytes(), frame);
}

fn a_damaged_payload_is_told_with_its_request_and_costs_no_credit(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let raw = Raw::greeted(&mut link, "raw");
    let numbers = Tensor::copy_of(DType::F32, vec![2], &[0; 8]).unwrap();
    let texts = Tensor::from_byte_strings(vec![2], &["a", "b"]).unwrap();
    let mut huge = header(0, 0, &numbers, Form::Bytes);
    huge[48..56].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    let sound = |tensor| header(0, 0, tensor, Form::Bytes);
    let cases: [(Vec<u8>, Vec<&[u8]>); 6] = [
        (sound(&numbers), vec![]),
        (sound(&numbers), vec![&[0; 7]]),
        (sound(&numbers), vec![&[0; 8], &[0; 8]]),
        (sound(&texts), vec![&[1, 0, 0, 0]]),
        (sound(&texts), vec![&[0xff; 10]]),
        (huge, vec![&[0; 8]]),
    ];
    let mut granted = 0;
    for (index, (mut header, payloads)) in cases.into_iter().enumerate() {
        let (request, sequence) = (40 + index as u64, 1 + index as u64);
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..24].copy_from_slice(&request.to_le_bytes());
        let frames: Vec<&[u8]> = std::iter::once(&header[..]).chain(payloads).collect();
        raw.send(&frames);
        link.until("a discarded message", |link| {
            link.consumer.discarded.len() == 1
        });
        let discarded = link.consumer.discarded.remove(0);
        assert_eq!(discarded.of.unwrap().request.0, request, "{discarded}");
        until("a credit", || {
            let Some(frames) = raw.try_receive() else {
                return false;
            };
            granted += Grant::decode(&frames[0]).unwrap().credits;
            true
        });
    }
    assert_eq!(granted, 6);
    raw.send(&[&header(90, 7, &numbers, Form::Bytes), &[0; 8]]);
    let received = link.arrive(1).remove(0);
    assert_eq!(
        (received.envelope.address.request.0, received.lost),
        (90, 0)
    );
}

fn an_order_that_is_none_is_counted_and_disturbs_nobody(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    let raw = Raw::greeted(&mut link, "raw");
    let order = Order::new([1, 2, 0]).unwrap();
    let memory = Arc::new(vec![1; 24]);
    let tensor = Tensor::in_order(DType::U8, vec![2, 3, 4], order, memory).unwrap();
    let sound = header(0, 0, &tensor, Form::Bytes);
    for order in [[0, 1, 2], [1, 1, 0], [3, 2, 0]] {
        let mut damaged = sound.clone();
        damaged[72..].copy_from_slice(&order);
        raw.send(&[&damaged, &[1; 24]]);
    }
    // One dimension fewer in the order than there are.
    raw.send(&[&sound[..74], &[1; 24]]);
    let errors = discarded(&mut link, 4);
    for error in &errors[..3] {
        assert!(matches!(error, LinkError::Order { .. }), "{error}");
    }
    assert!(
        matches!(errors[3], LinkError::HeaderLength { .. }),
        "{errors:?}"
    );
    raw.send(&[&header(6, 1, &tensor, Form::Bytes), &[1; 24]]);
    assert_eq!(requests(&link.arrive(1)), [6]);
}

fn an_envelope_before_the_hello_is_discarded(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let raw = Raw::dealer(&link.consumer.endpoint);
    raw.send(&[&header(5, 0, &small(), Form::Bytes), &[1]]);
    let errors = discarded(&mut link, 1);
    assert!(matches!(errors[0], LinkError::NotGreeted), "{errors:?}");
    assert!(raw.try_receive().is_none());
}

fn a_lost_message_is_noticed(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    let raw = Raw::greeted(&mut link, "raw");
    for sequence in [1, 4, 5] {
        raw.send(&[&header(sequence, sequence, &small(), Form::Bytes), &[1]]);
    }
    let lost: Vec<_> = link
        .arrive(3)
        .iter()
        .map(|received| received.lost)
        .collect();
    assert_eq!(lost, [0, 2, 0]);
}

fn a_consumer_that_makes_no_sense_is_not_sent_anything(carrier: Carrier) {
    for answer in [&b"hello"[..], b"", &[0xff; 64], &hello("not a producer")] {
        let mut trap = Trap::new(carrier);
        trap.producer.send(tensors(1, small()));
        trap.answer(answer);
        let producer = &mut trap.producer;
        until("the producer turns away", || {
            producer.step();
            producer.refusal().is_some()
        });
        let reason = producer.refusal().unwrap();
        assert!(reason.contains("makes no sense"), "{reason}");
        assert_eq!(producer.outbound.backlog(), 1);
        assert!(trap.router.recv_multipart(zmq::DONTWAIT).is_err());
    }
}

fn a_consumer_of_another_version_is_named(carrier: Carrier) {
    let mut trap = Trap::new(carrier);
    let mut welcome = trap.welcome(4).encode();
    welcome[4] = VERSION + 1;
    trap.answer(&welcome);
    let producer = &mut trap.producer;
    until("the producer turns away", || {
        producer.step();
        producer.refusal().is_some()
    });
    let reason = producer.refusal().unwrap();
    let version = format!("version {}", VERSION + 1);
    assert!(reason.contains(&version), "{reason}");
}

fn a_consumer_cannot_grant_more_than_its_window(carrier: Carrier) {
    let mut trap = Trap::new(carrier);
    let connection = trap.hello.connection;
    trap.answer(&trap.welcome(3).encode());
    for _ in 0..3 {
        let credits = u32::MAX;
        trap.answer(
            &Grant {
                connection,
                credits,
                returned: Vec::new(),
            }
            .encode(),
        );
    }
    trap.heard();
    assert_eq!(trap.producer.outbound.credits(), 3);
    for request in 0..10 {
        trap.producer.send(tensors(request, small()));
    }
    assert_eq!(trap.heard(), 3);
}

fn answers_to_another_connection_do_not_count(carrier: Carrier) {
    let mut trap = Trap::new(carrier);
    trap.producer.send(tensors(1, small()));
    let connection = trap.hello.connection + 1;
    let mut stale = trap.welcome(3);
    stale.connection = connection;
    trap.answer(&stale.encode());
    let credits = 2;
    trap.answer(
        &Grant {
            connection,
            credits,
            returned: Vec::new(),
        }
        .encode(),
    );
    // A grant before the welcome counts neither.
    trap.answer(
        &Grant {
            connection: trap.hello.connection,
            credits,
            returned: Vec::new(),
        }
        .encode(),
    );
    let reason = "stale".to_owned();
    trap.answer(&Refusal { connection, reason }.encode());
    let mut welcome = trap.welcome(3);
    welcome.credits = 0;
    trap.answer(&welcome.encode());
    assert_eq!(trap.heard(), 0);
    assert_eq!(
        *trap.producer.outbound.link_state(),
        LinkState::Up { incarnation: 5 }
    );
    assert_eq!(trap.producer.outbound.backlog(), 1);
}
