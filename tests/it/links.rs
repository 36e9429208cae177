//! Links over inproc: order, back-pressure, no copies, no leaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use blockflow::tensormq::{
    Addressed, Body, Context, Envelope, Inbound, Outbound, Received, Window,
};
use blockflow::types::{
    DType, Endpoint, Epoch, Failure, FailureKind, HostMemory, PipelineId, RequestId, StepId, Tensor,
};

const WATCHDOG: Duration = Duration::from_secs(20);

/// Memory that counts how many of its kind are alive.
#[derive(Debug)]
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn tensor(alive: &Arc<AtomicUsize>) -> Tensor {
        alive.fetch_add(1, Ordering::SeqCst);
        let memory = Self {
            bytes: vec![0; 4],
            alive: alive.clone(),
        };
        Tensor::new(DType::U8, vec![4], Arc::new(memory)).unwrap()
    }
}

impl HostMemory for Counted {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

fn endpoint() -> Endpoint {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Endpoint::Inproc(format!(
        "links-test-{}",
        NEXT.fetch_add(1, Ordering::Relaxed)
    ))
}

fn address(request: u64) -> Addressed {
    Addressed {
        request: RequestId(request),
        epoch: Epoch(1),
        pipeline: PipelineId(0),
        step: StepId(0),
        time_left: Duration::from_secs(1),
    }
}

fn tensors(request: u64, tensor: Tensor) -> Envelope {
    Envelope {
        address: address(request),
        body: Body::Tensors(vec![(0, tensor)]),
    }
}

fn small() -> Tensor {
    Tensor::copy_of(DType::U8, vec![1], &[1]).unwrap()
}

struct Pair {
    inbound: Inbound,
    outbound: Outbound,
}

impl Pair {
    fn new(window: u32) -> Self {
        let (context, endpoint) = (Context::new(), endpoint());
        let inbound = Inbound::bind(&context, &endpoint, Window(window)).unwrap();
        let outbound = Outbound::connect(&context, &endpoint, "producer").unwrap();
        let mut pair = Self { inbound, outbound };
        pair.settle();
        pair
    }

    /// Lets greetings and credits pass both ways until nothing moves; returns what arrived.
    fn settle(&mut self) -> Vec<Received> {
        let mut arrived = Vec::new();
        let mut quiet = 0;
        let started = Instant::now();
        while quiet < 3 {
            assert!(started.elapsed() < WATCHDOG, "the link never comes to rest");
            let before = arrived.len();
            while let Some(received) = self.inbound.try_receive().unwrap() {
                arrived.push(received.unwrap());
            }
            let credited = self.outbound.poll().unwrap();
            quiet = if credited || arrived.len() > before {
                0
            } else {
                quiet + 1
            };
        }
        arrived
    }
}

#[test]
fn a_full_window_blocks_the_producer_until_credit_returns() {
    let mut pair = Pair::new(4);
    for request in 0..10 {
        pair.outbound.send(tensors(request, small())).unwrap();
    }
    let first = pair.settle();
    assert_eq!(first.len(), 4);
    assert_eq!(pair.outbound.backlog(), 6);
    for received in &first {
        pair.inbound.release(received.peer).unwrap();
    }
    assert_eq!(pair.settle().len(), 4);
    assert_eq!(pair.outbound.backlog(), 2);
}

#[test]
fn order_of_one_producer_is_kept_and_nothing_is_lost() {
    let mut pair = Pair::new(3);
    let mut seen = Vec::new();
    for request in 0..100 {
        pair.outbound.send(tensors(request, small())).unwrap();
    }
    while seen.len() < 100 {
        let arrived = pair.settle();
        assert!(!arrived.is_empty(), "stalled after {}", seen.len());
        for received in arrived {
            assert_eq!(received.lost, 0);
            pair.inbound.release(received.peer).unwrap();
            seen.push(received.envelope.address.request.0);
        }
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_failure_overtakes_tensors_that_wait_for_credit() {
    let mut pair = Pair::new(1);
    pair.outbound.send(tensors(1, small())).unwrap();
    pair.outbound.send(tensors(2, small())).unwrap();
    let failure = Failure::new(FailureKind::BlockFailed, "broken");
    pair.outbound
        .send(Envelope {
            address: address(3),
            body: Body::Failure(failure),
        })
        .unwrap();
    let seen: Vec<_> = pair
        .settle()
        .iter()
        .map(|received| received.envelope.address.request.0)
        .collect();
    assert_eq!(seen, [1, 3]);
}

#[test]
fn a_handle_arrives_at_the_same_address() {
    let mut pair = Pair::new(4);
    let tensor = Tensor::copy_of(DType::F32, vec![256, 256], &[7; 4 * 256 * 256]).unwrap();
    pair.outbound.send(tensors(1, tensor.clone())).unwrap();
    let received = pair.settle().remove(0);
    let Body::Tensors(arrived) = received.envelope.body else {
        panic!("no tensors")
    };
    assert_eq!(arrived[0].1.bytes().as_ptr(), tensor.bytes().as_ptr());
}

#[test]
fn a_received_tensor_is_freed_with_its_last_holder() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut pair = Pair::new(4);
    pair.outbound
        .send(tensors(1, Counted::tensor(&alive)))
        .unwrap();
    let received = pair.settle();
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    drop(received);
    pair.settle();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn closing_a_link_with_messages_in_it_leaks_nothing() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut pair = Pair::new(8);
    for request in 0..20 {
        pair.outbound
            .send(tensors(request, Counted::tensor(&alive)))
            .unwrap();
    }
    assert_eq!(alive.load(Ordering::SeqCst), 20);
    drop(pair);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_forgotten_request_is_not_sent_any_more() {
    let mut pair = Pair::new(1);
    for request in 0..3 {
        pair.outbound.send(tensors(request, small())).unwrap();
    }
    pair.outbound.forget(RequestId(1));
    let mut seen = Vec::new();
    for _ in 0..3 {
        for received in pair.settle() {
            pair.inbound.release(received.peer).unwrap();
            seen.push(received.envelope.address.request.0);
        }
    }
    assert_eq!(seen, [0, 2]);
}

#[test]
fn zero_size_and_many_tensors_travel_in_one_envelope() {
    let mut pair = Pair::new(2);
    let shapes = [vec![], vec![0], vec![0, 3], vec![2, 0, 5], vec![1, 2, 3]];
    let sent: Vec<_> = shapes
        .iter()
        .map(|shape| {
            let count: usize = shape.iter().product();
            Tensor::copy_of(DType::I64, shape.clone(), &vec![5; 8 * count]).unwrap()
        })
        .collect();
    let body = Body::Tensors((0..).zip(sent.iter().cloned()).collect());
    pair.outbound
        .send(Envelope {
            address: address(1),
            body,
        })
        .unwrap();
    let Body::Tensors(arrived) = pair.settle().remove(0).envelope.body else {
        panic!("no tensors")
    };
    for (index, ((port, tensor), expected)) in arrived.iter().zip(&sent).enumerate() {
        assert_eq!(usize::from(*port), index);
        assert_eq!(
            (tensor.shape(), tensor.bytes()),
            (expected.shape(), expected.bytes())
        );
    }
    assert_eq!(arrived.len(), sent.len());
}

#[test]
fn binding_a_taken_name_is_an_error_that_names_it() {
    let (context, endpoint) = (Context::new(), endpoint());
    let _first = Inbound::bind(&context, &endpoint, Window(1)).unwrap();
    let error = Inbound::bind(&context, &endpoint, Window(1)).unwrap_err();
    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn an_edge_wakes_a_consumer_that_has_drained() {
    let mut pair = Pair::new(64);
    let edges = pair.inbound.edges().unwrap();
    let mut outbound = pair.outbound;
    let producer = std::thread::spawn(move || {
        for request in 0..50 {
            outbound.send(tensors(request, small())).unwrap();
            std::thread::yield_now();
        }
        outbound
    });
    let mut seen = 0;
    let all = async {
        while seen < 50 {
            edges.next().await.unwrap();
            while let Some(received) = pair.inbound.try_receive().unwrap() {
                received.unwrap();
                seen += 1;
            }
        }
    };
    tokio::time::timeout(WATCHDOG, all)
        .await
        .expect("an edge was lost");
    producer.join().unwrap();
}

/// Both ends write to the sockets that they wait on, so an edge may pass while they write.
#[tokio::test(flavor = "current_thread")]
async fn edges_wake_both_ends_while_credits_flow_back() {
    const COUNT: u64 = 500;
    let mut pair = Pair::new(2);
    let edges = pair.inbound.edges().unwrap();
    let mut outbound = pair.outbound;
    let producer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let edges = outbound.edges().unwrap();
            for request in 0..COUNT {
                outbound.send(tensors(request, small())).unwrap();
            }
            let all = async {
                // Drained, then waited for, as the edges ask.
                loop {
                    while outbound.poll().unwrap() {}
                    if outbound.backlog() == 0 {
                        break;
                    }
                    edges.next().await.unwrap();
                }
            };
            tokio::time::timeout(WATCHDOG, all)
                .await
                .expect("an edge of a credit was lost");
        });
        outbound
    });
    let mut seen = Vec::new();
    let all = async {
        loop {
            while let Some(received) = pair.inbound.try_receive().unwrap() {
                let received = received.unwrap();
                seen.push(received.envelope.address.request.0);
                pair.inbound.release(received.peer).unwrap();
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
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
    producer.join().unwrap();
}
