//! Encoded payloads: what comes back is what was sent, or its nearest narrower neighbour, and nothing else is believed.

use std::sync::Arc;

use blockflow::tensormq::{
    Body, EncodingError, Envelope, Form, LinkError, Payload, PayloadEncoder, RATIO_MAX, decode,
    decode_payload, encode, encode_each, forms,
};
use blockflow::types::{
    AlignedBytes, Compress, DType, Encoding, HostMemory, Narrow, Tensor, byte_count,
};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::links_support::{address, envelope};

const LZ4: Encoding = Encoding::of(None, Some(Compress::Lz4));
const ZSTD: Encoding = Encoding::of(None, Some(Compress::Zstd));

fn encoded(tensor: &Tensor, encoding: Encoding) -> Vec<u8> {
    let payload = PayloadEncoder::default().encode(tensor, encoding);
    payload.unwrap_or_else(|| panic!("{encoding} of {tensor:?}"))
}

fn back(tensor: &Tensor, encoding: Encoding) -> Vec<u8> {
    let payload = encoded(tensor, encoding);
    let decoded = decode_payload(&payload, tensor.dtype(), tensor.shape(), encoding);
    decoded.unwrap().bytes().to_vec()
}

fn floats(numbers: &[f32]) -> Tensor {
    Tensor::copy_of(
        DType::F32,
        vec![numbers.len()],
        bytemuck::cast_slice(numbers),
    )
    .unwrap()
}

/// Narrows and widens one number.
fn through(number: f32, narrow: Narrow) -> f32 {
    let bytes = back(&floats(&[number]), Encoding::of(Some(narrow), None));
    f32::from_le_bytes(bytes.try_into().unwrap())
}

fn tensors() -> impl Strategy<Value = Tensor> {
    let dtypes: Vec<_> = DType::ALL
        .into_iter()
        .filter(|dtype| dtype.size().is_some())
        .collect();
    let shapes = prop::collection::vec(0_usize..7, 0..4);
    // Sparse, as activations are, or anything.
    let bytes = prop_oneof![prop::sample::select(vec![0_u8, 0, 0, 1]), any::<u8>()];
    let bytes = prop::collection::vec(bytes, 1..64);
    (prop::sample::select(dtypes), shapes, bytes).prop_map(|(dtype, shape, some)| {
        let count = byte_count(dtype, &shape).unwrap();
        let bytes: Vec<u8> = some.into_iter().cycle().take(count).collect();
        Tensor::copy_of(dtype, shape, &bytes).unwrap()
    })
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop::sample::select(Encoding::ALL.to_vec())
}

proptest! {
    #[test]
    fn what_is_only_compressed_comes_back_to_the_bit(tensor in tensors(), encoding in encodings()) {
        let encoding = Encoding { narrow: None, ..encoding };
        prop_assert_eq!(back(&tensor, encoding), tensor.bytes());
    }

    #[test]
    fn narrowing_rounds_to_nearest_even_and_compression_changes_nothing(
        numbers in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..200),
        encoding in encodings()
    ) {
        let Some(narrow) = encoding.narrow else { return Ok(()) };
        let narrowed = back(&floats(&numbers), encoding);
        let expected = |number: &f32| match narrow {
            Narrow::F16 => f16::from_f32(*number).to_f32(),
            Narrow::BF16 => bf16::from_f32(*number).to_f32(),
        };
        for (number, bytes) in numbers.iter().zip(narrowed.as_chunks().0) {
            let (seen, expected) = (f32::from_le_bytes(*bytes), expected(number));
            prop_assert!(
                seen.to_bits() == expected.to_bits() || (seen.is_nan() && number.is_nan()),
                "{} became {}, expected {}", number, seen, expected
            );
        }
    }

    #[test]
    fn an_envelope_of_encoded_tensors_survives(
        sent in prop::collection::vec((tensors(), encodings()), 0..6), sequence in any::<u64>()
    ) {
        let encodings: Vec<_> = sent.iter().map(|(tensor, asked)| {
            let lossless = Encoding { narrow: None, ..*asked };
            lossless.for_dtype(tensor.dtype())
        }).collect();
        let form = |index: usize| match encodings[index] {
            Encoding::PLAIN => Form::Bytes,
            encoding => Form::Encoded(encoding),
        };
        let tensors = (0..).zip(sent.iter().map(|(tensor, _)| tensor.clone())).collect();
        let envelope = Envelope { address: address(1), body: Body::Tensors(tensors) };
        let header = encode_each(&envelope, sequence, form).unwrap();
        let announced: Vec<_> = (0..sent.len()).map(form).collect();
        prop_assert_eq!(forms(&header).unwrap(), announced);
        let payload = |((tensor, _), encoding): (&(Tensor, _), &Encoding)| {
            Payload::Bytes(Arc::new(encoded(tensor, *encoding)))
        };
        let payloads: Vec<_> = sent.iter().zip(&encodings).map(payload).collect();
        let (read, seen) = decode(&header, payloads).unwrap();
        prop_assert_eq!(seen, sequence);
        let Body::Tensors(arrived) = read.body else { panic!("no tensors") };
        for ((sent, _), (_, arrived)) in sent.iter().zip(&arrived) {
            prop_assert_eq!(format!("{sent:?}"), format!("{arrived:?}"));
            prop_assert_eq!(sent.bytes(), arrived.bytes());
            let alignment = sent.dtype().size().unwrap();
            let start = arrived.bytes().as_ptr().addr();
            prop_assert!(arrived.bytes().is_empty() || start.is_multiple_of(alignment));
        }
    }

    #[test]
    fn any_payload_gives_exactly_the_elements_or_an_error(
        payload in prop::collection::vec(any::<u8>(), 0..300), encoding in encodings(),
        dtype in prop::sample::select(DType::ALL.to_vec()), count in 0_usize..400
    ) {
        if let Ok(elements) = decode_payload(&payload, dtype, &[count], encoding) {
            prop_assert_eq!(elements.bytes().len(), byte_count(dtype, &[count]).unwrap());
        }
    }

    #[test]
    fn a_damaged_payload_gives_as_many_elements_or_an_error(
        tensor in tensors(), encoding in encodings(), at in any::<prop::sample::Index>(), flip in 1_u8..
    ) {
        let encoding = encoding.for_dtype(tensor.dtype());
        let mut payload = encoded(&tensor, encoding);
        if !payload.is_empty() {
            let at = at.index(payload.len());
            payload[at] ^= flip;
        }
        if let Ok(elements) = decode_payload(&payload, tensor.dtype(), tensor.shape(), encoding) {
            prop_assert_eq!(elements.bytes().len(), tensor.byte_count());
        }
    }
}

#[test]
fn narrowing_does_what_is_documented_at_the_ends() {
    use Narrow::{BF16, F16};
    for narrow in Narrow::ALL {
        for same in [0.0, -0.0, 1.0, -2.5, f32::INFINITY, f32::NEG_INFINITY] {
            let seen = through(same, narrow);
            assert_eq!(seen.to_bits(), f32::to_bits(same), "{same} {narrow:?}");
        }
        for nan in [
            f32::NAN,
            -f32::NAN,
            f32::from_bits(0x7f80_0001),
            f32::from_bits(0xffff_ffff),
        ] {
            assert!(
                through(nan, narrow).is_nan(),
                "{:#x} {narrow:?}",
                nan.to_bits()
            );
        }
    }
    // Ties go to the even neighbour.
    assert_eq!(through(1.0 + 1.0 / 2048.0, F16), 1.0);
    assert_eq!(through(1.0 + 3.0 / 2048.0, F16), 1.0 + 4.0 / 2048.0);
    assert_eq!(through(1.0 + 1.0 / 256.0, BF16), 1.0);
    assert_eq!(through(1.0 + 3.0 / 256.0, BF16), 1.0 + 4.0 / 256.0);
    // The range of FP16 ends, that of BF16 does not.
    assert_eq!(through(65_504.0, F16), 65_504.0);
    assert_eq!(through(65_519.0, F16), 65_504.0);
    assert_eq!(through(65_520.0, F16), f32::INFINITY);
    assert_eq!(through(-1e20, F16), f32::NEG_INFINITY);
    assert_eq!(through(1e-8, F16), 0.0);
    assert!((through(1e20, BF16) - 1e20).abs() < 1e20 / 256.0);
    assert_eq!(through(f32::MAX, BF16), f32::INFINITY);
}

#[test]
fn empty_tensors_and_scalars_have_payloads_too() {
    for encoding in Encoding::ALL {
        for shape in [vec![], vec![0], vec![3, 0, 2]] {
            let bytes = vec![0_u8; byte_count(DType::F32, &shape).unwrap()];
            let tensor = Tensor::copy_of(DType::F32, shape, &bytes).unwrap();
            assert_eq!(back(&tensor, encoding), bytes, "{encoding} {tensor:?}");
        }
    }
}

#[test]
fn a_payload_of_the_wrong_length_is_refused() {
    let tensor = floats(&[1.0, 0.0, 0.0, 0.0].repeat(500));
    for encoding in Encoding::ALL {
        let sound = encoded(&tensor, encoding);
        let read = |payload: &[u8], count: usize| {
            decode_payload(payload, DType::F32, &[count], encoding).map(drop)
        };
        read(&sound, 2000).unwrap();
        for count in [0, 1, 1999, 2001, 1 << 20, 1 << 40, usize::MAX] {
            assert!(read(&sound, count).is_err(), "{encoding} as {count}");
        }
        for cut in 1..sound.len().min(40) {
            let short = &sound[..sound.len() - cut];
            assert!(read(short, 2000).is_err(), "{encoding} without {cut}");
        }
        for more in [&[1][..], &[0x1f, 2, 3], &[0xff; 40]] {
            let long = [&sound, more].concat();
            assert!(read(&long, 2000).is_err(), "{encoding} with {more:?}");
        }
        assert!(read(&[], 2000).is_err());
    }
}

/// Whatever a header claims, memory is not even asked for beyond what the payload can hold.
#[test]
fn a_small_payload_that_claims_much_is_refused_before_it_is_unpacked() {
    for encoding in [
        LZ4,
        ZSTD,
        Encoding::of(Some(Narrow::BF16), Some(Compress::Zstd)),
    ] {
        let payload = encoded(&floats(&[0.0; 1000]), encoding);
        let claim = |count| decode_payload(&payload, DType::F32, &[count], encoding).unwrap_err();
        let error = claim(1 << 28);
        assert!(matches!(error, EncodingError::Ratio { .. }), "{error}");
        let error = claim(1 << 30);
        assert!(matches!(error, EncodingError::TooLarge { .. }), "{error}");
        let error = claim(usize::MAX);
        assert!(matches!(error, EncodingError::Tensor(_)), "{error}");
    }
}

/// Zstandard packs equal elements further than is believed, so its frames are filled up.
#[test]
fn elements_that_are_all_the_same_are_not_taken_for_a_bomb() {
    for elements in [300, 1000, 100_000, 3 << 20] {
        let tensor = floats(&vec![0.0; elements]);
        for encoding in Encoding::ALL {
            let payload = encoded(&tensor, encoding);
            let plain = elements * if encoding.narrow.is_some() { 2 } else { 4 };
            assert!(payload.len() * RATIO_MAX >= plain, "{encoding}");
            let small = encoding.compress.is_none() || payload.len() < plain / 40 + 40;
            assert!(small, "{encoding} makes {}", payload.len());
            assert!(back(&tensor, encoding).iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn an_encoding_that_does_not_fit_the_tensor_is_refused() {
    for encoding in Encoding::ALL {
        for dtype in DType::ALL {
            let fits = encoding.for_dtype(dtype) == encoding;
            let read = decode_payload(&[], dtype, &[0], encoding);
            let unfit = matches!(read, Err(EncodingError::Unfit { .. }));
            assert_eq!(unfit, !fits, "{encoding} of {dtype}");
        }
    }
    let texts = Tensor::from_byte_strings(vec![1], &["text"]).unwrap();
    assert!(PayloadEncoder::default().encode(&texts, LZ4).is_none());
    let narrow = Encoding::of(Some(Narrow::F16), None);
    let whole = Tensor::copy_of(DType::I32, vec![1], &[0; 4]).unwrap();
    assert!(PayloadEncoder::default().encode(&whole, narrow).is_none());
}

#[test]
fn a_link_tells_which_tensor_is_not_what_was_announced() {
    let tensor = floats(&[1.0; 600]);
    let sent = envelope(
        1,
        Body::Tensors(vec![(0, tensor.clone()), (1, tensor.clone())]),
    );
    let header = encode(&sent, 1, Form::Encoded(LZ4)).unwrap();
    let sound = encoded(&tensor, LZ4);
    let payload = |bytes: &[u8]| Payload::Bytes(Arc::new(bytes.to_vec()));
    let payloads = vec![payload(&sound), payload(&sound[..sound.len() / 2])];
    let error = decode(&header, payloads).unwrap_err();
    assert!(
        matches!(error, LinkError::Encoded { index: 1, .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("encoded payload of tensor 1: it is not lz4:"),
        "{error}"
    );
    // Handles and bytes as they are, announced as encoded.
    let payloads = vec![Payload::Handle(tensor.clone()), Payload::Handle(tensor)];
    let error = decode(&header, payloads).unwrap_err();
    assert!(matches!(error, LinkError::Form { index: 0, .. }), "{error}");
}

#[test]
fn codes_of_encodings_are_as_documented() {
    let one = envelope(1, Body::Tensors(vec![(0, floats(&[0.0]))]));
    for (code, encoding) in Encoding::ALL.into_iter().enumerate().skip(1) {
        let header = encode(&one, 1, Form::Encoded(encoding)).unwrap();
        assert_eq!(header[44..48], [3, 0, 0, 0]);
        assert_eq!(header[56..], [code as u8, 0, 0, 0, 0, 0, 0, 0]);
    }
    let mut header = encode(&one, 1, Form::Encoded(LZ4)).unwrap();
    for code in [0, Encoding::ALL.len() as u8, 255] {
        header[56] = code;
        let error = forms(&header).unwrap_err();
        let told = matches!(
            error,
            LinkError::Field {
                field: "encoding",
                ..
            }
        );
        assert!(told, "{error}");
    }
    let written: Vec<_> = Encoding::ALL.iter().map(ToString::to_string).collect();
    let expected = [
        "plain",
        "FP16",
        "BF16",
        "lz4",
        "FP16 lz4",
        "BF16 lz4",
        "zstd",
        "FP16 zstd",
        "BF16 zstd",
    ];
    assert_eq!(written, expected);
}

/// Memory that begins one byte behind a multiple of every alignment.
#[derive(Debug)]
struct Shifted(AlignedBytes);

impl Shifted {
    fn of(bytes: &[u8]) -> Self {
        Self(AlignedBytes::copy_of(&[&[0], bytes].concat()))
    }
}

impl HostMemory for Shifted {
    fn bytes(&self) -> &[u8] {
        &self.0.bytes()[1..]
    }
}

#[test]
fn elements_and_payloads_that_lie_across_their_alignment_are_read_all_the_same() {
    let numbers: Vec<f32> = (0..100).map(|index| index as f32 / 7.0).collect();
    let aligned = floats(&numbers);
    let across = Arc::new(Shifted::of(aligned.bytes()));
    let across = Tensor::new(DType::F32, vec![100], across).unwrap();
    for encoding in Encoding::ALL {
        let payload = encoded(&aligned, encoding);
        assert_eq!(encoded(&across, encoding), payload, "{encoding}");
        let shifted = Shifted::of(&payload);
        let read = decode_payload(shifted.bytes(), DType::F32, &[100], encoding).unwrap();
        assert_eq!(read.bytes(), back(&aligned, encoding), "{encoding}");
    }
}
