//! What every engine owes its callers. Each test runs for each engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use blockflow::engine::{BlockSource, Prepared, prepare, warm};
use blockflow::types::{
    Bindings, DType, Device, Dim, ImageLayout, ImageSpec, MEMORY_ALIGNMENT, MockSpec, Tensor,
};

use crate::engine_support::{
    data, f32s, fixed, i64s, noise, prepare_graph, signature, small_network,
};

/// One engine with a block, and two different inputs that the block accepts.
struct Subject {
    engine: &'static str,
    prepared: Arc<dyn Prepared>,
    inputs: [Vec<Tensor>; 2],
    /// Inputs that the caller got wrong.
    bad: Vec<Vec<Tensor>>,
}

fn subjects() -> Vec<Subject> {
    vec![aten(), torchscript(), mock(), builtin()]
}

fn aten() -> Subject {
    let (graph, signature) = small_network();
    let image = |batch: usize, seed| vec![f32s(&[batch, 2, 6, 6], &noise(batch * 72, seed))];
    let image_64 = Tensor::copy_of(DType::F64, vec![1, 2, 6, 6], &[0; 576]).unwrap();
    Subject {
        engine: "aten",
        prepared: prepare_graph(&graph, signature).unwrap(),
        inputs: [image(3, 7), image(1, 8)],
        bad: vec![
            vec![],
            [image(1, 1), image(1, 1)].concat(),
            vec![image_64],
            vec![f32s(&[1, 2, 6, 5], &[0.0; 60])],
            vec![f32s(&[72], &[0.0; 72])],
        ],
    }
}

fn torchscript() -> Subject {
    let batch = || Dim::symbol("batch");
    let signature = signature(
        &[(DType::F32, &[batch(), Dim::Fixed(64)])],
        &[(DType::F32, &[batch(), Dim::Fixed(2)])],
    );
    let path = data("digits/parity_head.pt");
    let source = BlockSource::TorchScript {
        path: &path,
        signature: &signature,
    };
    let features = |batch: usize, seed| vec![f32s(&[batch, 64], &noise(batch * 64, seed))];
    Subject {
        engine: "torchscript",
        prepared: prepare(source, 1, Device::Cpu).unwrap(),
        inputs: [features(5, 1), features(1, 2)],
        bad: vec![
            vec![],
            [features(1, 1), features(1, 1)].concat(),
            vec![i64s(&[1, 64], &[0; 64])],
            vec![f32s(&[1, 63], &[0.0; 63])],
        ],
    }
}

fn mock() -> Subject {
    let rows = || Dim::symbol("rows");
    let spec = MockSpec {
        signature: signature(
            &[(DType::F32, &[rows(), Dim::Fixed(4)])],
            &[
                (DType::F32, &[rows(), Dim::Fixed(4)]),
                (DType::U8, &[Dim::Any, Dim::Fixed(3)]),
            ],
        ),
        latency: Duration::ZERO,
        weight_bytes: 0,
        failure: None,
    };
    let rows = |count: usize, seed| vec![f32s(&[count, 4], &noise(count * 4, seed))];
    Subject {
        engine: "mock",
        prepared: prepare(BlockSource::Mock(&spec), 1, Device::Cpu).unwrap(),
        inputs: [rows(2, 1), rows(1, 2)],
        bad: vec![
            vec![],
            vec![i64s(&[1, 4], &[0; 4])],
            vec![f32s(&[1, 3], &[0.0; 3])],
        ],
    }
}

fn builtin() -> Subject {
    let spec = ImageSpec {
        width: 8,
        height: 8,
        channels: 1,
        layout: ImageLayout::ChannelsFirst,
        scale: 16.0,
        mean: vec![],
        deviation: vec![],
    };
    let seven = std::fs::read(data("digits/seven.png")).unwrap();
    let file = |content: &[u8]| vec![Tensor::from_byte_strings(vec![1], &[content]).unwrap()];
    let mut other = std::io::Cursor::new(Vec::new());
    let gray = image::GrayImage::from_fn(5, 3, |x, y| image::Luma([(x * 40 + y) as u8]));
    gray.write_to(&mut other, image::ImageFormat::Png).unwrap();
    Subject {
        engine: "builtin",
        prepared: prepare(BlockSource::DecodeImage(&spec), 1, Device::Cpu).unwrap(),
        inputs: [file(&seven), file(&other.into_inner())],
        bad: vec![
            vec![],
            file(b"not an image"),
            file(&seven[..seven.len() / 2]),
            file(b""),
            vec![Tensor::from_byte_strings(vec![2], &[&seven, &seven]).unwrap()],
            vec![f32s(&[1], &[0.0])],
        ],
    }
}

fn bytes_of(tensors: &[Tensor]) -> Vec<Vec<u8>> {
    tensors
        .iter()
        .map(|tensor| tensor.bytes().to_vec())
        .collect()
}

#[test]
fn outputs_match_the_signature() {
    for subject in subjects() {
        let signature = subject.prepared.signature().clone();
        let mut session = subject.prepared.session().unwrap();
        for inputs in &subject.inputs {
            let mut bindings: Bindings = signature.bind(inputs).unwrap();
            let outputs = session.run(inputs).unwrap();
            assert_eq!(outputs.len(), signature.outputs.len(), "{}", subject.engine);
            for (spec, output) in signature.outputs.iter().zip(&outputs) {
                spec.bind(output.dtype(), output.shape(), &mut bindings)
                    .unwrap();
            }
        }
    }
}

#[test]
fn a_wrong_input_is_the_callers_error_and_the_session_works_afterwards() {
    for subject in subjects() {
        let mut session = subject.prepared.session().unwrap();
        let expected = bytes_of(&session.run(&subject.inputs[0]).unwrap());
        for bad in &subject.bad {
            let error = session.run(bad).unwrap_err();
            assert!(
                error.is_callers(),
                "{}: {error} for {bad:?}",
                subject.engine
            );
            assert_eq!(
                bytes_of(&session.run(&subject.inputs[0]).unwrap()),
                expected,
                "{}",
                subject.engine
            );
        }
    }
}

#[test]
fn inputs_are_not_written_to() {
    for subject in subjects() {
        let mut session = subject.prepared.session().unwrap();
        for inputs in &subject.inputs {
            let before = bytes_of(inputs);
            for _ in 0..3 {
                session.run(inputs).unwrap();
            }
            assert_eq!(bytes_of(inputs), before, "{}", subject.engine);
        }
    }
}

#[test]
fn equal_inputs_give_equal_bytes_in_every_run_and_session() {
    for subject in subjects() {
        let mut first = subject.prepared.session().unwrap();
        let expected: Vec<_> = subject
            .inputs
            .iter()
            .map(|inputs| bytes_of(&first.run(inputs).unwrap()))
            .collect();
        assert_ne!(
            expected[0], expected[1],
            "{}: different inputs, equal results",
            subject.engine
        );
        let mut second = subject.prepared.session().unwrap();
        for _ in 0..4 {
            for (inputs, expected) in subject.inputs.iter().zip(&expected) {
                assert_eq!(
                    &bytes_of(&first.run(inputs).unwrap()),
                    expected,
                    "{}",
                    subject.engine
                );
                assert_eq!(
                    &bytes_of(&second.run(inputs).unwrap()),
                    expected,
                    "{}",
                    subject.engine
                );
            }
        }
    }
}

#[test]
fn sessions_on_other_threads_give_the_same_bytes_at_the_same_time() {
    for subject in subjects() {
        let mut session = subject.prepared.session().unwrap();
        let expected = bytes_of(&session.run(&subject.inputs[0]).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut session = subject.prepared.session().unwrap();
                    for _ in 0..20 {
                        let outputs = session.run(&subject.inputs[0]).unwrap();
                        assert_eq!(bytes_of(&outputs), expected, "{}", subject.engine);
                    }
                });
            }
        });
    }
}

#[test]
fn results_do_not_depend_on_the_alignment_of_inputs() {
    for subject in subjects() {
        let mut session = subject.prepared.session().unwrap();
        let expected = bytes_of(&session.run(&subject.inputs[0]).unwrap());
        for shift in [1, 4, 16] {
            let shifted: Vec<Tensor> = subject.inputs[0]
                .iter()
                .map(|input| misaligned(input, shift))
                .collect();
            assert_eq!(
                bytes_of(&session.run(&shifted).unwrap()),
                expected,
                "{}",
                subject.engine
            );
        }
    }
}

/// The same tensor, its elements `shift` bytes off alignment.
fn misaligned(tensor: &Tensor, shift: usize) -> Tensor {
    #[derive(Debug)]
    struct Shifted(blockflow::types::AlignedBytes, usize);
    impl blockflow::types::HostMemory for Shifted {
        fn bytes(&self) -> &[u8] {
            &self.0.bytes()[self.1..]
        }
    }
    let mut memory = blockflow::types::AlignedBytes::zeroed(tensor.bytes().len() + shift);
    memory.as_mut_slice()[shift..].copy_from_slice(tensor.bytes());
    Tensor::new(
        tensor.dtype(),
        tensor.shape().to_vec(),
        Arc::new(Shifted(memory, shift)),
    )
    .unwrap()
}

#[test]
fn outputs_outlive_session_block_and_inputs_and_later_runs() {
    for subject in subjects() {
        let mut session = subject.prepared.session().unwrap();
        let outputs = session.run(&subject.inputs[0]).unwrap();
        let expected = bytes_of(&outputs);
        session.run(&subject.inputs[1]).unwrap();
        session.run(&subject.inputs[0]).unwrap();
        drop(session);
        let engine = subject.engine;
        drop(subject);
        let outputs = std::thread::spawn(move || outputs).join().unwrap();
        assert_eq!(bytes_of(&outputs), expected, "{engine}");
    }
}

#[test]
fn outputs_lie_in_aligned_memory() {
    for subject in subjects() {
        let mut session = subject.prepared.session().unwrap();
        for inputs in &subject.inputs {
            for output in session.run(inputs).unwrap() {
                let address = output.bytes().as_ptr() as usize;
                assert_eq!(address % MEMORY_ALIGNMENT, 0, "{}", subject.engine);
            }
        }
    }
}

#[test]
fn warming_changes_no_result() {
    for subject in subjects() {
        let mut cold = subject.prepared.session().unwrap();
        let expected = bytes_of(&cold.run(&subject.inputs[0]).unwrap());
        let mut session = subject.prepared.session().unwrap();
        warm(session.as_mut(), subject.prepared.signature()).unwrap();
        assert_eq!(
            bytes_of(&session.run(&subject.inputs[0]).unwrap()),
            expected,
            "{}",
            subject.engine
        );
    }
}

#[test]
fn weights_are_counted() {
    let counts: BTreeMap<_, _> = subjects()
        .iter()
        .map(|subject| (subject.engine, subject.prepared.weight_bytes()))
        .collect();
    assert_eq!(counts["aten"], 4 * (72 + 144 + 12 + 3));
    assert_eq!(counts["torchscript"], 4 * (64 * 32 + 32 + 32 * 2 + 2));
    assert_eq!((counts["mock"], counts["builtin"]), (0, 0));
}

#[test]
fn a_decoded_digit_has_the_pixels_it_was_written_with() {
    let subject = builtin();
    let output = &subject
        .prepared
        .session()
        .unwrap()
        .run(&subject.inputs[0])
        .unwrap()[0];
    assert_eq!(output.shape(), [1, 1, 8, 8]);
    assert_eq!(subject.prepared.signature().inputs[0].shape.0, fixed(&[1]));
    let pixels = crate::engine_support::values_f32(output);
    assert!(
        pixels
            .iter()
            .all(|pixel| (pixel - pixel.round()).abs() < 0.04 && (0.0..=16.0).contains(pixel))
    );
    assert!(pixels.iter().sum::<f32>() > 100.0);
}
