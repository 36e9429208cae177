//! Envelopes on the wire: what is written is read back, and nothing else is believed.

use std::time::Duration;

use blockflow::tensormq::{Addressed, Body, Envelope, HEADER_BYTES_MAX, LinkError, decode, encode};
use blockflow::types::{
    DType, Epoch, Failure, FailureKind, PipelineId, RANK_MAX, RequestId, StepId, TENSORS_MAX,
    Tensor, byte_count,
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
        Tensor::copy_of(dtype, shape, &bytes).unwrap()
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    let failures = (
        prop::sample::select(FailureKind::ALL.to_vec()),
        "[a-z]{0,20}",
        ".{0,80}",
    );
    prop_oneof![
        Just(Body::Hello),
        Just(Body::Cancel),
        prop::collection::vec((any::<u16>(), tensors()), 0..6).prop_map(Body::Tensors),
        failures.prop_map(|(kind, block, cause)| {
            let block = (!block.is_empty()).then_some(block);
            Body::Failure(Failure { kind, block, cause })
        }),
    ]
}

fn carried(body: &Body) -> Vec<Tensor> {
    match body {
        Body::Tensors(tensors) => tensors.iter().map(|(_, tensor)| tensor.clone()).collect(),
        _ => Vec::new(),
    }
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
        address in addresses(), body in bodies(), sequence in any::<u64>()
    ) {
        let envelope = Envelope { address, body };
        let header = encode(&envelope, sequence).unwrap();
        prop_assert!(header.len() <= HEADER_BYTES_MAX);
        let (back, seen) = decode(&header, carried(&envelope.body)).unwrap();
        prop_assert_eq!(seen, sequence);
        prop_assert_eq!(back.address, envelope.address);
        prop_assert_eq!(format!("{:?}", back.body), format!("{:?}", envelope.body));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, Vec::new());
    }

    #[test]
    fn a_damaged_header_never_panics(
        body in bodies(), at in any::<prop::sample::Index>(), flip in 1_u8..
    ) {
        let envelope = Envelope { address: address(), body };
        let mut header = encode(&envelope, 0).unwrap();
        let at = at.index(header.len());
        header[at] ^= flip;
        let _ = decode(&header, carried(&envelope.body));
    }

    #[test]
    fn a_shortened_or_lengthened_header_is_refused(body in bodies(), cut in any::<prop::sample::Index>()) {
        let envelope = Envelope { address: address(), body };
        let mut header = encode(&envelope, 0).unwrap();
        let short = &header[..cut.index(header.len())];
        prop_assert!(decode(short, carried(&envelope.body)).is_err());
        header.push(0);
        prop_assert!(decode(&header, carried(&envelope.body)).is_err());
    }
}

#[test]
fn another_version_is_refused_with_both_versions_named() {
    let mut header = encode(&one_tensor(), 0).unwrap();
    header[4] = 9;
    let error = decode(&header, Vec::new()).unwrap_err();
    assert!(
        matches!(
            error,
            LinkError::Version {
                seen: 9,
                expected: 1
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
    )
    .unwrap_err();
    assert!(matches!(error, LinkError::Tensors { .. }), "{error}");
    let mut header = encode(&one_tensor(), 0).unwrap();
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
    );
    assert!(matches!(error, Err(LinkError::Rank { .. })), "{error:?}");
    let mut header = encode(&one_tensor(), 0).unwrap();
    header[43] = 255;
    let error = decode(&header, Vec::new()).unwrap_err();
    assert!(
        matches!(error, LinkError::Rank { seen: 255, .. }),
        "{error}"
    );
}

#[test]
fn a_tensor_other_than_announced_is_refused() {
    let header = encode(&one_tensor(), 0).unwrap();
    for (dtype, shape) in [
        (DType::U8, vec![3, 2]),
        (DType::I8, vec![2, 3]),
        (DType::U8, vec![6]),
    ] {
        let other = Tensor::copy_of(dtype, shape, &[0; 6]).unwrap();
        let error = decode(&header, vec![other]).unwrap_err();
        assert!(
            matches!(error, LinkError::Announced { index: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_missing_or_superfluous_frame_is_refused() {
    let envelope = one_tensor();
    let header = encode(&envelope, 0).unwrap();
    let tensor = carried(&envelope.body).remove(0);
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
    )
    .unwrap();
    let (back, _) = decode(&header, Vec::new()).unwrap();
    let Body::Failure(failure) = back.body else {
        panic!("not a failure")
    };
    assert_eq!(failure.cause, "é".repeat(2048));
}
