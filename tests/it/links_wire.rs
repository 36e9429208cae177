//! Links between hosts whose payloads are encoded: what arrives, what it took, and what is thought of payloads that are not
//! what they are called.

use std::sync::Arc;

use blockflow::tensormq::{
    Body, COMPRESS_BYTES_MIN, Form, LinkError, MISSES_MAX, Moved, PAUSE_MIN, PayloadEncoder, encode,
};
use blockflow::types::{Compress, DType, Encoding, Encodings, Narrow, PipelineId, StepId, Tensor};

use crate::links_hostile::{Raw, header};
use crate::links_support::{Carrier, Link, envelope, small, tensors};

const BF16: Encoding = Encoding::of(Some(Narrow::BF16), None);
const LZ4: Encoding = Encoding::of(None, Some(Compress::Lz4));

/// A link on which the tensors of ports 0 and 1 are encoded, those of others not.
fn link(carrier: Carrier, encoding: Encoding) -> Link {
    let mut link = Link::new(carrier, 4);
    let edge = |port| ((PipelineId(0), StepId(0), port), encoding);
    let encodings: Encodings = (0..2).map(edge).collect();
    link.encode(&Arc::new(encodings));
    link
}

fn floats(numbers: impl IntoIterator<Item = f32>) -> Tensor {
    let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    Tensor::copy_of(DType::F32, vec![bytes.len() / 4], &bytes).unwrap()
}

/// Half of it zeros in a row, as behind a ReLU; all of it numbers that both narrow types have.
fn sparse(count: usize) -> Tensor {
    floats((0..count).map(|index| {
        if index % 64 < 32 {
            0.0
        } else {
            (index % 7) as f32
        }
    }))
}

/// Numbers that nothing makes fewer.
fn noise(count: usize, seed: u64) -> Tensor {
    let mut bytes = vec![0; count * 4];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    Tensor::copy_of(DType::U32, vec![count], &bytes).unwrap()
}

fn carry(link: &mut Link, sent: Vec<(u16, Tensor)>) -> Vec<Tensor> {
    link.producer.send(envelope(1, Body::Tensors(sent)));
    let mut received = link.arrive(1);
    link.release(&received);
    let Body::Tensors(arrived) = received.remove(0).envelope.body else {
        panic!("no tensors")
    };
    arrived.into_iter().map(|(_, tensor)| tensor).collect()
}

fn moved(link: &Link) -> [Moved; 2] {
    [
        link.producer.outbound.moved(),
        link.consumer.inbound.moved(),
    ]
}

#[test]
fn every_encoding_brings_the_tensor_in_fewer_bytes_and_both_ends_count_the_same() {
    for encoding in Encoding::ALL.into_iter().filter(|one| !one.is_plain()) {
        let mut link = link(Carrier::Tcp, encoding);
        let sent = sparse(20_000);
        let arrived = carry(&mut link, vec![(0, sent.clone()), (7, sent.clone())]);
        for arrived in &arrived {
            assert_eq!(
                (arrived.dtype(), arrived.shape()),
                (DType::F32, sent.shape())
            );
            assert_eq!(arrived.bytes(), sent.bytes(), "{encoding}");
        }
        let bytes = sent.byte_count() as u64;
        for moved in moved(&link) {
            assert_eq!((moved.bytes, moved.lent, moved.copied), (2 * bytes, 0, 0));
            let encoded = moved.framed - bytes;
            assert!(
                encoded <= bytes / 2 + 64,
                "{encoding}: {encoded} of {bytes}"
            );
        }
        assert_eq!(moved(&link)[0].framed, moved(&link)[1].framed);
    }
}

#[test]
fn what_is_narrowed_arrives_as_its_nearest_neighbour_whatever_its_size() {
    let mut link = link(Carrier::Tcp, BF16);
    for count in [1, 3, 10_000] {
        let sent = floats((0..count).map(|index| index as f32 * 1.000_1 - 3.3));
        let arrived = carry(&mut link, vec![(1, sent.clone())]).remove(0);
        for (sent, arrived) in sent
            .bytes()
            .as_chunks()
            .0
            .iter()
            .zip(arrived.bytes().as_chunks().0)
        {
            let nearest = half::bf16::from_f32(f32::from_le_bytes(*sent)).to_f32();
            assert_eq!(f32::from_le_bytes(*arrived), nearest);
        }
        assert_eq!(arrived.byte_count(), sent.byte_count());
    }
    let [out, _] = moved(&link);
    assert_eq!(out.framed * 2, out.bytes);
}

#[test]
fn tensors_that_an_encoding_does_not_fit_travel_as_they_are() {
    let mut link = link(
        Carrier::Tcp,
        Encoding::of(Some(Narrow::F16), Some(Compress::Zstd)),
    );
    let texts: Vec<_> = (0..300).map(|_| "the same text").collect();
    let texts = Tensor::from_byte_strings(vec![300], &texts).unwrap();
    let empty = floats([]);
    let arrived = carry(&mut link, vec![(0, texts.clone()), (1, empty.clone())]);
    assert_eq!(arrived[0].bytes(), texts.bytes());
    assert_eq!(
        (arrived[1].dtype(), arrived[1].shape()),
        (DType::F32, &[0][..])
    );
    let [out, _] = moved(&link);
    assert_eq!(out.framed, out.bytes);
    // Doubles are compressed and not narrowed.
    let doubles =
        Tensor::copy_of(DType::F64, vec![1000], &1.5_f64.to_le_bytes().repeat(1000)).unwrap();
    assert_eq!(
        carry(&mut link, vec![(0, doubles.clone())])[0].bytes(),
        doubles.bytes()
    );
    let [more, _] = moved(&link);
    assert!(more.framed - out.framed < 1000);
}

#[test]
fn encodings_are_for_links_between_hosts_only() {
    for carrier in [Carrier::Inproc, Carrier::Ipc, Carrier::Arena] {
        let mut link = link(carrier, BF16);
        let sent = floats([1.000_1; 1000]);
        let arrived = carry(&mut link, vec![(0, sent.clone())]);
        assert_eq!(arrived[0].bytes(), sent.bytes(), "{carrier:?}");
        let [out, back] = moved(&link);
        let framed = if carrier == Carrier::Ipc { 4000 } else { 0 };
        assert_eq!((out.framed, back.framed), (framed, framed), "{carrier:?}");
    }
}

#[test]
fn what_compression_does_not_make_smaller_is_sent_as_it_is() {
    let mut link = link(Carrier::Tcp, LZ4);
    for seed in 0..u64::from(MISSES_MAX + PAUSE_MIN) {
        let sent = noise(1000, seed);
        assert_eq!(
            carry(&mut link, vec![(0, sent.clone())])[0].bytes(),
            sent.bytes()
        );
    }
    let [out, back] = moved(&link);
    assert_eq!((out.framed, back.framed), (out.bytes, back.bytes));
    // Tried again after the pause, and from then on.
    for _ in 0..3 {
        let sent = sparse(1000);
        assert_eq!(
            carry(&mut link, vec![(0, sent.clone())])[0].bytes(),
            sent.bytes()
        );
    }
    let [more, _] = moved(&link);
    assert!(more.framed - out.framed < (more.bytes - out.bytes) / 2);
    // The other edge has a trial of its own, and what is small is not worth one.
    let little = floats([0.0; COMPRESS_BYTES_MIN / 4 - 1]);
    carry(&mut link, vec![(1, little.clone())]);
    let [last, _] = moved(&link);
    assert_eq!(last.framed - more.framed, little.byte_count() as u64);
}

#[test]
fn a_pause_on_one_edge_is_none_on_another() {
    let mut link = link(Carrier::Tcp, LZ4);
    for seed in 0..u64::from(MISSES_MAX) {
        carry(&mut link, vec![(0, noise(1000, seed))]);
    }
    let [before, _] = moved(&link);
    carry(&mut link, vec![(0, sparse(1000)), (1, sparse(1000))]);
    let [after, _] = moved(&link);
    let framed = after.framed - before.framed;
    assert!((4000..6000).contains(&framed), "{framed}");
}

#[test]
fn a_payload_that_is_not_what_it_is_called_is_counted_with_its_request_and_costs_no_credit() {
    let mut link = Link::new(Carrier::Tcp, 2);
    let raw = Raw::greeted(&mut link, "other");
    let tensor = sparse(4000);
    let zeros = floats([0.0; 4000]);
    let mut encoder = PayloadEncoder::default();
    let mut sequence = 0;
    for encoding in Encoding::ALL.into_iter().filter(|one| !one.is_plain()) {
        let sound = encoder.encode(&tensor, encoding).unwrap();
        let mut bent = sound.clone();
        bent.truncate(sound.len() / 2);
        let bomb = encoder.encode(&zeros, encoding).unwrap()[..8].to_vec();
        let trailing = [&sound[..], &[0xff; 9]].concat();
        for payload in [
            bent,
            bomb,
            trailing,
            Vec::new(),
            vec![0xa5; 777],
            tensor.bytes().to_vec(),
        ] {
            sequence += 1;
            let header = header(sequence, sequence, &tensor, Form::Encoded(encoding));
            raw.send(&[&header, &payload]);
            link.until("a discarded message", |link| {
                !link.consumer.discarded.is_empty()
            });
            let discarded = link.consumer.discarded.remove(0);
            let error = &discarded.error;
            assert!(
                matches!(error, LinkError::Encoded { index: 0, .. }),
                "{encoding}: {error}"
            );
            assert_eq!(discarded.of.unwrap().request.0, sequence);
        }
        sequence += 1;
        let header = header(sequence, sequence, &tensor, Form::Encoded(encoding));
        raw.send(&[&header, &sound]);
        let arrived = link.arrive(1);
        assert_eq!(arrived[0].lost, 0);
        link.release(&arrived);
    }
    assert_eq!(link.consumer.inbound.discarded(), sequence - 8);
    // Nobody else is disturbed.
    link.producer.send(tensors(1, small()));
    assert_eq!(link.arrive(1).len(), 1);
}

#[test]
fn an_unknown_encoding_is_no_envelope() {
    let mut link = Link::new(Carrier::Tcp, 2);
    let raw = Raw::greeted(&mut link, "other");
    let sent = tensors(1, floats([0.0]));
    let mut header = encode(&sent, 1, Form::Encoded(BF16)).unwrap();
    header[56] = 0x7f;
    raw.send(&[&header, &[0; 2]]);
    link.until("a discarded message", |link| {
        !link.consumer.discarded.is_empty()
    });
    let error = &link.consumer.discarded[0].error;
    assert!(
        matches!(
            error,
            LinkError::Field {
                field: "encoding",
                seen: 0x7f
            }
        ),
        "{error}"
    );
}
