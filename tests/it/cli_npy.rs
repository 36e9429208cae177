//! Arrays on disk: what NumPy writes is read as it was meant, and nothing else is.

use std::fs;
use std::path::Path;

use blockflow::engine::{NpyError, read_npy, write_npy};
use blockflow::types::{DType, Tensor};
use proptest::prelude::*;

const WRITABLE: [(DType, &str); 12] = [
    (DType::Bool, "|b1"),
    (DType::U8, "|u1"),
    (DType::U16, "<u2"),
    (DType::U32, "<u4"),
    (DType::U64, "<u8"),
    (DType::I8, "|i1"),
    (DType::I16, "<i2"),
    (DType::I32, "<i4"),
    (DType::I64, "<i8"),
    (DType::F16, "<f2"),
    (DType::F32, "<f4"),
    (DType::F64, "<f8"),
];

/// Returns a version 1.0 file, as NumPy lays it out.
fn file(descr: &str, fortran: bool, shape: &[usize], body: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let order = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({sizes}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(body);
    file
}

fn read(bytes: &[u8]) -> Result<Tensor, NpyError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("array.npy");
    fs::write(&path, bytes).expect("written");
    read_npy(&path)
}

fn arrays() -> impl Strategy<Value = (usize, Vec<usize>, Vec<u8>)> {
    (0..WRITABLE.len(), prop::collection::vec(0_usize..5, 0..5)).prop_flat_map(|(kind, shape)| {
        let size = WRITABLE[kind].0.size().expect("fixed");
        let length = shape.iter().product::<usize>() * size;
        let byte = if kind == 0 { 0..=1_u8 } else { 0..=255_u8 };
        (Just(kind), Just(shape), prop::collection::vec(byte, length))
    })
}

/// Moves row-major elements to column-major order, by definition of the two.
fn column_major(shape: &[usize], body: &[u8], size: usize) -> Vec<u8> {
    let mut result = vec![0; body.len()];
    for (position, element) in body.chunks_exact(size).enumerate() {
        let (mut rest, mut target, mut stride) = (position, 0, 1);
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = rest % shape[axis];
            rest /= shape[axis];
        }
        for (axis, at) in index.iter().enumerate() {
            target += at * stride;
            stride *= shape[axis];
        }
        result[target * size..(target + 1) * size].copy_from_slice(element);
    }
    result
}

proptest! {
    #[test]
    fn what_is_written_is_read_back((kind, shape, body) in arrays()) {
        let tensor = Tensor::copy_of(WRITABLE[kind].0, shape, &body).expect("a tensor");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("array.npy");
        write_npy(&path, &tensor).expect("written");
        let read = read_npy(&path).expect("read");
        prop_assert_eq!(read.dtype(), tensor.dtype());
        prop_assert_eq!(read.shape(), tensor.shape());
        prop_assert_eq!(read.bytes(), tensor.bytes());
    }

    #[test]
    fn order_and_endianness_make_no_difference((kind, shape, body) in arrays(), fortran: bool, big: bool) {
        let (dtype, descr) = WRITABLE[kind];
        let size = dtype.size().expect("fixed");
        let mut stored = if fortran { column_major(&shape, &body, size) } else { body.clone() };
        let mut descr = descr.to_owned();
        if big && size > 1 {
            descr = descr.replace('<', ">");
            stored.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        let tensor = read(&file(&descr, fortran, &shape, &stored)).expect("read");
        prop_assert_eq!(tensor.dtype(), dtype);
        prop_assert_eq!(tensor.shape(), &shape[..]);
        prop_assert_eq!(tensor.bytes(), &body[..]);
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_but_never_a_panic(at in 0_usize..160, byte: u8) {
        let mut bytes = file("<f4", false, &[2, 4], &[0; 32]);
        let at = at.min(bytes.len() - 1);
        bytes[at] = byte;
        let _ = read(&bytes);
    }
}

#[test]
fn arrays_that_numpy_wrote_are_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/digits");
    let images = read_npy(&data.join("images.npy")).expect("read");
    assert_eq!(images.dtype(), DType::F32);
    assert_eq!(images.rows(), 360);
}

#[test]
fn a_true_of_another_tool_is_one() {
    assert_eq!(
        read(&file("|b1", false, &[3], &[0, 255, 2]))
            .expect("read")
            .bytes(),
        [0, 1, 1]
    );
}

#[test]
fn unusable_files_are_refused_with_the_reason() {
    let cases = [
        (Vec::new(), "too few"),
        (b"PK\x03\x04 an archive, not an array".to_vec(), "magic"),
        (
            file("<f4", false, &[2, 2], &[0; 15]),
            "takes 16 bytes, found 15",
        ),
        (
            file("<f4", false, &[2, 2], &[0; 17]),
            "takes 16 bytes, found 17",
        ),
        (file("<c8", false, &[1], &[0; 8]), "'<c8'"),
        (file("<f16", false, &[1], &[0; 16]), "'<f16'"),
        (file("<U3", false, &[1], &[0; 12]), "'<U3'"),
        (file("|O", false, &[1], &[0; 8]), "'|O'"),
        (file("<V2", false, &[1], &[0; 2]), "V2"),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec(),
            "claims 4294967295 bytes",
        ),
        (b"\x93NUMPY\x01\x00\x04\x00{}  ".to_vec(), "fortran_order"),
    ];
    for (bytes, reason) in cases {
        let error = read(&bytes).expect_err(reason).to_string();
        assert!(
            error.contains(reason) && error.contains("array.npy"),
            "{reason}: {error}"
        );
    }
    let error = read_npy(Path::new("nowhere.npy"))
        .expect_err("missing")
        .to_string();
    assert!(error.starts_with("cannot read nowhere.npy"), "{error}");
}

#[test]
fn dtypes_that_numpy_lacks_are_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("array.npy");
    let halves = Tensor::copy_of(DType::BF16, vec![1], &[0, 0]).expect("a tensor");
    let strings = Tensor::from_byte_strings(vec![1], &["text"]).expect("a tensor");
    for tensor in [halves, strings] {
        let error = write_npy(&path, &tensor).expect_err("refused").to_string();
        assert!(error.contains(tensor.dtype().name()), "{error}");
        assert!(!path.exists());
    }
}
