//! Outputs that are written where somebody has room for them: there, the same as elsewhere, and never anything else's place.

use std::sync::{Arc, Mutex};

use blockflow::engine::{Prepared, torch};
use blockflow::graph::{Binary, Conv, Op, Unary};
use blockflow::types::{
    AlignedBytes, DType, Dim, Room, Rooms, ShapeSpec, Signature, Tensor, TensorSpec,
};

use crate::engine_support::{Builder, f32s, fixed, noise, prepare_graph, signature};

/// Room for every output, and where that was and how many bytes were asked for.
#[derive(Debug, Default)]
pub(crate) struct Rented {
    given: Mutex<Vec<(usize, usize)>>,
    /// No room for further ones.
    max: Option<usize>,
}

impl Rooms for Rented {
    fn takes(&self, _output: usize) -> bool {
        true
    }

    fn room(&self, _output: usize, bytes: usize) -> Option<Box<dyn Room>> {
        let mut given = self.given.lock().unwrap();
        if self.max.is_some_and(|max| given.len() >= max) {
            return None;
        }
        let mut room = AlignedBytes::copy_of(&vec![0xee; bytes]);
        given.push((room.as_mut_slice().as_ptr().addr(), bytes));
        Some(Box::new(room))
    }
}

impl Rented {
    pub(crate) fn has(&self, tensor: &Tensor) -> bool {
        let place = (tensor.stored().0.as_ptr().addr(), tensor.byte_count());
        self.given.lock().unwrap().contains(&place)
    }
}

fn images(shape: &[usize], seed: u32) -> Tensor {
    f32s(shape, &noise(shape.iter().product(), seed))
}

/// A convolution with 16 filters over images of 16 channels and any number of rows, and what follows it.
fn convolution(
    follow: impl FnOnce(&mut Builder, blockflow::graph::ValueId) -> blockflow::graph::ValueId,
) -> Arc<dyn Prepared> {
    let mut builder = Builder::new();
    let x = builder.input();
    let filters = builder.constant(images(&[16, 16, 3, 3], 3));
    let conv = Conv {
        pads: vec![1, 1, 1, 1],
        ..Conv::default()
    };
    let y = builder.node(Op::Conv(conv), &[x, filters]);
    let z = follow(&mut builder, y);
    let graph = builder.finish(&[z]);
    let mut dims = vec![Dim::symbol("batch")];
    dims.extend(fixed(&[16, 9, 9]));
    prepare_graph(
        &graph,
        signature(&[(DType::F32, &dims)], &[(DType::F32, &dims)]),
    )
    .unwrap()
}

fn check(prepared: &Arc<dyn Prepared>, input: &Tensor) -> (Tensor, Rented) {
    let mut session = prepared.session().unwrap();
    let expected = session.run(std::slice::from_ref(input)).unwrap().remove(0);
    let rooms = Rented::default();
    let output = session
        .run_in(std::slice::from_ref(input), &rooms)
        .unwrap()
        .remove(0);
    assert_eq!(output.shape(), expected.shape());
    assert!(output.bytes() == expected.bytes(), "results differ");
    assert_eq!(output.stored().1, expected.stored().1);
    let full = Rented {
        max: Some(0),
        ..Rented::default()
    };
    let without = session.run_in(std::slice::from_ref(input), &full).unwrap();
    assert!(without[0].bytes() == expected.bytes(), "results differ");
    // What was given away stays as it is in later runs, with rooms and without.
    session.run_in(std::slice::from_ref(input), &rooms).unwrap();
    session.run(std::slice::from_ref(input)).unwrap();
    assert!(
        output.bytes() == expected.bytes(),
        "an output was overwritten"
    );
    (output, rooms)
}

#[test]
fn libtorch_writes_a_result_where_there_is_room() {
    torch::tune_allocator();
    for rows in [1, 3] {
        let input = images(&[rows, 16, 9, 9], 5);
        let (output, rooms) = check(&convolution(|_, y| y), &input);
        assert!(rooms.has(&output), "{rooms:?}");
    }
}

#[test]
fn a_result_that_is_computed_in_place_of_something_earlier_lies_in_a_room_too() {
    torch::tune_allocator();
    let prepared = convolution(|builder, y| {
        let sum = builder.node(Op::Binary(Binary::Add), &[y, y]);
        builder.node(Op::Unary(Unary::Relu), &[sum])
    });
    let (output, rooms) = check(&prepared, &images(&[2, 16, 9, 9], 7));
    assert!(rooms.has(&output), "{rooms:?}");
}

#[test]
fn an_input_or_weight_that_is_given_out_is_never_written_to_or_moved_into_a_room() {
    torch::tune_allocator();
    let mut builder = Builder::new();
    let x = builder.input();
    let same = builder.node(Op::Identity, &[x]);
    let graph = builder.finish(&[same]);
    let dims = fixed(&[4]);
    let prepared = prepare_graph(
        &graph,
        signature(&[(DType::F32, &dims)], &[(DType::F32, &dims)]),
    )
    .unwrap();
    let input = f32s(&[4], &[1.0, 2.0, 3.0, 4.0]);
    let rooms = Rented::default();
    let output = prepared
        .session()
        .unwrap()
        .run_in(std::slice::from_ref(&input), &rooms)
        .unwrap()
        .remove(0);
    assert_eq!(output.bytes().as_ptr(), input.bytes().as_ptr());
    assert!(!rooms.has(&output));
}

#[test]
fn a_mock_writes_all_of_its_room() {
    let spec = |name: &str, size| TensorSpec::new(name, DType::U8, ShapeSpec::fixed(&[size]));
    let mock = blockflow::engine::MockPrepared::new(blockflow::types::MockSpec {
        signature: Signature {
            inputs: vec![spec("x", 3)],
            outputs: vec![spec("y", 5)],
        },
        latency: std::time::Duration::ZERO,
        weight_bytes: 0,
        failure: None,
    });
    let input = Tensor::copy_of(DType::U8, vec![3], &[1, 2, 3]).unwrap();
    let rooms = Rented::default();
    let output = mock
        .session()
        .unwrap()
        .run_in(std::slice::from_ref(&input), &rooms)
        .unwrap()
        .remove(0);
    assert_eq!(output.bytes(), [2, 3, 4, 0, 0]);
    assert!(rooms.has(&output));
}
