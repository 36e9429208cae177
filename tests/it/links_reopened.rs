//! Sockets that are opened anew within a process: what was not read is known to the envelope, and what waited goes on.

use blockflow::tensormq::{Context, Inbound, Outbound, Peer, Received, Window};
use blockflow::types::{Endpoint, RequestId};

use crate::links_support::{Carrier, Place, party, requests, small, tensors, until};

const NAME: &str = "producer";

fn bind(context: &Context, endpoint: &Endpoint) -> Inbound {
    let mut bound = None;
    // The name is free as soon as the socket before is closed, which happens on another thread.
    until("the name is free", || {
        bound = Inbound::bind(context, std::slice::from_ref(endpoint), Window(4)).ok();
        bound.is_some()
    });
    bound.expect("it was bound")
}

fn arrive(inbound: &mut Inbound, outbound: &mut Outbound, count: usize) -> Vec<Received> {
    let mut arrived = Vec::new();
    until("envelopes arrive", || {
        let polled = outbound.poll().expect("a sound link");
        assert!(polled.lost.is_none());
        if arrived.len() < count
            && let Some(received) = inbound.try_receive().expect("a sound link")
        {
            arrived.push(received.expect("a sound envelope"));
        }
        arrived.len() == count
    });
    arrived
}

#[test]
fn what_a_consumer_had_not_read_is_told_and_what_waits_goes_on() {
    for before in 0..=4_usize {
        let context = Context::new(party(1));
        let endpoint = Place::new(Carrier::Inproc).endpoint();
        let mut inbound = bind(&context, &endpoint);
        let mut outbound = Outbound::connect(&context, &endpoint, NAME).expect("a name");
        // Two more than the window: they wait for credit.
        for request in 0..6 {
            outbound.send(tensors(request, small())).expect("a link");
        }
        // Everything is sent as soon as the producer is let in, before anything is read.
        until("all credits are used", || {
            let read = inbound.try_receive().expect("a sound link");
            assert!(read.is_none());
            assert!(outbound.poll().expect("a sound link").lost.is_none());
            outbound.backlog() == 2
        });
        let first = arrive(&mut inbound, &mut outbound, before);
        assert_eq!(requests(&first), (0..before as u64).collect::<Vec<_>>());
        let read = inbound.read();
        drop(inbound);
        let mut inbound = bind(&context, &endpoint);
        let next = read.get(NAME).copied().unwrap_or_default();
        let unread = outbound.reopen(&context, next).expect("a sound link");
        let expected: Vec<_> = (before as u64..4).map(RequestId).collect();
        assert_eq!(unread, expected, "{before} were read");
        // Credits of the one before are nobody's.
        for _ in &first {
            inbound.release(Peer::GONE).expect("nothing to do");
        }
        let rest = arrive(&mut inbound, &mut outbound, 2);
        assert_eq!(requests(&rest), [4, 5]);
        assert!(rest.iter().all(|received| received.lost == 0));
        assert_eq!(outbound.credits(), 2);
    }
}

#[test]
fn what_is_lost_with_a_producer_is_what_was_not_acknowledged() {
    let context = Context::new(party(1));
    let endpoint = Place::new(Carrier::Inproc).endpoint();
    let mut inbound = bind(&context, &endpoint);
    let mut outbound = Outbound::connect(&context, &endpoint, NAME).expect("a name");
    assert_eq!(outbound.unsettled(), []);
    for request in 0..6 {
        outbound.send(tensors(request, small())).expect("a link");
    }
    let first = arrive(&mut inbound, &mut outbound, 4);
    for received in &first[..3] {
        inbound.release(received.peer).expect("a sound link");
    }
    let rest = arrive(&mut inbound, &mut outbound, 2);
    for received in &rest {
        inbound.release(received.peer).expect("a sound link");
    }
    inbound.release(first[3].peer).expect("a sound link");
    until("credits are back", || {
        assert!(inbound.try_receive().expect("a sound link").is_none());
        assert!(outbound.poll().expect("a sound link").lost.is_none());
        outbound.credits() == 4
    });
    assert_eq!(outbound.unsettled(), []);
    outbound.send(tensors(7, small())).expect("a link");
    assert_eq!(outbound.unsettled(), [RequestId(7)]);
}
