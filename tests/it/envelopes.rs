//! Envelopes on the wire: what is written is read back, and nothing else is believed.

use std::sync::Arc;
use std::time::Duration;

use blockflow::tensormq::{
    Addressed, Announcement, BlockState, Body, Condition, Digest, Envelope, Form, Grant,
    HEADER_BYTES_MAX, Hello, LinkError, LostReceiver, NAME_BYTES_MAX, Party, Payload, PoolRange,
    RETURNS_MAX, Refusal, SlotId, SlotRange, VERSION, Welcome, decode, encode,
};
use blockflow::types::{
    DType, Epoch, Failure, FailureKind, HostMemory, Order, POOL_EVENTS_MAX, PipelineId, PoolCard,
    PoolPlace, RANK_MAX, RequestId, StepId, TENSORS_MAX, Tensor, byte_count,
};
use proptest::prelude::*;

fn addresses() -> impl Strategy<Value = Addressed> {
    (
        any::<u64>(),
        any::<u32>(),
        any::<u16>(),
        any::<u16>(),
        any::<u64>(),
    )
        .prop_map(|(request, epoch, pipeline, step, micros)| Addressed {
            request: RequestId(request),
            epoch: Epoch(epoch),
            pipeline: PipelineId(pipeline),
            step: StepId(step),
            time_left: Duration::from_micros(micros),
        })
}

fn tensors() -> impl Strategy<Value = Tensor> {
    let dtypes = DType::ALL
        .into_iter()
        .filter(|dtype| dtype.size().is_some())
        .collect::<Vec<_>>();
    let shapes = prop::collection::vec(0_usize..4, 0..5);
    (prop::sample::select(dtypes), shapes).prop_map(|(dtype, shape)| {
        let bytes = vec![1_u8; byte_count(dtype, &shape).unwrap()];
        // Some of them lie in another order.
        match Order::new((0..shape.len() as u8).rev().collect::<Vec<_>>()) {
            Some(order) if shape[0] % 2 == 1 => {
                Tensor::in_order(dtype, shape, order, Arc::new(bytes)).unwrap()
            }
            _ => Tensor::copy_of(dtype, shape, &bytes).unwrap(),
        }
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    let failures = (
        prop::sample::select(FailureKind::ALL.to_vec()),
        "[a-z]{0,20}",
        ".{0,80}",
    );
    prop_oneof![
        Just(Body::Cancel),
        states().prop_map(Body::State),
        (any::<u16>(), any::<u16>(), any::<u64>()).prop_map(|(block, instance, incarnation)| {
            Body::Lost(LostReceiver {
                block,
                instance,
                incarnation,
            })
        }),
        prop::collection::vec((any::<u16>(), tensors()), 0..6).prop_map(Body::Tensors),
        failures.prop_map(|(kind, block, cause)| {
            let block = (!block.is_empty()).then_some(block);
            Body::Failure(Failure { kind, block, cause })
        }),
    ]
}

fn states() -> impl Strategy<Value = BlockState> {
    let conditions = [
        Condition::Serving,
        Condition::Restarting,
        Condition::GivenUp,
    ];
    (
        any::<u16>(),
        any::<u16>(),
        prop::sample::select(conditions.to_vec()),
        ".{0,80}",
    )
        .prop_map(|(block, instance, condition, cause)| BlockState {
            block,
            instance,
            condition,
            cause,
        })
}

fn slots(max: usize) -> impl Strategy<Value = Vec<SlotId>> {
    let slot = any::<(u64, u64)>().prop_map(|(offset, generation)| SlotId { offset, generation });
    prop::collection::vec(slot, 0..=max)
}

fn announcements() -> impl Strategy<Value = Announcement> {
    any::<(u32, u32, u64, u64)>().prop_map(|(process, descriptor, bytes, id)| Announcement {
        process,
        descriptor,
        bytes,
        id,
    })
}

fn cards() -> impl Strategy<Value = PoolCard> {
    let handle = || {
        any::<(u64, u64)>().prop_map(|(one, other)| {
            let words = [one, other, !one, !other, one, other, one, !other];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            <[u8; 64]>::try_from(bytes).unwrap()
        })
    };
    let events = prop::collection::vec(handle(), 1..=POOL_EVENTS_MAX);
    (any::<[u8; 16]>(), any::<u64>(), handle(), events).prop_map(
        |(device, bytes, memory, events)| PoolCard {
            device,
            bytes,
            memory,
            events,
        },
    )
}

fn forms() -> impl Strategy<Value = Form> {
    prop::sample::select(vec![Form::Handle, Form::Bytes])
}

fn carried(body: &Body, form: Form) -> Vec<Payload> {
    let payload = |(_, tensor): &(u16, Tensor)| match form {
        Form::Handle => Payload::Handle(tensor.clone()),
        Form::Bytes | Form::Slot(_) | Form::Pool(_) | Form::Encoded(_) => {
            Payload::Bytes(Arc::new(tensor.stored().0.to_vec()))
        }
    };
    match body {
        Body::Tensors(tensors) => tensors.iter().map(payload).collect(),
        _ => Vec::new(),
    }
}

fn greetings() -> impl Strategy<Value = (Hello, Welcome, Grant)> {
    let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>());
    let arena = prop::option::of(announcements());
    let pool = (prop::option::of(cards()), any::<bool>());
    let shared = (arena, prop::option::of(slots(20)), slots(RETURNS_MAX), pool);
    (numbers, any::<[u8; 32]>(), "[a-z/é]{1,60}", shared).prop_map(
        |((incarnation, connection, window, credits), digest, name, shared)| {
            let (arena, held, returned, (pool, pooled)) = shared;
            let party = Party {
                incarnation,
                digest: Digest(digest),
            };
            let hello = Hello {
                party,
                connection,
                name,
                pool: pool.filter(|_| arena.is_some()),
                arena,
            };
            let welcome = Welcome {
                incarnation,
                connection,
                window,
                credits,
                pool: pooled && held.is_some(),
                held,
            };
            let grant = Grant {
                connection,
                credits,
                returned,
            };
            (hello, welcome, grant)
        },
    )
}

/// Reads a frame as everything that it might be.
fn read_as_anything(frame: &[u8]) {
    let _ = decode(frame, Vec::new());
    let _ = Hello::decode(frame);
    let _ = Welcome::decode(frame);
    let _ = Refusal::decode(frame);
    let _ = Grant::decode(frame);
}

fn address() -> Addressed {
    Addressed {
        request: RequestId(7),
        epoch: Epoch(1),
        pipeline: PipelineId(0),
        step: StepId(0),
        time_left: Duration::from_secs(1),
    }
}

fn one_tensor() -> Envelope {
    let tensor = Tensor::copy_of(DType::U8, vec![2, 3], &[0; 6]).unwrap();
    Envelope {
        address: address(),
        body: Body::Tensors(vec![(0, tensor)]),
    }
}

proptest! {
    #[test]
    fn an_envelope_survives_encoding_and_decoding(
        address in addresses(), body in bodies(), sequence in any::<u64>(), form in forms()
    ) {
        let envelope = Envelope { address, body };
        let header = encode(&envelope, sequence, form).unwrap();
        prop_assert!(header.len() <= HEADER_BYTES_MAX);
        let (back, seen) = decode(&header, carried(&envelope.body, form)).unwrap();
        prop_assert_eq!(seen, sequence);
        prop_assert_eq!(back.address, envelope.address);
        prop_assert_eq!(format!("{:?}", back.body), format!("{:?}", envelope.body));
    }

    #[test]
    fn greetings_survive_encoding_and_decoding(
        (hello, welcome, grant) in greetings(), reason in ".{0,80}"
    ) {
        prop_assert_eq!(Hello::decode(&hello.encode()).unwrap(), hello.clone());
        prop_assert_eq!(Welcome::decode(&welcome.encode()).unwrap(), welcome);
        prop_assert_eq!(Grant::decode(&grant.encode()).unwrap(), grant);
        let refusal = Refusal { connection: hello.connection, reason };
        prop_assert_eq!(Refusal::decode(&refusal.encode()).unwrap(), refusal);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_as_anything(&bytes);
    }

    #[test]
    fn a_damaged_frame_never_panics(
        body in bodies(), (hello, welcome, grant) in greetings(),
        at in any::<prop::sample::Index>(), flip in 1_u8..
    ) {
        let envelope = Envelope { address: address(), body };
        let header = encode(&envelope, 0, Form::Bytes).unwrap();
        for mut frame in [header, hello.encode(), welcome.encode(), grant.encode()] {
            let at = at.index(frame.len());
            frame[at] ^= flip;
            read_as_anything(&frame);
            let _ = decode(&frame, carried(&envelope.body, Form::Bytes));
        }
    }

    #[test]
    fn a_shortened_or_lengthened_frame_is_refused(
        body in bodies(), (hello, welcome, grant) in greetings(), cut in any::<prop::sample::Index>()
    ) {
        let envelope = Envelope { address: address(), body };
        let mut header = encode(&envelope, 0, Form::Handle).unwrap();
        let payloads = || carried(&envelope.body, Form::Handle);
        prop_assert!(decode(&header[..cut.index(header.len())], payloads()).is_err());
        header.push(0);
        prop_assert!(decode(&header, payloads()).is_err());
        let reason = "no".to_owned();
        let refusal = Refusal { connection: 1, reason };
        for mut frame in [hello.encode(), welcome.encode(), grant.encode(), refusal.encode()] {
            for short in [frame[..cut.index(frame.len())].to_vec(), { frame.push(0); frame }] {
                prop_assert!(Hello::decode(&short).is_err());
                prop_assert!(Welcome::decode(&short).is_err());
                prop_assert!(Grant::decode(&short).is_err());
                prop_assert!(Refusal::decode(&short).is_err());
            }
        }
    }
}

/// The bytes as they are documented, so that a change of them is a change of this test and of the version.
#[test]
fn frames_are_laid_out_as_documented() {
    let party = Party {
        incarnation: 0x0807_0605_0403_0201,
        digest: Digest([0xdd; 32]),
    };
    let name = "ab".to_owned();
    let hello = Hello {
        party,
        connection: 9,
        name,
        arena: None,
        pool: None,
    };
    let mut expected = b"BFMQ\x04\x01\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08".to_vec();
    expected.extend([0xdd; 32]);
    expected.extend([9, 0, 0, 0, 0, 2, 0, 0, b'a', b'b']);
    assert_eq!(hello.encode(), expected);
    let grant = Grant {
        connection: 1,
        credits: 258,
        returned: Vec::new(),
    };
    let expected = b"BFMQ\x04\x83\x00\x00\x01\x00\x00\x00\x02\x01\x00\x00";
    assert_eq!(grant.encode(), expected);
    let number = |number: u64| number.to_le_bytes();
    let slot = SlotId {
        offset: 4096,
        generation: 3,
    };
    let returned = vec![slot];
    let grant = Grant { returned, ..grant };
    let slot_bytes = [number(4096), number(3)].concat();
    let start = b"BFMQ\x04\x83\x01\x00\x01\x00\x00\x00\x02\x01\x00\x00";
    assert_eq!(grant.encode(), [&start[..], &slot_bytes].concat());
    let arena = Some(Announcement {
        process: 1,
        descriptor: 2,
        bytes: 3,
        id: 4,
    });
    let hello = Hello { arena, ..hello };
    let tail = hello.encode()[48..].to_vec();
    let mut expected = vec![9, 0, 0, 0, 1, 2, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
    expected.extend([number(3), number(4)].concat());
    expected.extend(b"ab");
    assert_eq!(tail, expected);
    let welcome = Welcome {
        incarnation: 5,
        connection: 1,
        window: 2,
        credits: 3,
        held: Some(vec![slot]),
        pool: false,
    };
    let frame = welcome.encode();
    assert_eq!(frame[..8], *b"BFMQ\x04\x81\x01\x00");
    assert_eq!(
        frame[16..32],
        [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0]
    );
    assert_eq!(frame[32..], slot_bytes);
    let reason = "no".to_owned();
    let welcome = Welcome {
        pool: true,
        ..welcome
    };
    assert_eq!(welcome.encode()[28..32], [1, 1, 0, 0]);
    let card = PoolCard {
        device: [7; 16],
        bytes: 9,
        memory: [8; 64],
        events: vec![[5; 64], [6; 64]],
    };
    let hello = Hello {
        pool: Some(card),
        ..hello
    };
    let frame = hello.encode();
    assert_eq!(frame[52..56], [1, 2, 1, 0]);
    let mut expected = vec![7; 16];
    expected.extend(number(9));
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    for byte in [8, 5, 6] {
        expected.extend([byte; 64]);
    }
    expected.extend(b"ab");
    assert_eq!(frame[80..], expected);
    assert_eq!(Hello::decode(&frame).unwrap(), hello);
    // No event, more than there may be, a pool without an arena.
    for (at, value) in [(104, 0), (104, 33), (105, 1), (52, 0), (54, 2)] {
        let mut odd = frame.clone();
        odd[at] = value;
        assert!(Hello::decode(&odd).is_err(), "{at}");
    }
    let refusal = Refusal {
        connection: 3,
        reason,
    };
    let expected = b"BFMQ\x04\x82\x02\x00\x03\x00\x00\x00no";
    assert_eq!(refusal.encode(), expected);
    let header = encode(&one_tensor(), 5, Form::Bytes).unwrap();
    assert_eq!(header[..8], *b"BFMQ\x04\x02\x01\x00");
    assert_eq!(
        header[8..24],
        [5, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
    );
    let tensor = [
        0, 0, 1, 2, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(header[40..], tensor);
    let form = Form::Slot(SlotRange {
        slot,
        start: 64,
        length: 6,
    });
    let header = encode(&one_tensor(), 5, form).unwrap();
    assert_eq!(header[44..48], [2, 0, 0, 0]);
    assert_eq!(header[48..64], tensor[8..]);
    assert_eq!(header[64..], [4096, 3, 64, 6].map(number).concat());
    let place = PoolPlace {
        offset: 128,
        length: 6,
        event: 0x0201,
    };
    let form = Form::Pool(PoolRange { slot, place });
    let header = encode(&one_tensor(), 5, form).unwrap();
    assert_eq!(header[44..48], [4, 0, 0, 0]);
    let words = [4096, 3, 128, 6].map(number).concat();
    assert_eq!(header[64..96], words);
    assert_eq!(header[96..], [1, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(blockflow::tensormq::forms(&header).unwrap(), [form]);
    let mut odd = header.clone();
    odd[98] = 1;
    assert!(blockflow::tensormq::forms(&odd).is_err());
    assert!(blockflow::tensormq::forms(&header[..95]).is_err());
}

/// The envelope of [`one_tensor`], whose columns lie outermost.
fn ordered() -> Envelope {
    let order = Order::new([1, 0]).unwrap();
    let memory = Arc::new((0..6).collect::<Vec<u8>>());
    let tensor = Tensor::in_order(DType::U8, vec![2, 3], order, memory).unwrap();
    Envelope {
        address: address(),
        body: Body::Tensors(vec![(0, tensor)]),
    }
}

#[test]
fn an_order_stands_behind_the_sizes_unless_the_tensor_is_a_handle() {
    let envelope = ordered();
    let header = encode(&envelope, 5, Form::Bytes).unwrap();
    assert_eq!(header[44..48], [1, 0, 0, 1]);
    assert_eq!(header[64..], [1, 0]);
    let (back, _) = decode(&header, carried(&envelope.body, Form::Bytes)).unwrap();
    let Body::Tensors(tensors) = back.body else {
        panic!("no tensors")
    };
    assert_eq!(tensors[0].1.bytes(), [0, 2, 4, 1, 3, 5]);
    assert_eq!(tensors[0].1.stored().0, [0, 1, 2, 3, 4, 5]);
    let range = SlotRange {
        slot: SlotId {
            offset: 4096,
            generation: 3,
        },
        start: 0,
        length: 6,
    };
    let header = encode(&envelope, 5, Form::Slot(range)).unwrap();
    assert_eq!((&header[44..48], header.len()), (&[2, 0, 0, 1][..], 98));
    assert_eq!(header[64..66], [1, 0]);
    let header = encode(&envelope, 5, Form::Handle).unwrap();
    assert_eq!((&header[44..48], header.len()), (&[0; 4][..], 64));
}

#[test]
fn an_order_that_is_none_is_refused() {
    let envelope = ordered();
    let sound = encode(&envelope, 5, Form::Bytes).unwrap();
    for order in [[0, 1], [1, 1], [0, 0], [1, 2], [255, 0]] {
        let mut header = sound.clone();
        header[64..].copy_from_slice(&order);
        let error = decode(&header, carried(&envelope.body, Form::Bytes)).unwrap_err();
        assert!(
            matches!(&error, LinkError::Order { seen } if *seen == order),
            "{error}"
        );
    }
    for (at, code) in [(47, 2), (47, 255), (44, 0), (45, 1), (46, 1)] {
        let mut header = sound.clone();
        header[at] = code;
        let error = decode(&header, carried(&envelope.body, Form::Bytes)).unwrap_err();
        assert!(matches!(error, LinkError::Field { .. }), "{error}");
    }
    let error = decode(&sound[..65], carried(&envelope.body, Form::Bytes)).unwrap_err();
    assert!(matches!(error, LinkError::HeaderLength { .. }), "{error}");
    // BYTES have no elements of one size to put in order.
    let mut texts = sound;
    texts[42] = DType::ALL
        .iter()
        .position(|&dtype| dtype == DType::Bytes)
        .unwrap() as u8;
    let error = decode(&texts, carried(&envelope.body, Form::Bytes)).unwrap_err();
    assert!(matches!(error, LinkError::Payload { .. }), "{error}");
}

#[test]
fn a_refusal_of_any_version_is_read() {
    let reason = "too old".to_owned();
    let refusal = Refusal {
        connection: 0,
        reason,
    };
    let mut frame = refusal.encode();
    frame[4] = VERSION + 1;
    assert_eq!(Refusal::decode(&frame).unwrap(), refusal);
}

#[test]
fn an_overlong_name_or_reason_is_cut_and_an_empty_or_odd_name_refused() {
    let (party, connection) = (Party::new(Digest([0; 32])), 1);
    let name = "é".repeat(300);
    let hello = Hello {
        party,
        connection,
        name,
        arena: None,
        pool: None,
    };
    let mut frame = hello.encode();
    let back = Hello::decode(&frame).unwrap();
    assert_eq!(back.name, "é".repeat(NAME_BYTES_MAX / 2));
    frame[56] = 0xff;
    let error = Hello::decode(&frame).unwrap_err();
    assert!(matches!(error, LinkError::Name), "{error}");
    let name = String::new();
    let empty = Hello { name, ..hello };
    assert!(Hello::decode(&empty.encode()).is_err());
    let reason = "é".repeat(2000);
    let refusal = Refusal { connection, reason };
    let back = Refusal::decode(&refusal.encode()).unwrap();
    assert_eq!(back.reason, "é".repeat(512));
}

#[test]
fn a_payload_in_another_form_than_announced_is_refused() {
    let envelope = one_tensor();
    for (announced, seen) in [(Form::Handle, Form::Bytes), (Form::Bytes, Form::Handle)] {
        let header = encode(&envelope, 0, announced).unwrap();
        let error = decode(&header, carried(&envelope.body, seen)).unwrap_err();
        assert!(matches!(error, LinkError::Form { index: 0, .. }), "{error}");
    }
    let mut header = encode(&envelope, 0, Form::Bytes).unwrap();
    header[44] = 2;
    assert!(decode(&header, carried(&envelope.body, Form::Bytes)).is_err());
}

#[test]
fn bytes_that_are_not_what_was_announced_are_refused() {
    let envelope = one_tensor();
    let header = encode(&envelope, 0, Form::Bytes).unwrap();
    for bytes in [0, 5, 7, 6000] {
        let payload = Payload::Bytes(Arc::new(vec![0_u8; bytes]));
        let error = decode(&header, vec![payload]).unwrap_err();
        assert!(
            matches!(error, LinkError::Payload { index: 0, .. }),
            "{error}"
        );
    }
    // Sizes whose product is 6 where it may overflow.
    let mut header = header;
    header[48..56].copy_from_slice(&(1_u64 << 63 | 2).to_le_bytes());
    header[56..64].copy_from_slice(&6_u64.to_le_bytes());
    let payload = Payload::Bytes(Arc::new(vec![0_u8; 12]));
    let error = decode(&header, vec![payload]).unwrap_err();
    assert!(
        matches!(error, LinkError::Payload { index: 0, .. }),
        "{error}"
    );
}

#[test]
fn bytes_that_lie_across_their_elements_are_copied() {
    #[derive(Debug)]
    struct Shifted(Vec<u64>);
    impl HostMemory for Shifted {
        fn bytes(&self) -> &[u8] {
            &bytemuck::cast_slice(&self.0)[1..9]
        }
    }
    let tensor = Tensor::copy_of(DType::F64, vec![1], &[0; 8]).unwrap();
    let body = Body::Tensors(vec![(0, tensor)]);
    let address = address();
    let header = encode(&Envelope { address, body }, 0, Form::Bytes).unwrap();
    let numbers = vec![0x0807_0605_0403_0201, 0xff];
    let payload = Payload::Bytes(Arc::new(Shifted(numbers)));
    let (envelope, _) = decode(&header, vec![payload]).unwrap();
    let Body::Tensors(tensors) = envelope.body else {
        panic!("no tensors")
    };
    let bytes = tensors[0].1.bytes();
    assert_eq!(bytes, [2, 3, 4, 5, 6, 7, 8, 0xff]);
    assert!(bytes.as_ptr().addr().is_multiple_of(8));
}

#[test]
fn another_version_is_refused_with_both_versions_named() {
    let mut header = encode(&one_tensor(), 0, Form::Handle).unwrap();
    header[4] = 9;
    let error = decode(&header, Vec::new()).unwrap_err();
    assert!(
        matches!(
            error,
            LinkError::Version {
                seen: 9,
                expected: VERSION
            }
        ),
        "{error}"
    );
}

#[test]
fn a_foreign_message_is_refused() {
    let error = decode(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\nmore", Vec::new()).unwrap_err();
    assert!(matches!(error, LinkError::Magic { .. }), "{error}");
}

#[test]
fn more_tensors_than_allowed_are_refused_on_both_sides() {
    let tensor = Tensor::copy_of(DType::U8, vec![0], &[]).unwrap();
    let many = (0..=TENSORS_MAX).map(|_| (0, tensor.clone())).collect();
    let error = encode(
        &Envelope {
            address: address(),
            body: Body::Tensors(many),
        },
        0,
        Form::Handle,
    )
    .unwrap_err();
    assert!(matches!(error, LinkError::Tensors { .. }), "{error}");
    let mut header = encode(&one_tensor(), 0, Form::Handle).unwrap();
    header[6..8].copy_from_slice(&u16::MAX.to_le_bytes());
    let error = decode(&header, Vec::new()).unwrap_err();
    assert!(matches!(error, LinkError::Tensors { .. }), "{error}");
}

#[test]
fn more_dimensions_than_allowed_are_refused_on_both_sides() {
    let deep = Tensor::copy_of(DType::U8, vec![1; RANK_MAX + 1], &[0]).unwrap();
    let error = encode(
        &Envelope {
            address: address(),
            body: Body::Tensors(vec![(0, deep)]),
        },
        0,
        Form::Handle,
    );
    assert!(matches!(error, Err(LinkError::Rank { .. })), "{error:?}");
    let mut header = encode(&one_tensor(), 0, Form::Handle).unwrap();
    header[43] = 255;
    let error = decode(&header, Vec::new()).unwrap_err();
    assert!(
        matches!(error, LinkError::Rank { seen: 255, .. }),
        "{error}"
    );
}

#[test]
fn a_tensor_other_than_announced_is_refused() {
    let header = encode(&one_tensor(), 0, Form::Handle).unwrap();
    for (dtype, shape) in [
        (DType::U8, vec![3, 2]),
        (DType::I8, vec![2, 3]),
        (DType::U8, vec![6]),
    ] {
        let other = Tensor::copy_of(dtype, shape, &[0; 6]).unwrap();
        let error = decode(&header, vec![Payload::Handle(other)]).unwrap_err();
        assert!(
            matches!(error, LinkError::Announced { index: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_missing_or_superfluous_frame_is_refused() {
    let envelope = one_tensor();
    let header = encode(&envelope, 0, Form::Handle).unwrap();
    let tensor = carried(&envelope.body, Form::Handle).remove(0);
    for tensors in [Vec::new(), vec![tensor.clone(), tensor]] {
        let error = decode(&header, tensors).unwrap_err();
        assert!(
            matches!(error, LinkError::Frames { expected: 2, .. }),
            "{error}"
        );
    }
}

#[test]
fn an_overlong_cause_is_cut_at_a_character() {
    let failure = Failure::new(FailureKind::BlockFailed, "é".repeat(5000));
    let header = encode(
        &Envelope {
            address: address(),
            body: Body::Failure(failure),
        },
        0,
        Form::Handle,
    )
    .unwrap();
    let (back, _) = decode(&header, Vec::new()).unwrap();
    let Body::Failure(failure) = back.body else {
        panic!("not a failure")
    };
    assert_eq!(failure.cause, "é".repeat(2048));
}
