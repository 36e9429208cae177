//! What engines say of blocks that cannot be prepared or fail in a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use blockflow::engine::cuda::{Presence, presence};
use blockflow::engine::{BlockSource, EngineError, prepare, warm};
use blockflow::graph::{Binary, Conv, Op, Unary};
use blockflow::types::{
    DType, Device, Dim, ImageLayout, ImageSpec, MockFailure, MockSpec, Signature, Tensor,
};

use crate::engine_support::{
    Builder, data, f32s, fixed, i64s, prepare_graph, signature, values_f32,
};

fn add_graph(output: &[usize]) -> Result<Vec<Tensor>, EngineError> {
    let mut builder = Builder::new();
    let (a, b) = (builder.input(), builder.input());
    let sum = builder.node(Op::Binary(Binary::Add), &[a, b]);
    let graph = builder.finish(&[sum]);
    let n = [Dim::Any];
    let output = fixed(output);
    let spec = signature(
        &[(DType::F32, &n), (DType::F32, &n)],
        &[(DType::F32, &output)],
    );
    let (a, b) = (f32s(&[3], &[1.0; 3]), f32s(&[2], &[1.0; 2]));
    let mut session = prepare_graph(&graph, spec)?.session()?;
    session.run(&[a.clone(), b])?;
    session.run(&[a.clone(), a])
}

#[test]
fn an_operator_error_names_node_and_operator_and_has_one_line() {
    let error = add_graph(&[3]).unwrap_err();
    assert!(!error.is_callers() && error.keeps_session());
    let text = error.to_string();
    assert!(
        text.starts_with("operator \"n0\" (Add) failed: The size of tensor a (3)"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_session_gives_the_same_answers_after_an_operator_error() {
    let mut builder = Builder::new();
    let (a, b) = (builder.input(), builder.input());
    let weight = builder.constant(f32s(&[3], &[0.5, -4.0, 2.0]));
    let moved = builder.node(Op::Binary(Binary::Add), &[a, weight]);
    let positive = builder.node(Op::Unary(Unary::Relu), &[moved]);
    let sum = builder.node(Op::Binary(Binary::Add), &[positive, b]);
    let product = builder.node(Op::Binary(Binary::Mul), &[sum, weight]);
    let graph = builder.finish(&[product]);
    let n = [Dim::Any];
    let spec = signature(&[(DType::F32, &n), (DType::F32, &n)], &[(DType::F32, &n)]);
    let mut session = prepare_graph(&graph, spec).unwrap().session().unwrap();
    let sound = [f32s(&[3], &[1.0; 3]), f32s(&[3], &[0.25; 3])];
    let unsound = [f32s(&[3], &[9.0; 3]), f32s(&[2], &[9.0; 2])];
    let expected = [0.875, -1.0, 6.5];
    for _ in 0..3 {
        assert_eq!(
            values_f32(&session.run(&sound).unwrap()[0]),
            expected,
            "keeps something of the failed run"
        );
        let error = session.run(&unsound).unwrap_err();
        assert!(matches!(error, EngineError::Operator { .. }), "{error}");
        assert!(error.keeps_session());
    }
}

#[test]
fn an_output_that_contradicts_the_signature_is_an_error_of_the_block() {
    let mut builder = Builder::new();
    let x = builder.input();
    let y = builder.node(Op::Unary(Unary::Relu), &[x]);
    let graph = builder.finish(&[y]);
    let (n, two) = ([Dim::symbol("n")], fixed(&[2]));
    let other = [Dim::symbol("n"), Dim::Any];
    let outputs: [(DType, &[Dim]); 3] =
        [(DType::F32, &two), (DType::F64, &n), (DType::F32, &other)];
    for output in outputs {
        let spec = signature(&[(DType::F32, &n)], &[output]);
        let mut session = prepare_graph(&graph, spec).unwrap().session().unwrap();
        let error = session.run(&[f32s(&[3], &[1.0; 3])]).unwrap_err();
        assert!(
            matches!(&error, EngineError::Output { name, .. } if name == "out0"),
            "{error}"
        );
        assert!(!error.is_callers());
    }
}

#[test]
fn a_signature_of_other_length_than_the_graph_is_refused() {
    let mut builder = Builder::new();
    let x = builder.input();
    let y = builder.node(Op::Unary(Unary::Relu), &[x]);
    let graph = builder.finish(&[y]);
    let n = [Dim::Any];
    let error = prepare_graph(&graph, signature(&[], &[(DType::F32, &n)])).unwrap_err();
    assert!(matches!(error, EngineError::Load { .. }), "{error}");
}

#[test]
fn shapes_that_fit_no_kernel_are_errors_and_not_panics() {
    let conv = Op::Conv(Conv {
        groups: 1,
        strides: vec![0, 0],
        ..Conv::default()
    });
    let huge = Op::Conv(Conv {
        groups: 1,
        pads: vec![usize::MAX; 4],
        ..Conv::default()
    });
    let few = Op::Conv(Conv {
        groups: 1,
        pads: vec![1],
        ..Conv::default()
    });
    for op in [conv, huge, few] {
        let mut builder = Builder::new();
        let (x, w) = (builder.input(), builder.input());
        let y = builder.node(op, &[x, w]);
        let graph = builder.finish(&[y]);
        let any = [Dim::Any, Dim::Any, Dim::Any, Dim::Any];
        let spec = signature(
            &[(DType::F32, &any), (DType::F32, &any)],
            &[(DType::F32, &any)],
        );
        let mut session = prepare_graph(&graph, spec).unwrap().session().unwrap();
        let image = f32s(&[1, 1, 3, 3], &[0.0; 9]);
        let error = session.run(&[image.clone(), image]).unwrap_err();
        assert!(matches!(error, EngineError::Operator { .. }), "{error}");
    }
}

#[test]
fn a_device_that_is_not_there_is_refused_with_the_reason() {
    let spec = mock(None);
    let error = prepare(BlockSource::Mock(&spec), 1, Device::Cuda(0)).unwrap_err();
    assert!(
        matches!(
            &error,
            EngineError::Device {
                device: Device::Cuda(0),
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("driver"), "{error}");
}

#[test]
fn presence_agrees_with_the_drivers_device_file() {
    let found = presence();
    if !std::path::Path::new("/dev/nvidiactl").exists() {
        assert!(!matches!(found, Presence::Devices(_)), "{found}");
    }
    assert_eq!(presence(), found);
}

fn head(signature: Signature, path: &str) -> Result<(), EngineError> {
    let path = data(path);
    let source = BlockSource::TorchScript {
        path: &path,
        signature: &signature,
    };
    let prepared = prepare(source, 1, Device::Cpu)?;
    let mut session = prepared.session()?;
    warm(session.as_mut(), &signature).map(drop)
}

fn head_signature(outputs: &[(DType, &[Dim])]) -> Signature {
    signature(
        &[(DType::F32, &[Dim::symbol("n"), Dim::Fixed(64)])],
        outputs,
    )
}

#[test]
fn a_file_that_is_no_torchscript_is_refused_with_its_path() {
    for path in ["digits/report.json", "digits/nothing.pt", "digits"] {
        let error = head(head_signature(&[]), path).unwrap_err();
        assert!(
            matches!(&error, EngineError::Load { path: at, .. } if *at == data(path)),
            "{error}"
        );
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[test]
fn warming_finds_a_torchscript_block_that_contradicts_its_signature() {
    let (n, two, ten) = (Dim::symbol("n"), Dim::Fixed(2), Dim::Fixed(10));
    let right: &[Dim] = &[n.clone(), two.clone()];
    head(
        head_signature(&[(DType::F32, right)]),
        "digits/parity_head.pt",
    )
    .unwrap();
    let wrong: [&[(DType, &[Dim])]; 5] = [
        &[(DType::F32, &[n.clone(), ten])],
        &[(DType::F64, right)],
        &[(DType::F32, &[n])],
        &[(DType::F32, right), (DType::F32, right)],
        &[],
    ];
    for outputs in wrong {
        let error = head(head_signature(outputs), "digits/parity_head.pt").unwrap_err();
        assert!(matches!(error, EngineError::Output { .. }), "{error}");
    }
}

#[test]
fn a_torchscript_error_says_what_failed_in_one_line() {
    let (n, two) = (Dim::symbol("n"), Dim::Fixed(2));
    let spec = signature(
        &[(DType::F32, &[n.clone(), Dim::Fixed(63)])],
        &[(DType::F32, &[n, two])],
    );
    let text = head(spec, "digits/parity_head.pt").unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("parity_head.pt") && text.contains("shapes cannot be multiplied"),
        "{text}"
    );
}

fn mock(failure: Option<MockFailure>) -> MockSpec {
    let n: &[Dim] = &[Dim::symbol("n")];
    let outputs: &[(DType, &[Dim])] = &[
        (DType::U8, n),
        (DType::U8, &[Dim::Fixed(2)]),
        (DType::U8, &[Dim::Fixed(5)]),
        (DType::Bool, n),
    ];
    MockSpec {
        signature: signature(&[(DType::U8, n)], outputs),
        latency: Duration::ZERO,
        weight_bytes: 0,
        failure,
    }
}

fn mock_input() -> Tensor {
    Tensor::copy_of(DType::U8, vec![3], &[7, 8, 255]).unwrap()
}

#[test]
fn a_mock_repeats_its_input_with_one_added() {
    let spec = mock(None);
    let outputs = prepare(BlockSource::Mock(&spec), 1, Device::Cpu)
        .unwrap()
        .session()
        .unwrap()
        .run(&[mock_input()])
        .unwrap();
    let bytes: Vec<&[u8]> = outputs.iter().map(Tensor::bytes).collect();
    assert_eq!(
        bytes,
        [&[8, 9, 0][..], &[8, 9], &[8, 9, 0, 0, 0], &[0, 1, 0]]
    );
}

#[test]
fn a_mock_fails_on_every_kth_run_over_all_its_sessions() {
    let spec = mock(Some(MockFailure::Error { every: 3 }));
    let prepared = prepare(BlockSource::Mock(&spec), 1, Device::Cpu).unwrap();
    let failed: Vec<bool> = (0..7)
        .map(|_| {
            let mut session = prepared.session().unwrap();
            warm(session.as_mut(), prepared.signature()).unwrap();
            matches!(session.run(&[mock_input()]), Err(EngineError::Fault(_)))
        })
        .collect();
    assert_eq!(failed, [false, false, true, false, false, true, false]);
}

#[test]
fn a_mock_panics_where_it_is_declared_to() {
    let spec = mock(Some(MockFailure::Panic { every: 2 }));
    let prepared = prepare(BlockSource::Mock(&spec), 1, Device::Cpu).unwrap();
    let mut session = prepared.session().unwrap();
    session.run(&[mock_input()]).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| session.run(&[mock_input()]))).is_err());
    prepared.session().unwrap().run(&[mock_input()]).unwrap();
}

#[test]
fn a_mock_takes_its_latency_and_hangs_where_it_is_declared_to() {
    let time = Duration::from_millis(20);
    let mut spec = mock(Some(MockFailure::Hang { every: 2, time }));
    spec.latency = Duration::from_millis(5);
    let prepared = prepare(BlockSource::Mock(&spec), 1, Device::Cpu).unwrap();
    let mut session = prepared.session().unwrap();
    let mut took = || {
        let start = std::time::Instant::now();
        session.run(&[mock_input()]).unwrap();
        start.elapsed()
    };
    assert!(took() >= spec.latency);
    assert!(took() >= spec.latency + time);
}

fn image_spec() -> ImageSpec {
    ImageSpec {
        width: 2,
        height: 1,
        channels: 3,
        layout: ImageLayout::ChannelsFirst,
        scale: 1.0,
        mean: vec![0.5, 0.0, 0.0],
        deviation: vec![0.5, 1.0, 2.0],
    }
}

fn png(image: &image::DynamicImage) -> Tensor {
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    Tensor::from_byte_strings(vec![1], &[file.into_inner()]).unwrap()
}

fn decoded(spec: &ImageSpec, file: Tensor) -> Result<Vec<f32>, EngineError> {
    let prepared = prepare(BlockSource::DecodeImage(spec), 1, Device::Cpu)?;
    Ok(values_f32(&prepared.session()?.run(&[file])?[0]))
}

#[test]
fn pixels_are_scaled_normalised_and_laid_out() {
    let rgb = image::RgbImage::from_raw(2, 1, vec![255, 0, 255, 0, 255, 0]).unwrap();
    let file = png(&rgb.into());
    let spec = image_spec();
    assert_eq!(
        decoded(&spec, file.clone()).unwrap(),
        [1.0, -1.0, 0.0, 1.0, 0.5, 0.0]
    );
    let last = ImageSpec {
        layout: ImageLayout::ChannelsLast,
        ..spec.clone()
    };
    assert_eq!(
        decoded(&last, file.clone()).unwrap(),
        [1.0, 0.0, 0.5, -1.0, 1.0, 0.0]
    );
    let gray = ImageSpec {
        channels: 1,
        mean: vec![],
        deviation: vec![],
        ..spec
    };
    let luma = decoded(&gray, file).unwrap();
    assert!(
        (luma[0] - 0.2848).abs() < 0.01 && (luma[1] - 0.7152).abs() < 0.01,
        "{luma:?}"
    );
}

#[test]
fn an_image_of_another_size_is_resized() {
    let gray = image::GrayImage::from_fn(8, 4, |x, _| image::Luma([if x < 4 { 0 } else { 255 }]));
    let spec = ImageSpec {
        channels: 1,
        mean: vec![],
        deviation: vec![],
        ..image_spec()
    };
    let pixels = decoded(&spec, png(&gray.into())).unwrap();
    assert!(pixels[0] < 0.2 && pixels[1] > 0.8, "{pixels:?}");
}

#[test]
fn a_decompression_bomb_is_refused_before_it_is_decoded() {
    // A header that claims 40000 × 40000, then nothing.
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    file.extend_from_slice(&[0, 0, 0x9c, 0x40, 0, 0, 0x9c, 0x40, 8, 6, 0, 0, 0]);
    file.extend_from_slice(&crc(&file[12..]).to_be_bytes());
    file.extend_from_slice(b"\0\0\0\x01IDATx");
    let file = Tensor::from_byte_strings(vec![1], &[file]).unwrap();
    let error = decoded(&image_spec(), file).unwrap_err();
    assert!(
        error.is_callers() && error.to_string().contains("40000"),
        "{error}"
    );
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

#[test]
fn an_image_step_that_makes_no_sense_is_refused() {
    let good = image_spec();
    let bad = [
        ImageSpec {
            channels: 2,
            mean: vec![],
            deviation: vec![],
            ..good.clone()
        },
        ImageSpec {
            width: 0,
            ..good.clone()
        },
        ImageSpec {
            width: 1 << 20,
            height: 1 << 20,
            ..good.clone()
        },
        ImageSpec {
            mean: vec![0.0],
            ..good
        },
    ];
    for spec in bad {
        assert!(
            prepare(BlockSource::DecodeImage(&spec), 1, Device::Cpu).is_err(),
            "{spec:?}"
        );
    }
}

#[test]
fn gather_outside_of_a_dimension_is_an_error() {
    let mut builder = Builder::new();
    let (x, i) = (builder.input(), builder.input());
    let y = builder.node(Op::Gather { axis: 0 }, &[x, i]);
    let graph = builder.finish(&[y]);
    let n = [Dim::Any];
    let spec = signature(&[(DType::F32, &n), (DType::I64, &n)], &[(DType::F32, &n)]);
    let mut session = prepare_graph(&graph, spec).unwrap().session().unwrap();
    for index in [2, -3, i64::MIN] {
        let error = session
            .run(&[f32s(&[2], &[1.0, 2.0]), i64s(&[1], &[index])])
            .unwrap_err();
        assert!(matches!(error, EngineError::Operator { .. }), "{error}");
    }
}

#[test]
fn a_failed_warm_up_on_guessed_sizes_is_let_be_and_on_known_ones_is_not() {
    let mut builder = Builder::new();
    let x = builder.input();
    let weight = builder.constant(f32s(&[1, 1, 3, 3], &[1.0; 9]));
    let conv = Op::Conv(Conv {
        groups: 1,
        ..Conv::default()
    });
    let y = builder.node(conv, &[x, weight]);
    let graph = builder.finish(&[y]);
    let any = [Dim::symbol("n"), Dim::Fixed(1), Dim::Any, Dim::Any];
    let guessed = [
        Dim::symbol("n"),
        Dim::Fixed(1),
        Dim::symbol("h"),
        Dim::symbol("w"),
    ];
    let spec = signature(&[(DType::F32, &guessed)], &[(DType::F32, &any)]);
    let prepared = prepare_graph(&graph, spec.clone()).unwrap();
    let mut session = prepared.session().unwrap();
    warm(session.as_mut(), &spec).unwrap();
    let sum = session.run(&[f32s(&[1, 1, 3, 3], &[1.0; 9])]).unwrap();
    assert_eq!(values_f32(&sum[0]), [9.0]);

    let small = [
        Dim::symbol("n"),
        Dim::Fixed(1),
        Dim::Fixed(1),
        Dim::Fixed(1),
    ];
    let spec = signature(&[(DType::F32, &small)], &[(DType::F32, &any)]);
    let prepared = prepare_graph(&graph, spec.clone()).unwrap();
    let mut session = prepared.session().unwrap();
    let error = warm(session.as_mut(), &spec).unwrap_err();
    assert!(matches!(error, EngineError::Operator { .. }), "{error}");

    let two = [Dim::Fixed(2), Dim::Fixed(1), Dim::Any, Dim::Any];
    let mut builder = Builder::new();
    let x = builder.input();
    let y = builder.node(Op::Unary(Unary::Relu), &[x]);
    let graph = builder.finish(&[y]);
    let spec = signature(&[(DType::F32, &guessed)], &[(DType::F32, &two)]);
    let prepared = prepare_graph(&graph, spec.clone()).unwrap();
    let mut session = prepared.session().unwrap();
    let error = warm(session.as_mut(), &spec).unwrap_err();
    assert!(matches!(error, EngineError::Output { .. }), "{error}");
}
