//! Links, the same on every carrier: order, back-pressure, what travels and what does not, no leaks, no lost wake-ups.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blockflow::tensormq::{
    BlockState, Body, Condition, Context, Inbound, LinkError, LostReceiver, Moved, NAME_BYTES_MAX,
    Outbound, Window,
};
use blockflow::types::{
    DType, Failure, FailureKind, HostMemory, Order, RequestId, TENSORS_MAX, Tensor, byte_count,
};

use crate::links_support::{
    Carrier, Counted, Link, Place, Producer, WATCHDOG, conformance, envelope, party, requests,
    small, tensors, until,
};

conformance! {
    [inproc Inproc, ipc Ipc, arena Arena, tcp Tcp, lz4 Lz4, zstd Zstd] [
        a_full_window_blocks_the_producer_until_credit_returns,
        never_more_than_a_window_waits_at_the_consumer,
        order_of_each_producer_is_kept_and_nothing_is_lost,
        what_needs_no_credit_overtakes_what_waits_for_it,
        only_the_newest_state_of_a_block_waits,
        a_forgotten_request_is_not_sent_any_more,
        tensors_of_every_dtype_and_shape_arrive_as_they_were,
        tensors_in_an_order_of_their_own_and_parts_of_tensors_arrive_row_major,
        tensors_in_any_order_keep_it_and_arrive_as_they_were,
        the_most_tensors_that_are_allowed_travel_in_one_envelope,
        one_tensor_more_is_refused_by_the_producer,
        a_large_tensor_arrives_as_it_was,
        bytes_move_only_between_processes_and_there_once,
        a_tensor_is_freed_with_its_last_holder,
        closing_both_ends_with_messages_between_them_leaks_nothing,
        a_consumer_that_closes_under_load_leaks_nothing,
        a_producer_that_closes_under_load_leaks_nothing,
        names_are_bounded,
        edges_wake_both_ends_while_credits_flow_back,
    ]
}

fn a_full_window_blocks_the_producer_until_credit_returns(carrier: Carrier) {
    let mut link = Link::new(carrier, 4);
    for request in 0..10 {
        link.producer.send(tensors(request, small()));
    }
    let first = link.settle();
    assert_eq!(requests(&first), [0, 1, 2, 3]);
    assert_eq!(link.producer.outbound.backlog(), 6);
    link.release(&first);
    assert_eq!(requests(&link.arrive(4)), [4, 5, 6, 7]);
    assert_eq!(requests(&link.settle()), [0_u64; 0]);
    assert_eq!(link.producer.outbound.backlog(), 2);
}

/// Credits come back one at a time and in bursts; the consumer holds some envelopes for long.
fn never_more_than_a_window_waits_at_the_consumer(carrier: Carrier) {
    const WINDOW: usize = 40;
    let mut link = Link::new(carrier, WINDOW as u32);
    for request in 0..400 {
        link.producer.send(tensors(request, small()));
    }
    let mut random = fastrand::Rng::with_seed(7);
    let (mut held, mut seen) = (Vec::new(), Vec::new());
    while seen.len() < 400 {
        held.extend(link.settle());
        assert!(held.len() <= WINDOW, "{} envelopes", held.len());
        let some = held.len().min(random.usize(1..=WINDOW));
        for _ in 0..some {
            let one = held.swap_remove(random.usize(..held.len()));
            seen.extend(requests(std::slice::from_ref(&one)));
            link.release(&[one]);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..400).collect::<Vec<_>>());
}

fn order_of_each_producer_is_kept_and_nothing_is_lost(carrier: Carrier) {
    let mut link = Link::new(carrier, 3);
    let context = link.producer.context.clone();
    let mut second = Producer::connect(context, &link.consumer.endpoint, "second");
    for request in 0..100 {
        link.producer.send(tensors(request, small()));
        second.send(tensors(1000 + request, small()));
    }
    let mut seen = Vec::new();
    until("200 envelopes", || {
        second.step();
        link.producer.step();
        link.consumer.step();
        let arrived = std::mem::take(&mut link.consumer.arrived);
        assert!(arrived.iter().all(|received| received.lost == 0));
        link.release(&arrived);
        seen.extend(requests(&arrived));
        seen.len() == 200
    });
    let (second, first): (Vec<u64>, Vec<u64>) = seen.iter().partition(|&&request| request >= 1000);
    assert_eq!(first, (0..100).collect::<Vec<_>>());
    assert_eq!(second, (1000..1100).collect::<Vec<_>>());
}

fn what_needs_no_credit_overtakes_what_waits_for_it(carrier: Carrier) {
    let mut link = Link::new(carrier, 1);
    link.producer.send(tensors(1, small()));
    link.producer.send(tensors(2, small()));
    let failure = Failure::in_block(FailureKind::BlockFailed, "head", "broken");
    let state = BlockState {
        block: 3,
        instance: 1,
        condition: Condition::GivenUp,
        cause: "it fails too often".to_owned(),
    };
    let lost = LostReceiver {
        block: 5,
        instance: 2,
        incarnation: 0x0123_4567_89ab_cdef,
    };
    let bodies = [
        Body::Failure(failure),
        Body::State(state),
        Body::Lost(lost),
        Body::Cancel,
    ];
    for (request, body) in (3..).zip(&bodies) {
        link.producer.send(envelope(request, body.clone()));
    }
    let seen = link.settle();
    assert_eq!(requests(&seen), [1, 3, 4, 5, 6]);
    for (received, body) in seen[1..].iter().zip(&bodies) {
        assert_eq!(format!("{:?}", received.envelope.body), format!("{body:?}"));
    }
}

fn only_the_newest_state_of_a_block_waits(carrier: Carrier) {
    let place = Place::new(carrier);
    let context = Context::new(party(1));
    let first = crate::links_support::Consumer::bind(context.clone(), &place.endpoint(), 1);
    let mut producer = Producer::connect(context, &first.endpoint, "producer");
    let state = |instance, condition| {
        let cause = String::new();
        let block = 0;
        let state = BlockState {
            block,
            instance,
            condition,
            cause,
        };
        envelope(0, Body::State(state))
    };
    for _ in 0..50 {
        producer.send(state(0, Condition::Serving));
        producer.send(state(0, Condition::Restarting));
    }
    producer.send(state(1, Condition::Serving));
    assert_eq!(producer.outbound.backlog(), 2);
    let mut link = Link {
        producer,
        consumer: first,
        place,
    };
    let seen = link.settle();
    let seen: Vec<_> = seen.iter().map(|one| &one.envelope.body).collect();
    assert!(
        matches!(&seen[..], [Body::State(first), Body::State(second)]
            if first.condition == Condition::Restarting && second.instance == 1),
        "{seen:?}"
    );
}

fn a_forgotten_request_is_not_sent_any_more(carrier: Carrier) {
    let mut link = Link::new(carrier, 1);
    for request in 0..3 {
        link.producer.send(tensors(request, small()));
    }
    link.producer.outbound.forget(RequestId(1));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let arrived = link.arrive(1);
        link.release(&arrived);
        seen.extend(requests(&arrived));
    }
    assert_eq!(seen, [0, 2]);
    assert!(link.settle().is_empty());
}

/// Sends one envelope with tensors and returns what arrived.
fn carry(link: &mut Link, sent: &[Tensor]) -> Vec<Tensor> {
    let body = Body::Tensors((0..).zip(sent.iter().cloned()).collect());
    link.producer.send(envelope(1, body));
    let mut received = link.arrive(1);
    link.release(&received);
    let Body::Tensors(arrived) = received.remove(0).envelope.body else {
        panic!("no tensors")
    };
    for (index, (port, _)) in arrived.iter().enumerate() {
        assert_eq!(usize::from(*port), index);
    }
    arrived.into_iter().map(|(_, tensor)| tensor).collect()
}

fn assert_same(sent: &[Tensor], arrived: &[Tensor]) {
    assert_eq!(sent.len(), arrived.len());
    for (sent, arrived) in sent.iter().zip(arrived) {
        assert_eq!(
            (sent.dtype(), sent.shape()),
            (arrived.dtype(), arrived.shape())
        );
        assert!(sent.bytes() == arrived.bytes(), "{sent:?} differs");
        let alignment = sent.dtype().size().unwrap_or(1);
        let start = arrived.bytes().as_ptr().addr();
        assert!(
            arrived.bytes().is_empty() || start.is_multiple_of(alignment),
            "{arrived:?} cannot be read in place"
        );
    }
}

fn tensors_of_every_dtype_and_shape_arrive_as_they_were(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let mut random = fastrand::Rng::with_seed(11);
    let shapes: [&[usize]; 8] = [
        &[],
        &[0],
        &[1],
        &[0, 3],
        &[2, 0, 5],
        &[3, 5, 7],
        &[4099],
        &[1; 32],
    ];
    for dtype in DType::ALL {
        let tensor = |shape: &&[usize]| {
            let shape = shape.to_vec();
            let Some(bytes) = byte_count(dtype, &shape).ok() else {
                let count = shape.iter().product();
                let texts: Vec<_> = (0..count).map(|index| "é".repeat(index % 5)).collect();
                return Tensor::from_byte_strings(shape, &texts).unwrap();
            };
            let bytes: Vec<u8> = (0..bytes).map(|_| random.u8(0..2)).collect();
            Tensor::copy_of(dtype, shape, &bytes).unwrap()
        };
        let sent: Vec<_> = shapes.iter().map(tensor).collect();
        assert_same(&sent, &carry(&mut link, &sent));
    }
}

/// Memory whose elements lie column-major.
#[derive(Debug)]
struct Transposed {
    columns: Vec<u8>,
    rows: std::sync::OnceLock<Vec<u8>>,
}

impl HostMemory for Transposed {
    fn bytes(&self) -> &[u8] {
        self.rows.get_or_init(|| {
            let at = |row: usize, column: usize| self.columns[column * 3 + row];
            (0..3)
                .flat_map(|row| (0..4).map(move |column| at(row, column)))
                .collect()
        })
    }

    fn byte_count(&self) -> usize {
        self.columns.len()
    }
}

fn tensors_in_an_order_of_their_own_and_parts_of_tensors_arrive_row_major(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let transposed = Transposed {
        columns: (0..12).collect(),
        rows: std::sync::OnceLock::new(),
    };
    let transposed = Tensor::new(DType::U8, vec![3, 4], Arc::new(transposed)).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(8 * 1000).collect();
    let whole = Tensor::copy_of(DType::F64, vec![1000], &bytes).unwrap();
    let odd = Tensor::copy_of(DType::U8, vec![8000], &bytes).unwrap();
    let sent = [
        transposed,
        whole.slice_rows(1..999).unwrap(),
        odd.slice_rows(1..7998).unwrap(),
        odd.slice_rows(5..5).unwrap(),
    ];
    let arrived = carry(&mut link, &sent);
    assert_same(&sent, &arrived);
    assert_eq!(arrived[0].bytes()[..4], [0, 3, 6, 9]);
}

/// Every order of up to four dimensions, of every dtype of a fixed size in turn; and rows of such tensors.
fn tensors_in_any_order_keep_it_and_arrive_as_they_were(carrier: Carrier) {
    const SIZES: [usize; 4] = [3, 5, 2, 7];
    let mut link = Link::new(carrier, 2);
    let mut dtypes = DType::ALL
        .into_iter()
        .filter(|dtype| dtype.size().is_some())
        .cycle();
    let mut sent = Vec::new();
    for rank in 2..=4_u32 {
        for code in 0..rank.pow(rank) {
            let dims: Vec<u8> = (0..rank)
                .map(|place| (code / rank.pow(place) % rank) as u8)
                .collect();
            let Some(order) = Order::new(dims) else {
                continue;
            };
            let (dtype, shape) = (dtypes.next().unwrap(), SIZES[..rank as usize].to_vec());
            let bytes = byte_count(dtype, &shape).unwrap();
            let memory: Vec<u8> = (0..bytes).map(|byte| byte as u8 % 2).collect();
            let whole = Tensor::in_order(dtype, shape, order, Arc::new(memory)).unwrap();
            sent.push(whole.slice_rows(1..3).unwrap());
            sent.push(whole);
        }
    }
    assert_eq!(sent.len(), 2 * (1 + 5 + 23));
    let arrived = carry(&mut link, &sent);
    for (sent, arrived) in sent.iter().zip(&arrived) {
        // What is encoded is row-major.
        if matches!(carrier, Carrier::Lz4 | Carrier::Zstd) && arrived.stored().1.is_none() {
            continue;
        }
        assert_eq!(sent.stored().1, arrived.stored().1, "{sent:?}");
        assert!(sent.stored().0 == arrived.stored().0, "{sent:?} differs");
    }
    assert_same(&sent, &arrived);
    let keeps = |tensor: &&Tensor| tensor.stored().1.is_some();
    let kept = arrived.iter().filter(keeps).count();
    // All whole ones, and of parts those whose rows lie outermost.
    let all = (1 + 5 + 23) + (1 + 5);
    match carrier {
        Carrier::Lz4 | Carrier::Zstd => assert!(kept < all),
        _ => assert_eq!(kept, all),
    }
}

fn the_most_tensors_that_are_allowed_travel_in_one_envelope(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let tensor = |index: usize| {
        let bytes = index.to_le_bytes();
        Tensor::copy_of(DType::U64, vec![1], &bytes).unwrap()
    };
    let sent: Vec<_> = (0..TENSORS_MAX).map(tensor).collect();
    assert_same(&sent, &carry(&mut link, &sent));
}

fn one_tensor_more_is_refused_by_the_producer(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let many = (0..=TENSORS_MAX).map(|_| (0, small())).collect();
    let sent = link
        .producer
        .outbound
        .send(envelope(1, Body::Tensors(many)));
    assert!(matches!(sent, Err(LinkError::Tensors { .. })), "{sent:?}");
}

fn a_large_tensor_arrives_as_it_was(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let mut bytes = vec![0; 48 << 20];
    fastrand::Rng::with_seed(13).fill(&mut bytes);
    let sent = [Tensor::copy_of(DType::F32, vec![12 << 20], &bytes).unwrap()];
    assert_same(&sent, &carry(&mut link, &sent));
    let copied = link.consumer.inbound.moved().copied;
    assert_eq!(copied, 0, "large payloads are read in place");
}

fn bytes_move_only_between_processes_and_there_once(carrier: Carrier) {
    let mut link = Link::new(carrier, 2);
    let sent = [
        Tensor::copy_of(DType::F32, vec![256, 256], &[7; 4 * 256 * 256]).unwrap(),
        small(),
    ];
    let arrived = carry(&mut link, &sent);
    let bytes: usize = sent.iter().map(Tensor::byte_count).sum();
    let (out, back) = (
        link.producer.outbound.moved(),
        link.consumer.inbound.moved(),
    );
    let same_memory = arrived[0].bytes().as_ptr() == sent[0].bytes().as_ptr();
    if carrier == Carrier::Inproc {
        assert!(same_memory);
        assert_eq!((out, back), (Moved::default(), Moved::default()));
    } else if carrier == Carrier::Arena {
        assert!(!same_memory);
        let bytes = bytes as u64;
        assert_eq!((out.bytes, out.lent, out.copied), (0, bytes, bytes));
        assert_eq!((back.bytes, back.lent, back.copied), (0, bytes, 0));
    } else {
        assert!(!same_memory);
        assert_eq!((out.bytes, back.bytes), (bytes as u64, bytes as u64));
        assert_eq!(out.copied, 0);
    }
}

fn a_tensor_is_freed_with_its_last_holder(carrier: Carrier) {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut link = Link::new(carrier, 4);
    link.producer
        .send(tensors(1, Counted::tensor(&alive, 100_000)));
    let received = link.arrive(1);
    if carrier == Carrier::Inproc {
        assert_eq!(alive.load(Ordering::SeqCst), 1);
    }
    drop(received);
    link.until("the tensor is freed", |_| alive.load(Ordering::SeqCst) == 0);
}

fn closing_both_ends_with_messages_between_them_leaks_nothing(carrier: Carrier) {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut link = Link::new(carrier, 8);
    for request in 0..20 {
        link.producer
            .send(tensors(request, Counted::tensor(&alive, 100_000)));
    }
    let copied = carrier == Carrier::Arena;
    assert!(alive.load(Ordering::SeqCst) >= if copied { 0 } else { 12 });
    drop(link);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

fn a_consumer_that_closes_under_load_leaks_nothing(carrier: Carrier) {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut link = Link::new(carrier, 64);
    for request in 0..200 {
        link.producer
            .send(tensors(request, Counted::tensor(&alive, 10_000)));
    }
    link.arrive(1);
    let Link {
        mut producer,
        consumer,
        place,
    } = link;
    drop(consumer);
    for request in 200..400 {
        producer.send(tensors(request, Counted::tensor(&alive, 10_000)));
        producer.step();
    }
    drop((producer, place));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

fn a_producer_that_closes_under_load_leaks_nothing(carrier: Carrier) {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut link = Link::new(carrier, 64);
    for request in 0..200 {
        link.producer
            .send(tensors(request, Counted::tensor(&alive, 10_000)));
    }
    let early = link.arrive(1);
    let Link {
        producer,
        mut consumer,
        place,
    } = link;
    drop(producer);
    consumer.step();
    for received in early.iter().chain(&consumer.arrived) {
        consumer.inbound.release(received.peer).unwrap();
    }
    drop(early);
    // The name is free for another.
    let mut next = Producer::connect(
        if carrier == Carrier::Inproc {
            consumer.context.clone()
        } else {
            Context::new(party(1))
        },
        &consumer.endpoint,
        "producer",
    );
    next.send(tensors(1000, small()));
    until("the next producer is heard", || {
        next.step();
        consumer.step();
        consumer
            .arrived
            .iter()
            .any(|one| one.envelope.address.request == RequestId(1000))
    });
    drop((next, consumer, place));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

fn names_are_bounded(carrier: Carrier) {
    let link = Link::new(carrier, 1);
    let (context, endpoint) = (&link.producer.context, &link.consumer.endpoint);
    for name in [String::new(), "n".repeat(NAME_BYTES_MAX + 1)] {
        let error = Outbound::connect(context, endpoint, &name).unwrap_err();
        assert!(matches!(error, LinkError::NameLength { .. }), "{error}");
    }
    Outbound::connect(context, endpoint, &"n".repeat(NAME_BYTES_MAX)).unwrap();
}

/// Both ends write to the sockets that they wait on, so an edge may pass while they write.
fn edges_wake_both_ends_while_credits_flow_back(carrier: Carrier) {
    const COUNT: u64 = 500;
    let Link {
        mut producer,
        mut consumer,
        place,
    } = Link::new(carrier, 2);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            let edges = producer.outbound.edges().unwrap();
            for request in 0..COUNT {
                producer.send(tensors(request, small()));
            }
            let all = async {
                // Drained, then waited for, as the edges ask.
                loop {
                    producer.step();
                    if producer.outbound.backlog() == 0 {
                        break;
                    }
                    edges.next().await.unwrap();
                }
            };
            tokio::time::timeout(WATCHDOG, all)
                .await
                .expect("an edge of a credit was lost");
        });
        producer
    });
    let mut seen = Vec::new();
    runtime().block_on(async {
        let edges = consumer.inbound.edges().unwrap();
        let all = async {
            loop {
                while let Some(received) = consumer.inbound.try_receive().unwrap() {
                    let received = received.unwrap();
                    seen.push(received.envelope.address.request.0);
                    consumer.inbound.release(received.peer).unwrap();
                }
                if seen.len() as u64 == COUNT {
                    break;
                }
                edges.next().await.unwrap();
            }
        };
        tokio::time::timeout(WATCHDOG, all)
            .await
            .expect("an edge of a tensor was lost");
    });
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
    drop((thread.join().unwrap(), consumer, place));
}

#[test]
fn binding_a_taken_name_is_an_error_that_names_it() {
    for carrier in [Carrier::Inproc, Carrier::Tcp] {
        let link = Link::new(carrier, 1);
        let endpoint = link.consumer.endpoint.clone();
        let context = &link.consumer.context;
        let error = Inbound::bind(context, std::slice::from_ref(&endpoint), Window(1)).unwrap_err();
        assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
    }
}

#[test]
fn one_consumer_listens_on_every_carrier_at_once() {
    let carriers = [Carrier::Inproc, Carrier::Ipc, Carrier::Arena, Carrier::Tcp];
    let places = carriers.map(Place::new);
    let endpoints: Vec<_> = places.iter().map(Place::endpoint).collect();
    let context = Context::new(party(1));
    let mut inbound = Inbound::bind(&context, &endpoints, Window(2)).unwrap();
    let bound = inbound.endpoints().unwrap();
    let mut producers: Vec<_> = bound
        .iter()
        .enumerate()
        .map(|(index, endpoint)| {
            Producer::connect(context.clone(), endpoint, &format!("producer-{index}"))
        })
        .collect();
    for producer in &mut producers {
        (0..20).for_each(|request| producer.send(tensors(request, small())));
    }
    let mut seen = std::collections::HashMap::<_, Vec<u64>>::new();
    until("80 envelopes", || {
        producers.iter_mut().for_each(Producer::step);
        while let Some(received) = inbound.try_receive().unwrap() {
            let received = received.unwrap();
            let of_peer = seen.entry(received.peer).or_default();
            of_peer.push(received.envelope.address.request.0);
            inbound.release(received.peer).unwrap();
        }
        seen.values().map(Vec::len).sum::<usize>() == 80
    });
    assert_eq!(seen.len(), 4);
    let in_order: Vec<u64> = (0..20).collect();
    assert!(seen.values().all(|of_peer| *of_peer == in_order));
}
