//! TorchScript modules that do what a block must not: write to inputs, hand out what they keep.

use std::path::{Path, PathBuf};

use blockflow::engine::{BlockSource, EngineError, Session, prepare};
use blockflow::types::{DType, Device, Dim, Signature};

use crate::engine_support::{data, f32s, signature, values_f32};

/// Traces `forward` over one tensor of four elements, and saves it.
fn traced(folder: &Path, mut forward: impl FnMut(&tch::Tensor) -> Vec<tch::Tensor>) -> PathBuf {
    let example = tch::Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0]);
    let mut body = |inputs: &[tch::Tensor]| forward(&inputs[0]);
    let module =
        tch::CModule::create_by_tracing("Traced", "forward", &[example], &mut body).unwrap();
    let path = folder.join("traced.pt");
    module.save(&path).unwrap();
    path
}

fn four(outputs: usize) -> Signature {
    let dims: &[Dim] = &[Dim::Fixed(4)];
    signature(&[(DType::F32, dims)], &vec![(DType::F32, dims); outputs])
}

fn session(path: &Path, outputs: usize) -> Result<Box<dyn Session>, EngineError> {
    let signature = four(outputs);
    let source = BlockSource::TorchScript {
        path,
        signature: &signature,
    };
    prepare(source, 1, Device::Cpu)?.session()
}

#[test]
fn a_module_that_writes_to_its_input_gets_a_copy_in_every_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = traced(folder.path(), |x| {
        vec![x.shallow_clone().g_add_(&x.ones_like())]
    });
    let mut session = session(&path, 1).unwrap();
    let input = f32s(&[4], &[1.0, 2.0, 3.0, 4.0]);
    for _ in 0..3 {
        let outputs = session.run(std::slice::from_ref(&input)).unwrap();
        assert_eq!(values_f32(&outputs[0]), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(values_f32(&input), [1.0, 2.0, 3.0, 4.0]);
    }
}

/// `accumulate.pt` is `self.total.add_(x); return self.total, x * x`, traced.
#[test]
fn a_tuple_gives_one_output_each_and_state_that_changes_later_is_not_among_them() {
    let mut session = session(&data("torchscript/accumulate.pt"), 2).unwrap();
    let input = f32s(&[4], &[1.0, 2.0, 3.0, 4.0]);
    let first = session.run(std::slice::from_ref(&input)).unwrap();
    let second = session.run(std::slice::from_ref(&input)).unwrap();
    assert_eq!(values_f32(&first[0]), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(values_f32(&second[0]), [2.0, 4.0, 6.0, 8.0]);
    assert_eq!(values_f32(&first[1]), [1.0, 4.0, 9.0, 16.0]);
    assert_eq!(values_f32(&second[1]), values_f32(&first[1]));
}

#[test]
fn an_output_that_is_the_input_is_a_tensor_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = traced(folder.path(), |x| vec![x.view([4])]);
    let mut session = session(&path, 1).unwrap();
    let input = f32s(&[4], &[1.0, 2.0, 3.0, 4.0]);
    for _ in 0..2 {
        let outputs = session.run(std::slice::from_ref(&input)).unwrap();
        assert_eq!(outputs[0].bytes(), input.bytes());
        assert_ne!(outputs[0].bytes().as_ptr(), input.bytes().as_ptr());
    }
}

#[test]
fn a_transposed_result_comes_out_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = traced(folder.path(), |x| {
        vec![(x + x).view([2, 2]).transpose(0, 1)]
    });
    let signature = signature(
        &[(DType::F32, &[Dim::Fixed(4)])],
        &[(DType::F32, &[Dim::Fixed(2), Dim::Fixed(2)])],
    );
    let source = BlockSource::TorchScript {
        path: &path,
        signature: &signature,
    };
    let prepared = prepare(source, 1, Device::Cpu).unwrap();
    let outputs = prepared
        .session()
        .unwrap()
        .run(&[f32s(&[4], &[1.0, 2.0, 3.0, 4.0])])
        .unwrap();
    assert_eq!(values_f32(&outputs[0]), [2.0, 6.0, 4.0, 8.0]);
}
