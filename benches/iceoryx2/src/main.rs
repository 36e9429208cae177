//! Rounds through iceoryx2 with events, to compare with: a payload one way, an event back, between two nodes of one
//! process, each on a thread of its own.
//!
//! `iceoryx2 copied|loaned BYTES` reads numbers of rounds from its standard input, one a line, and answers each with the
//! nanoseconds that they took together. `copied`: the payload is copied into every sample; `loaned`: the sample is sent as
//! it is. The consumer reads in place and gives the sample back before it answers.

use std::error::Error;
use std::io::{BufRead as _, stdin};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

type Failure = Box<dyn Error>;

const WARMING: usize = 8;

struct Services {
    /// Keeps what it made alive.
    _node: Node<ipc::Service>,
    payloads: publish_subscribe::PortFactory<ipc::Service, [u8], ()>,
    sent: event::PortFactory<ipc::Service>,
    answered: event::PortFactory<ipc::Service>,
}

impl Services {
    fn open(name: &str) -> Result<Self, Failure> {
        let node = NodeBuilder::new().create::<ipc::Service>()?;
        let service = |part: &str| -> Result<_, Failure> {
            let name = ServiceName::new(&format!("blockflow-bench/{name}/{part}"))?;
            Ok(node.service_builder(&name))
        };
        let payloads = service("payloads")?
            .publish_subscribe::<[u8]>()
            .open_or_create()?;
        let sent = service("sent")?.event().open_or_create()?;
        let answered = service("answered")?.event().open_or_create()?;
        Ok(Self {
            _node: node,
            payloads,
            sent,
            answered,
        })
    }
}

fn wait(listener: &Listener<ipc::Service>) -> Result<(), Failure> {
    let mut woken = false;
    while !woken {
        listener.blocking_wait(|_| woken = true)?;
    }
    Ok(())
}

fn consume(name: &str, ready: &Sender<()>) -> Result<(), Failure> {
    let services = Services::open(name)?;
    let subscriber = services.payloads.subscriber_builder().create()?;
    let sent = services.sent.listener_builder().create()?;
    let answered = services.answered.notifier_builder().create()?;
    ready.send(())?;
    loop {
        wait(&sent)?;
        while let Some(sample) = subscriber.receive()? {
            if sample.is_empty() {
                return Ok(());
            }
            drop(sample);
            answered.notify()?;
        }
    }
}

fn round(
    publisher: &Publisher<ipc::Service, [u8], ()>,
    sent: &Notifier<ipc::Service>,
    answered: &Listener<ipc::Service>,
    payload: Option<&[u8]>,
    bytes: usize,
) -> Result<(), Failure> {
    let sample = publisher.loan_slice_uninit(bytes)?;
    let sample = match payload {
        Some(payload) => sample.write_from_slice(payload),
        // SAFETY: the memory of a sample is zeroed when it is made, and any byte is a `u8`.
        None => unsafe { sample.assume_init() },
    };
    sample.send()?;
    sent.notify()?;
    wait(answered)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mode, bytes] = arguments.as_slice() else {
        return Err("expected: copied|loaned BYTES".into());
    };
    let bytes: usize = bytes.parse()?;
    let content = vec![1_u8; bytes];
    let payload = (mode == "copied").then_some(content.as_slice());
    let name = format!("{}", std::process::id());
    let near = Services::open(&name)?;
    let publisher = near
        .payloads
        .publisher_builder()
        .initial_max_slice_len(bytes)
        .create()?;
    let sent = near.sent.notifier_builder().create()?;
    let answered = near.answered.listener_builder().create()?;
    let (ready, opened) = channel();
    let far = thread::spawn(move || {
        // What fails there ends this side too: nobody says that it is ready.
        consume(&name, &ready).expect("a sound consumer");
    });
    opened.recv()?;
    let once = || round(&publisher, &sent, &answered, payload, bytes);
    // The memory of both sides has been touched.
    for _ in 0..WARMING {
        once()?;
    }
    for line in stdin().lock().lines() {
        let rounds: u64 = line?.trim().parse()?;
        let started = Instant::now();
        for _ in 0..rounds {
            once()?;
        }
        println!("{}", started.elapsed().as_nanos());
    }
    let end = publisher.loan_slice_uninit(0)?;
    end.write_from_slice(&[]).send()?;
    sent.notify()?;
    far.join().map_err(|_| "the consumer panicked")?;
    Ok(())
}
