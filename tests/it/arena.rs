//! Shared memory of a link: how often a payload is copied, who holds a slot and how long, and what happens without room.

use blockflow::tensormq::{
    ARENA_BYTES, Arena, Body, Context, INLINE_BYTES_MAX, LinkError, Received,
};
use blockflow::types::{DType, Order, Tensor};

use crate::links_support::{
    Carrier, Consumer, Link, Place, Producer, WATCHDOG, envelope, party, requests, tensors, until,
};

const BYTES: usize = 100_000;

fn numbers(seed: u64, bytes: usize) -> Tensor {
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut content);
    Tensor::copy_of(DType::U8, vec![bytes], &content).unwrap()
}

fn tensor(received: &Received) -> &Tensor {
    match &received.envelope.body {
        Body::Tensors(tensors) => &tensors[0].1,
        other => panic!("no tensors: {other:?}"),
    }
}

/// A link whose producer sends in an arena that the test sees.
fn link(arena: &Arena, window: u32) -> Link {
    let place = Place::new(Carrier::Ipc);
    let consumer = Consumer::bind(Context::new(party(1)), &place.endpoint(), window);
    let mut producer = Producer::connect(Context::new(party(1)), &consumer.endpoint, "producer");
    producer.outbound = producer.outbound.with_arena(arena);
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    link.until("the link is up", |link| link.producer.is_up());
    link
}

fn arena() -> Arena {
    Arena::new(ARENA_BYTES, INLINE_BYTES_MAX).unwrap()
}

#[test]
fn a_tensor_for_several_consumers_is_copied_once() {
    let arena = arena();
    let mut links: Vec<_> = (0..3).map(|_| link(&arena, 1)).collect();
    let sent = numbers(1, BYTES);
    for request in 0..2 {
        for link in &mut links {
            link.producer.send(tensors(request, sent.clone()));
        }
    }
    let moved = links.iter().map(|link| link.producer.outbound.moved());
    assert_eq!(moved.map(|moved| moved.copied).sum::<u64>(), BYTES as u64);
    assert_eq!(arena.slots(), 1);
    for link in &mut links {
        assert_eq!(link.producer.outbound.leases(), 1);
        for request in 0..2 {
            let received = link.arrive(1);
            assert_eq!(requests(&received), [request]);
            assert!(tensor(&received[0]).bytes() == sent.bytes());
            link.release(&received);
        }
    }
    for link in &mut links {
        assert_eq!(arena.slots(), 1);
        link.until("slots are back", |link| {
            link.producer.outbound.leases() == 0
        });
    }
    assert_eq!(arena.slots(), 0);
    // Other memory at the same place is another tensor.
    for seed in 2..6 {
        let sent = numbers(seed, BYTES);
        links[0].producer.send(tensors(seed, sent.clone()));
        drop(sent.clone());
        let received = links[0].arrive(1);
        assert!(tensor(&received[0]).bytes() == sent.bytes());
        links[0].release(&received);
    }
}

#[test]
fn a_tensor_that_was_written_in_the_arena_is_not_copied() {
    let arena = arena();
    let mut link = link(&arena, 4);
    let mut buffer = arena.allocate(DType::F32, vec![4, 10_000]).unwrap();
    let content = numbers(3, 160_000);
    buffer.as_mut_slice().copy_from_slice(content.bytes());
    let whole = buffer.into_tensor();
    assert_eq!(whole.bytes().as_ptr().addr() % 64, 0);
    let rows = whole.slice_rows(1..3).unwrap();
    link.producer.send(envelope(
        1,
        Body::Tensors(vec![(0, whole.clone()), (1, rows.clone())]),
    ));
    let received = link.arrive(1);
    let Body::Tensors(arrived) = &received[0].envelope.body else {
        panic!("no tensors")
    };
    assert!(arrived[0].1.bytes() == content.bytes());
    assert!(arrived[1].1.bytes() == rows.bytes());
    assert_eq!(arrived[1].1.shape(), [2, 10_000]);
    let (out, back) = (
        link.producer.outbound.moved(),
        link.consumer.inbound.moved(),
    );
    assert_eq!((out.bytes, out.lent, out.copied), (0, 240_000, 0));
    assert_eq!((back.bytes, back.lent, back.copied), (0, 240_000, 0));
    assert_eq!(link.producer.outbound.leases(), 2);
    drop((received, rows));
    link.until("slots are back", |link| {
        link.producer.outbound.leases() == 0
    });
    assert_eq!(arena.slots(), 1);
    drop(whole);
    assert_eq!(arena.slots(), 0);
    assert!(arena.allocate(DType::Bytes, vec![1]).is_none());
    assert!(arena.allocate(DType::U8, vec![usize::MAX, 2]).is_none());
    assert!(arena.allocate(DType::U8, vec![ARENA_BYTES]).is_none());
}

#[test]
fn a_result_that_was_written_in_a_room_of_the_arena_is_not_copied_in_whatever_order_it_lies() {
    let arena = arena();
    let mut link = link(&arena, 4);
    let content: Vec<u8> = (0..120_000).map(|byte| byte as u8).collect();
    let mut room = arena.room(content.len()).unwrap();
    room.as_mut_slice().copy_from_slice(&content);
    let (shape, order) = (vec![4, 3, 100, 100], Order::channels_last(4).unwrap());
    let whole = Tensor::in_order(DType::U8, shape, order, room.into_memory()).unwrap();
    let rows = whole.slice_rows(1..3).unwrap();
    // Read row-major, it lies there all the same.
    let expected = whole.bytes().to_vec();
    let sent = vec![(0, whole.clone()), (1, rows.clone())];
    link.producer.send(envelope(1, Body::Tensors(sent)));
    let received = link.arrive(1);
    let Body::Tensors(arrived) = &received[0].envelope.body else {
        panic!("no tensors")
    };
    for (arrived, sent) in arrived.iter().zip([&whole, &rows]) {
        assert!(arrived.1.stored() == sent.stored(), "{arrived:?}");
        assert!(arrived.1.bytes() == sent.bytes(), "{arrived:?}");
    }
    assert!(arrived[0].1.bytes() == expected);
    let out = link.producer.outbound.moved();
    assert_eq!((out.bytes, out.lent, out.copied), (0, 180_000, 0));
    drop((whole, rows));
    assert_eq!(arena.slots(), 1);
    drop(received);
    link.until("slots are back", |link| {
        link.producer.outbound.leases() == 0
    });
    assert_eq!(arena.slots(), 0);
    let small = Arena::new(ARENA_BYTES, INLINE_BYTES_MAX).unwrap();
    assert!(small.room(INLINE_BYTES_MAX).is_none() && small.room(ARENA_BYTES).is_none());
    assert_eq!(
        small
            .room(INLINE_BYTES_MAX + 1)
            .unwrap()
            .as_mut_slice()
            .len(),
        INLINE_BYTES_MAX + 1
    );
}

#[test]
fn a_tensor_of_another_arena_is_copied_into_this_one() {
    let (first, second) = (arena(), arena());
    let mut link = link(&second, 4);
    let mut buffer = first.allocate(DType::U8, vec![BYTES]).unwrap();
    buffer.as_mut_slice().fill(7);
    link.producer.send(tensors(1, buffer.into_tensor()));
    assert_eq!((first.slots(), second.slots()), (0, 1));
    let received = link.arrive(1);
    assert!(tensor(&received[0]).bytes() == [7; BYTES]);
    // So is one that lies in somebody else's arena, as when it is sent on.
    let mut next = self::link(&first, 4);
    next.producer.send(tensors(2, tensor(&received[0]).clone()));
    assert!(tensor(&next.arrive(1)[0]).bytes() == [7; BYTES]);
    assert_eq!(next.producer.outbound.moved().copied, BYTES as u64);
}

#[test]
fn a_small_tensor_travels_in_the_message() {
    let arena = arena();
    let mut link = link(&arena, 4);
    link.producer.send(tensors(1, numbers(1, INLINE_BYTES_MAX)));
    link.producer
        .send(tensors(2, numbers(2, INLINE_BYTES_MAX + 1)));
    let received = link.arrive(2);
    let out = link.producer.outbound.moved();
    assert_eq!(out.bytes, INLINE_BYTES_MAX as u64);
    assert_eq!(out.lent, INLINE_BYTES_MAX as u64 + 1);
    drop(received);
}

#[test]
fn without_room_tensors_travel_as_bytes() {
    const COUNT: usize = 100;
    let arena = Arena::new(10 * BYTES, 0).unwrap();
    let mut link = link(&arena, 20);
    for request in 0..COUNT as u64 {
        link.producer
            .send(tensors(request, numbers(request, BYTES)));
    }
    let mut random = fastrand::Rng::with_seed(5);
    let (mut held, mut seen) = (Vec::new(), 0);
    while seen < COUNT {
        let arrived = link.arrive(1);
        link.release(&arrived);
        for one in arrived {
            let expected = numbers(one.envelope.address.request.0, BYTES);
            assert!(tensor(&one).bytes() == expected.bytes());
            held.push(one);
            seen += 1;
        }
        while held.len() > 12 {
            held.swap_remove(random.usize(..held.len()));
        }
    }
    let out = link.producer.outbound.moved();
    assert!(out.bytes > 0 && out.lent > 0, "{out:?}");
    assert_eq!(out.bytes + out.lent, (COUNT * BYTES) as u64);
    held.clear();
    link.until("slots are back", |_| arena.slots() == 0);
}

#[test]
fn a_slot_that_is_let_go_on_another_thread_wakes_the_consumer() {
    let arena = arena();
    let mut link = link(&arena, 4);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let edges = link.consumer.inbound.edges().unwrap();
        for request in 0..20 {
            link.producer
                .send(tensors(request, numbers(request, BYTES)));
            let received = link.arrive(1);
            link.release(&received);
            link.until("a credit", |link| link.producer.outbound.credits() == 4);
            assert_eq!(arena.slots(), 1);
            let thread = std::thread::spawn(move || drop(received));
            // Nothing else happens that could wake it.
            let all = async {
                loop {
                    link.consumer.step();
                    link.producer.step();
                    if link.producer.outbound.leases() == 0 {
                        break;
                    }
                    // The producer is woken by the consumer, which this thread is too.
                    tokio::select! {
                        edge = edges.next() => edge.unwrap(),
                        () = tokio::task::yield_now() => {}
                    }
                }
            };
            tokio::time::timeout(WATCHDOG, all)
                .await
                .expect("a bell was not heard");
            thread.join().unwrap();
        }
    });
    assert_eq!(arena.slots(), 0);
}

#[test]
fn a_bell_is_an_edge() {
    let arena = arena();
    let mut link = link(&arena, 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        link.producer.send(tensors(1, numbers(1, BYTES)));
        let received = link.arrive(1);
        link.release(&received);
        link.until("a credit", |link| link.producer.outbound.credits() == 1);
        let edges = link.consumer.inbound.edges().unwrap();
        // Whatever was pending when the watch began.
        while tokio::time::timeout(std::time::Duration::from_millis(50), edges.next())
            .await
            .is_ok()
        {
            link.consumer.step();
        }
        let thread = std::thread::spawn(move || drop(received));
        tokio::time::timeout(WATCHDOG, edges.next())
            .await
            .expect("the bell was not heard")
            .unwrap();
        thread.join().unwrap();
        link.until("the slot is back", |_| arena.slots() == 0);
    });
}

#[test]
fn a_consumer_that_is_opened_anew_keeps_what_its_process_reads() {
    let arena = arena();
    let mut link = link(&arena, 8);
    for request in 0..4 {
        link.producer
            .send(tensors(request, numbers(request, BYTES)));
    }
    let mut received = link.arrive(4);
    // One is let go and one is read on; the two ends are closed before the producer hears of it.
    let read = received.remove(1);
    drop(received);
    let Link {
        producer,
        consumer,
        place,
    } = link;
    let Consumer {
        inbound,
        endpoint,
        context,
        ..
    } = consumer;
    drop(inbound);
    let consumer = Consumer::bind(context, &endpoint, 8);
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    link.until("the loss is noticed", |link| !link.producer.lost.is_empty());
    link.until("the link is up", |link| link.producer.is_up());
    assert_eq!((link.producer.outbound.leases(), arena.slots()), (1, 1));
    for request in 10..14 {
        link.producer
            .send(tensors(request, numbers(request, BYTES)));
    }
    let later = link.arrive(4);
    assert!(tensor(&read).bytes() == numbers(1, BYTES).bytes());
    drop((read, later));
    link.until("slots are back", |_| arena.slots() == 0);
    assert_eq!(link.producer.outbound.refused_returns(), 0);
}

#[test]
fn what_another_process_held_is_free_when_the_next_one_greets() {
    let arena = arena();
    let mut link = link(&arena, 8);
    for request in 0..4 {
        link.producer
            .send(tensors(request, numbers(request, BYTES)));
    }
    let received = link.arrive(4);
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
    // It may still be read.
    assert_eq!(arena.slots(), 4);
    let consumer = Consumer::bind(Context::new(party(1)), &endpoint, 8);
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    link.until("the link is up", |link| link.producer.is_up());
    assert_eq!((link.producer.outbound.leases(), arena.slots()), (0, 0));
    drop(received);
}

#[test]
fn a_link_that_is_dropped_holds_no_slot() {
    let arena = arena();
    let mut link = link(&arena, 2);
    for request in 0..4 {
        link.producer
            .send(tensors(request, numbers(request, BYTES)));
    }
    let received = link.arrive(2);
    assert_eq!(arena.slots(), 4);
    drop(link.producer);
    assert_eq!(arena.slots(), 0);
    drop(received);
}

#[test]
fn a_consumer_reads_on_when_its_producer_is_gone() {
    let arena = arena();
    let mut link = link(&arena, 2);
    let sent = numbers(1, BYTES);
    link.producer.send(tensors(1, sent.clone()));
    let received = link.arrive(1);
    drop((link.producer, arena));
    link.consumer.step();
    assert!(tensor(&received[0]).bytes() == sent.bytes());
}

#[test]
fn an_arena_has_a_size() {
    for bytes in [0, 4096, usize::MAX, 1 << 40] {
        let error = Arena::new(bytes, 0).unwrap_err();
        assert!(matches!(error, LinkError::Arena { .. }), "{error}");
        assert!(error.to_string().contains(&bytes.to_string()), "{error}");
    }
    Arena::new(4097, 0).unwrap();
}

#[test]
fn slots_of_many_threads_stay_apart() {
    let arena = Arena::new(1 << 20, 0).unwrap();
    let threads: Vec<_> = (0..4_u8)
        .map(|thread| {
            let arena = arena.clone();
            std::thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread.into());
                let mut held = Vec::new();
                for round in 0..2000_u32 {
                    let mark = thread ^ (round as u8).wrapping_mul(4);
                    if let Some(mut buffer) = arena.allocate(DType::U8, vec![random.usize(1..9000)])
                    {
                        buffer.as_mut_slice().fill(mark);
                        held.push((mark, buffer.into_tensor()));
                    }
                    if held.len() > 20 {
                        let (mark, tensor) = held.swap_remove(random.usize(..held.len()));
                        assert!(tensor.bytes().iter().all(|&byte| byte == mark));
                    }
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(arena.slots(), 0);
    assert_eq!(arena.free_bytes(), (1 << 20) - 4096);
}

#[test]
fn a_link_without_an_arena_sends_bytes() {
    let place = Place::new(Carrier::Tcp);
    let context = Context::new(party(1));
    let consumer = Consumer::bind(context.clone(), &place.endpoint(), 2);
    let arena = arena();
    let mut producer = Producer::connect(context, &consumer.endpoint, "producer");
    producer.outbound = producer.outbound.with_arena(&arena);
    let mut link = Link {
        producer,
        consumer,
        place,
    };
    link.producer.send(tensors(1, numbers(1, BYTES)));
    assert!(tensor(&link.arrive(1)[0]).bytes() == numbers(1, BYTES).bytes());
    assert_eq!(link.producer.outbound.moved().bytes, BYTES as u64);
    assert_eq!(arena.slots(), 0);
}
