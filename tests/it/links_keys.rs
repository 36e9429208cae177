//! Links that are encrypted: who is let in, who is not, and what becomes of links whose keys are replaced.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use blockflow::tensormq::{
    Context, HostKeys, KeyPair, Keyring, LinkError, LinkState, LostPeer, Outbound, Window,
};
use blockflow::types::{Endpoint, PublicKey};

use crate::links_support::{Consumer, Producer, party, requests, small, tensors, until};
use crate::support::Finally;

/// Two hosts: the consumer's is at 127.0.0.1 and ::1, the producer's elsewhere.
fn keyring(own: &KeyPair, consumer: &[PublicKey], producer: &[PublicKey]) -> Keyring {
    let host = |host: &str, address: &str, keys: &[PublicKey]| HostKeys {
        host: host.to_owned(),
        address: address.parse().unwrap(),
        ports: 0..65_536,
        keys: keys.to_vec(),
    };
    Keyring {
        own: own.clone(),
        hosts: vec![
            host("consumer", "127.0.0.1", consumer),
            host("six", "::1", consumer),
            host("producer", "127.0.0.9", producer),
        ],
    }
}

fn pair() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn secured(keyring: Keyring) -> Context {
    Context::secured(party(1), keyring).unwrap()
}

fn any_port(host: &str) -> Endpoint {
    Endpoint::Tcp {
        host: host.to_owned(),
        port: 0,
    }
}

/// A link between two hosts that know each other.
struct Secured {
    ours: KeyPair,
    theirs: KeyPair,
    producer: Producer,
    consumer: Consumer,
}

impl Secured {
    fn new(host: &str) -> Self {
        let (ours, theirs) = (pair(), pair());
        let [consumer, producer] =
            [&ours, &theirs].map(|own| secured(keyring(own, &[ours.public()], &[theirs.public()])));
        let consumer = Consumer::bind(consumer, &any_port(host), 8);
        let producer = Producer::connect(producer, &consumer.endpoint, "producer");
        Self {
            ours,
            theirs,
            producer,
            consumer,
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        until(what, || {
            self.producer.step();
            self.consumer.step();
            done(self)
        });
    }

    /// Sends some and waits for them.
    fn prove(&mut self, first: u64) {
        for request in first..first + 4 {
            self.producer.send(tensors(request, small()));
        }
        self.until("envelopes", |link| link.consumer.arrived.len() == 4);
        let arrived = std::mem::take(&mut self.consumer.arrived);
        assert_eq!(requests(&arrived), [first, first + 1, first + 2, first + 3]);
        for received in &arrived {
            self.consumer.inbound.release(received.peer).unwrap();
        }
    }
}

#[test]
fn hosts_that_know_each_other_exchange_tensors() {
    for host in ["127.0.0.1", "[::1]"] {
        let mut link = Secured::new(host);
        link.prove(0);
        link.prove(4);
        assert!(link.consumer.discarded.is_empty());
    }
}

#[test]
fn without_keys_nothing_leaves_the_machine() {
    let plain = Context::new(party(1));
    for host in ["10.1.2.3", "[fd00::1]", "0.0.0.0", "*", "example.org"] {
        let endpoint = any_port(host);
        let bound =
            blockflow::tensormq::Inbound::bind(&plain, std::slice::from_ref(&endpoint), Window(1));
        assert!(
            matches!(bound, Err(LinkError::NoKeys { .. })),
            "{host}: {bound:?}"
        );
        let connected = Outbound::connect(&plain, &endpoint, "p");
        assert!(
            matches!(connected, Err(LinkError::NoKeys { .. })),
            "{host}: {connected:?}"
        );
    }
    // With keys there is no way to an address that is no host's.
    let own = pair();
    let context = secured(keyring(&own, &[own.public()], &[]));
    let connected = Outbound::connect(&context, &any_port("10.1.2.3"), "p");
    assert!(matches!(connected, Err(LinkError::UnknownHost { .. })));
}

#[test]
fn a_stranger_is_refused_and_disturbs_nobody() {
    let mut link = Secured::new("127.0.0.1");
    link.prove(0);
    let stranger = pair();
    let strangers = [
        // Knows the consumer's public key, but nobody knows it.
        secured(keyring(
            &stranger,
            &[link.ours.public()],
            &[stranger.public()],
        )),
        // Speaks in the clear.
        Context::new(party(1)),
        // Takes the consumer for another.
        secured(keyring(&link.theirs, &[stranger.public()], &[])),
    ];
    let mut strangers = strangers.map(|context| {
        let mut producer = Producer::connect(context, &link.consumer.endpoint, "stranger");
        producer.send(tensors(99, small()));
        producer
    });
    until("the refusal is told", || {
        strangers.iter_mut().for_each(Producer::step);
        link.consumer.step();
        strangers[0].refusal().is_some()
    });
    let reason = strangers[0].refusal().unwrap();
    assert!(reason.contains("does not know the key"), "{reason}");
    for round in 1..5 {
        link.prove(4 * round);
        strangers.iter_mut().for_each(Producer::step);
    }
    assert!(!strangers.iter().any(Producer::is_up));
    assert!(link.consumer.discarded.is_empty());
    assert!(
        blockflow::telemetry::metrics::links().strangers.get() > 0,
        "strangers are counted"
    );
}

#[test]
fn a_refused_host_is_let_in_once_its_key_is_allowed() {
    let mut link = Secured::new("127.0.0.1");
    let newcomer = pair();
    let ring = keyring(&newcomer, &[link.ours.public()], &[newcomer.public()]);
    link.producer = Producer::connect(secured(ring), &link.consumer.endpoint, "newcomer");
    link.producer.send(tensors(7, small()));
    link.until("the refusal", |link| link.producer.refusal().is_some());
    let both = [link.theirs.public(), newcomer.public()];
    let ring = keyring(&link.ours, &[link.ours.public()], &both);
    link.consumer.context.rekey(ring);
    link.until("the newcomer", |link| !link.consumer.arrived.is_empty());
    assert_eq!(requests(&link.consumer.arrived), [7]);
}

#[test]
fn a_key_that_is_struck_off_ends_the_link_that_is_up() {
    let mut link = Secured::new("127.0.0.1");
    link.prove(0);
    let ours = [link.ours.public()];
    link.consumer
        .context
        .rekey(keyring(&link.ours, &ours, &[pair().public()]));
    link.until("the refusal", |link| link.producer.refusal().is_some());
    // Also what it sends as if it had not heard that, or in a greeting of its own.
    link.producer.send(tensors(9, small()));
    let endpoint = link.consumer.endpoint.clone();
    let ring = keyring(&link.theirs, &ours, &[link.theirs.public()]);
    let mut again = Producer::connect(secured(ring), &endpoint, "producer");
    link.until("the second refusal", |_| {
        again.step();
        again.refusal().is_some()
    });
    assert!(link.consumer.arrived.is_empty());
}

#[test]
fn both_ends_replace_their_keys_one_after_the_other_and_lose_nothing() {
    let mut link = Secured::new("127.0.0.1");
    link.prove(0);
    let (ours, theirs) = (pair(), pair());
    let [old_ours, new_ours] = [link.ours.public(), ours.public()];
    let [old_theirs, new_theirs] = [link.theirs.public(), theirs.public()];
    let both = ([old_ours, new_ours], [old_theirs, new_theirs]);

    // Both accept both.
    let ring = |own: &KeyPair| keyring(own, &both.0, &both.1);
    link.consumer.context.rekey(ring(&link.ours));
    link.producer.context.rekey(ring(&link.theirs));
    link.prove(10);
    assert!(link.producer.lost.is_empty(), "nothing had to be made anew");

    // The consumer takes its new key: who is connected has to come again, and finds it with the new one.
    link.consumer.context.rekey(ring(&ours));
    link.until("the end of the old connection", |link| {
        !link.producer.lost.is_empty()
    });
    // All that was sent has arrived; the last credit may not have come back.
    let is_old = |lost: &LostPeer, first: u64| lost.at_risk.iter().all(|id| id.0 < first);
    assert!(is_old(&link.producer.lost.remove(0), 20));
    link.prove(20);
    let mut second = Producer::connect(
        secured(ring(&link.theirs)),
        &link.consumer.endpoint,
        "second",
    );
    link.until("one that comes now", |_| {
        second.step();
        second.is_up()
    });

    // The producer takes its new key: its link is made anew.
    link.producer.context.rekey(ring(&theirs));
    link.producer.step();
    link.prove(30);
    assert_eq!(link.producer.lost.len(), 1);
    assert!(is_old(&link.producer.lost[0], 30));

    // The old keys are struck off on both sides.
    link.consumer
        .context
        .rekey(keyring(&ours, &[new_ours], &[new_theirs]));
    link.producer
        .context
        .rekey(keyring(&theirs, &[new_ours], &[new_theirs]));
    link.prove(40);
    link.until("the one with the old key is refused", |_| {
        second.step();
        second.refusal().is_some()
    });
    assert!(matches!(
        link.producer.outbound.link_state(),
        LinkState::Up { .. }
    ));
}

#[test]
fn a_port_that_is_taken_while_keys_change_is_waited_for() {
    let mut link = Secured::new("127.0.0.1");
    link.prove(0);
    let Endpoint::Tcp { port, .. } = link.consumer.endpoint else {
        panic!("not a tcp endpoint");
    };
    // Takes the port in the moment in which nobody listens there, which takes a few rounds.
    let (stolen, let_go) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let _guard = Finally(&let_go);
        scope.spawn(|| {
            let tries = std::iter::repeat_with(|| TcpListener::bind(("127.0.0.1", port)));
            let mut tries = tries.take_while(|_| !let_go.load(Ordering::Acquire));
            let thief = tries.find_map(Result::ok);
            stolen.store(true, Ordering::Release);
            while !let_go.load(Ordering::Acquire) {
                thread::yield_now();
            }
            drop(thief);
        });
        link.until("somebody takes the port", |link| {
            let ours = pair();
            let keys = [link.ours.public(), ours.public()];
            let theirs = [link.theirs.public()];
            link.consumer.context.rekey(keyring(&ours, &keys, &theirs));
            link.producer
                .context
                .rekey(keyring(&link.theirs, &keys, &theirs));
            stolen.load(Ordering::Acquire)
        });
        for _ in 0..100 {
            link.consumer.step();
            link.producer.step();
        }
    });
    link.until("the link is up again", |link| {
        matches!(link.producer.outbound.link_state(), LinkState::Up { .. })
    });
    link.prove(10);
}

#[test]
fn secrets_are_not_shown() {
    let pair = pair();
    let secret = pair.secret_text();
    let ring = keyring(&pair, &[pair.public()], &[]);
    let context = secured(ring.clone());
    for shown in [
        format!("{pair:?}"),
        format!("{ring:?}"),
        format!("{context:?}"),
    ] {
        assert!(!shown.contains(&secret), "{shown}");
    }
    assert_eq!(KeyPair::of_secret(&secret), Some(pair));
    assert_eq!(KeyPair::of_secret("no key"), None);
}
