//! Links between processes of which one goes away: what is lost is told, what waits goes on, and strangers are turned away.

use blockflow::tensormq::{Context, LinkState};
use blockflow::types::RequestId;

use crate::links_support::{
    Carrier, Consumer, Link, Place, Producer, conformance, party, requests, small, tensors, until,
};

conformance! {
    [ipc Ipc, arena Arena, tcp Tcp] [
        a_producer_may_come_before_its_consumer,
        a_producer_outlives_its_consumer,
        only_what_may_be_in_transit_is_at_risk,
        an_idle_link_loses_nothing_but_its_peer,
        a_consumer_outlives_its_producer,
        a_producer_that_comes_again_gets_no_second_window,
        another_configuration_is_refused_aloud_until_it_is_the_same,
        of_two_producers_of_one_name_the_later_stays,
    ]
}

fn a_producer_may_come_before_its_consumer(carrier: Carrier) {
    let place = Place::new(carrier);
    // A port that somebody had a moment ago.
    let endpoint = Consumer::bind(Context::new(party(1)), &place.endpoint(), 1).endpoint;
    let mut producer = Producer::connect(Context::new(party(1)), &endpoint, "early");
    producer.send(tensors(1, small()));
    producer.step();
    assert_eq!(*producer.outbound.link_state(), LinkState::Connecting);
    assert_eq!(producer.outbound.backlog(), 1);
    let consumer = Consumer::bind(Context::new(party(1)), &endpoint, 1);
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    assert_eq!(requests(&link.arrive(1)), [1]);
    assert!(link.producer.lost.is_empty());
}

fn a_producer_outlives_its_consumer(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    let before = link.producer.outbound.peer().unwrap();
    for request in 0..10 {
        link.producer.send(tensors(request, small()));
    }
    assert_eq!(requests(&link.arrive(4)), [0, 1, 2, 3]);
    let Link {
        mut producer,
        consumer,
        place,
    } = link;
    let endpoint = consumer.endpoint.clone();
    drop(consumer);
    until("the loss is noticed", || {
        producer.step();
        !producer.lost.is_empty()
    });
    let lost = producer.lost.remove(0);
    assert_eq!(lost.incarnation, before);
    assert_eq!(lost.at_risk, [0, 1, 2, 3].map(RequestId));
    assert!(lost.cause.contains(&endpoint.to_string()), "{}", lost.cause);
    assert_eq!(producer.outbound.backlog(), 6);
    assert_eq!(
        (producer.outbound.peer(), producer.outbound.credits()),
        (None, 0)
    );
    let consumer = Consumer::bind(Context::new(party(1)), &endpoint, 4);
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let arrived = link.arrive(1);
        assert!(arrived.iter().all(|received| received.lost == 0));
        link.release(&arrived);
        seen.extend(requests(&arrived));
    }
    assert_eq!(seen, [4, 5, 6, 7, 8, 9]);
    let after = link.producer.outbound.peer().unwrap();
    assert_eq!(after, link.consumer.context.party().incarnation);
    assert_ne!(after, before);
    assert!(link.producer.lost.is_empty());
}

fn only_what_may_be_in_transit_is_at_risk(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    for request in 0..6 {
        link.producer.send(tensors(request, small()));
    }
    let first = link.arrive(4);
    link.release(&first);
    let rest = link.arrive(2);
    // All credits are back but that of the last.
    link.release(&rest[..1]);
    link.until("credits", |link| link.producer.outbound.credits() == 3);
    let Link {
        mut producer,
        consumer,
        place,
    } = link;
    drop((consumer, place));
    until("the loss is noticed", || {
        producer.step();
        !producer.lost.is_empty()
    });
    assert_eq!(producer.lost[0].at_risk, [RequestId(5)]);
}

fn an_idle_link_loses_nothing_but_its_peer(carrier: Carrier) {
    let Link {
        mut producer,
        consumer,
        place,
    } = Link::new(carrier, 4);
    drop((consumer, place));
    until("the loss is noticed", || {
        producer.step();
        !producer.lost.is_empty()
    });
    assert_eq!(producer.lost[0].at_risk, []);
}

fn a_consumer_outlives_its_producer(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    for round in 0..5 {
        for request in 0..4 {
            link.producer.send(tensors(10 * round + request, small()));
        }
        let arrived = link.arrive(4);
        assert!(arrived.iter().all(|received| received.lost == 0));
        link.release(&arrived);
        let next = Context::new(party(1));
        link.producer = Producer::connect(next, &link.consumer.endpoint, "producer");
    }
    assert!(link.consumer.discarded.is_empty());
}

fn a_producer_that_comes_again_gets_no_second_window(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    for request in 0..3 {
        link.producer.send(tensors(request, small()));
    }
    let held = link.arrive(3);
    let next = Context::new(party(1));
    link.producer = Producer::connect(next, &link.consumer.endpoint, "producer");
    for request in 10..20 {
        link.producer.send(tensors(request, small()));
    }
    assert_eq!(requests(&link.arrive(1)), [10]);
    assert!(link.settle().is_empty());
    link.release(&held);
    assert_eq!(requests(&link.arrive(3)), [11, 12, 13]);
    assert!(link.settle().is_empty());
}

fn another_configuration_is_refused_aloud_until_it_is_the_same(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    let endpoint = link.consumer.endpoint.clone();
    let mut other = Producer::connect(Context::new(party(2)), &endpoint, "other");
    other.send(tensors(100, small()));
    link.until("the other is refused", |_| {
        other.step();
        other.refusal().is_some()
    });
    let reason = other.refusal().unwrap();
    for part in [
        "configuration",
        &party(1).digest.to_string(),
        &party(2).digest.to_string(),
    ] {
        assert!(reason.contains(part), "{part} is not in {reason}");
    }
    assert!(other.lost.is_empty());
    let refused = link.consumer.discarded.remove(0);
    assert!(refused.to_string().contains("\"other\""), "{refused}");
    link.producer.send(tensors(1, small()));
    assert_eq!(requests(&link.settle()), [1]);
    // The consumer is started again, with what the other one runs.
    let Link {
        producer,
        consumer,
        place,
    } = link;
    drop((producer, consumer));
    let consumer = Consumer::bind(Context::new(party(2)), &endpoint, 4);
    let mut link = Link {
        producer: other,
        consumer,
        place,
    };
    assert_eq!(requests(&link.arrive(1)), [100]);
}

fn of_two_producers_of_one_name_the_later_stays(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    link.producer.send(tensors(1, small()));
    let held = link.arrive(1);
    let context = Context::new(party(1));
    let mut later = Producer::connect(context, &link.consumer.endpoint, "producer");
    link.until("the earlier is told", |link| {
        later.step();
        later.is_up() && link.producer.refusal().is_some()
    });
    assert!(link.producer.refusal().unwrap().contains("\"producer\""));
    assert_eq!(link.producer.lost[0].at_risk, [RequestId(1)]);
    link.release(&held);
    for request in 10..14 {
        later.send(tensors(request, small()));
    }
    link.until("the later is heard", |link| {
        later.step();
        link.consumer.arrived.len() == 4
    });
    assert_eq!(requests(&link.consumer.arrived), [10, 11, 12, 13]);
}
