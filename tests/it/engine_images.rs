//! Operators over images where data decides what happens: sizes, places and files that nobody checked before.

use std::slice::from_ref;

use blockflow::graph::{
    Aspect, AutoPad, Coordinates, GridMode, GridSample, Interpolation, MaxRoiPool, MaxUnpool,
    Normalization, Op, Outside, PadMode, PixelFormat, Pool, PoolKind, Resize, RoiAlign, Rounding,
};
use blockflow::types::{DType, Tensor};

use crate::engine_support::{bools, f32s, f64s, i64s, list, run_op, u8s, values_f32};

/// Runs an operator whose first input is data, the others too unless `constant`.
fn run(
    op: &Op,
    inputs: &[Tensor],
    constant: bool,
    expected: &[Tensor],
) -> Result<Vec<Tensor>, String> {
    let inputs: Vec<_> = inputs.iter().cloned().map(Some).collect();
    let mut flags = vec![constant; inputs.len()];
    flags[0] = false;
    run_op(op, &inputs, &flags, expected).map_err(|error| error.to_string())
}

fn gives(op: &Op, inputs: &[Tensor], expected: &[Tensor]) {
    for constant in [true, false] {
        let outputs = run(op, inputs, constant, expected).unwrap();
        for (seen, expected) in outputs.iter().zip(expected) {
            assert_eq!(seen.dtype(), expected.dtype());
            assert_eq!(seen.bytes(), expected.bytes(), "{op:?}: {seen:?}");
        }
    }
}

fn refuses(op: &Op, inputs: &[Tensor], part: &str) {
    for constant in [true, false] {
        let error = run(op, inputs, constant, &[f32s(&[0], &[])]).unwrap_err();
        assert!(error.contains(part), "{op:?}: {error}");
    }
}

fn resize(interpolation: Interpolation, coordinates: Coordinates) -> Resize {
    Resize {
        interpolation,
        coordinates,
        scales: vec![],
        axes: None,
        aspect: Aspect::Stretch,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
    }
}

#[test]
fn sizes_that_data_asks_for_are_bounded() {
    let x = f32s(&[1, 1, 2, 2], &[1.0; 4]);
    let nearest = resize(
        Interpolation::Nearest(Rounding::Floor),
        Coordinates::Asymmetric,
    );
    let none = f32s(&[0], &[]);
    for sizes in [[1, 1, 1 << 40, 1 << 40], [1, 1, 1 << 20, 1 << 20]] {
        let inputs = [x.clone(), none.clone(), none.clone(), list(&sizes)];
        refuses(&Op::Resize(nearest.clone()), &inputs, "more than");
    }
    let negative = [x.clone(), none.clone(), none.clone(), list(&[1, 1, -1, 2])];
    refuses(&Op::Resize(nearest.clone()), &negative, "are no sizes");
    let factors = f32s(&[4], &[1.0, 1.0, f32::NAN, 2.0]);
    refuses(
        &Op::Resize(nearest),
        &[x.clone(), none, factors],
        "is not positive",
    );
    let pads = list(&[0, 0, 0, 0, 0, 0, 1 << 40, 0]);
    refuses(&Op::Pad(PadMode::Constant), &[x.clone(), pads], "more than");
    let crop = Op::CenterCropPad { axes: None };
    refuses(&crop, &[x, list(&[1, 1, 1 << 20, 1 << 20])], "more than");
}

#[test]
fn a_uniform_image_stays_so_at_any_size() {
    let x = u8s(&[1, 1, 3, 4], &[255; 12]);
    let none = f32s(&[0], &[]);
    for interpolation in [
        Interpolation::Linear,
        Interpolation::Cubic { coefficient: -0.75 },
    ] {
        for antialias in [false, true] {
            let op = Op::Resize(Resize {
                antialias,
                ..resize(interpolation, Coordinates::HalfPixel)
            });
            let inputs = [x.clone(), none.clone(), none.clone(), list(&[1, 1, 7, 2])];
            gives(&op, &inputs, &[u8s(&[1, 1, 7, 2], &[255; 14])]);
        }
    }
}

#[test]
fn nearest_places_do_not_depend_on_the_kernel_that_finds_them() {
    let values: Vec<f32> = (0..10_u8).map(f32::from).collect();
    let none = f32s(&[0], &[]);
    // A tenth is a little more in FP32, but ten of it are one.
    let op = resize(
        Interpolation::Nearest(Rounding::Floor),
        Coordinates::Asymmetric,
    );
    let scales = f32s(&[4], &[1.0, 1.0, 1.0, 0.1]);
    let wide: Vec<f32> = (0..20_u8).map(f32::from).collect();
    let inputs = [f32s(&[1, 1, 1, 20], &wide), none.clone(), scales];
    gives(
        &Op::Resize(op.clone()),
        &inputs,
        &[f32s(&[1, 1, 1, 2], &[0.0, 10.0])],
    );
    // Integers go the other way.
    let scales = f32s(&[1], &[0.5]);
    let op = Resize {
        axes: Some(vec![-1]),
        ..op
    };
    let expected: Vec<i64> = vec![0, 2, 4, 6, 8];
    let integers: Vec<i64> = (0..10).collect();
    let inputs = [
        i64s(&[1, 1, 1, 10], &integers),
        none.clone(),
        scales.clone(),
    ];
    gives(
        &Op::Resize(op.clone()),
        &inputs,
        &[i64s(&[1, 1, 1, 5], &expected)],
    );
    let inputs = [f32s(&[1, 1, 1, 10], &values), none, scales];
    gives(
        &Op::Resize(op),
        &inputs,
        &[f32s(&[1, 1, 1, 5], &[0.0, 2.0, 4.0, 6.0, 8.0])],
    );
}

#[test]
fn regions_have_to_be_of_an_image_and_of_a_sensible_size() {
    let x = f32s(&[2, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let op = Op::RoiAlign(RoiAlign {
        size: [1, 1],
        scale: 1.0,
        samples: 0,
        maximum: false,
        half_pixel: true,
    });
    let whole = f32s(&[1, 4], &[0.0, 0.0, 2.0, 2.0]);
    gives(
        &op,
        &[x.clone(), whole.clone(), list(&[1])],
        &[f32s(&[1, 1, 1, 1], &[6.5])],
    );
    for index in [2, -1, i64::MIN] {
        refuses(
            &op,
            &[x.clone(), whole.clone(), list(&[index])],
            "lies outside of 2 images",
        );
    }
    let vast = f32s(&[1, 4], &[0.0, 0.0, 1e30, 1e30]);
    refuses(&op, &[x.clone(), vast, list(&[0])], "samples, more than");
    let nowhere = f32s(&[1, 4], &[f32::NAN; 4]);
    gives(
        &op,
        &[x.clone(), nowhere, list(&[0])],
        &[f32s(&[1, 1, 1, 1], &[0.0])],
    );
    refuses(
        &op,
        &[x.clone(), whole, list(&[0, 0])],
        "for 2 batch indices",
    );
    let pool = Op::MaxRoiPool(MaxRoiPool {
        size: [2, 1],
        scale: 0.5,
    });
    let regions = f32s(&[2, 5], &[1.0, 0.0, 0.0, 2.0, 2.0, 0.0, 2.0, 2.0, 9.0, 9.0]);
    gives(
        &pool,
        &[x.clone(), regions],
        &[f32s(&[2, 1, 2, 1], &[6.0, 8.0, 4.0, 0.0])],
    );
    refuses(
        &pool,
        &[x, f32s(&[1, 5], &[7.0, 0.0, 0.0, 1.0, 1.0])],
        "batch index 7",
    );
}

#[test]
fn boxes_and_scores_have_to_fit_and_may_be_none() {
    let op = Op::NonMaxSuppression {
        center_point_box: false,
    };
    let boxes = f32s(&[1, 2, 4], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    let scores = f32s(&[1, 2, 2], &[0.5, 0.9, 0.1, f32::NEG_INFINITY]);
    let most = i64s(&[1], &[i64::MAX]);
    gives(
        &op,
        &[boxes.clone(), scores.clone(), most.clone()],
        &[i64s(&[2, 3], &[0, 0, 1, 0, 1, 0])],
    );
    let negative = i64s(&[], &[-3]);
    gives(
        &op,
        &[boxes.clone(), scores.clone(), negative],
        &[i64s(&[0, 3], &[])],
    );
    gives(&op, &[boxes.clone(), scores], &[i64s(&[0, 3], &[])]);
    let empty = [f32s(&[1, 0, 4], &[]), f32s(&[1, 2, 0], &[]), most.clone()];
    gives(&op, &empty, &[i64s(&[0, 3], &[])]);
    refuses(
        &op,
        &[boxes, f32s(&[1, 1, 3], &[0.0; 3]), most],
        "do not fit boxes",
    );
}

#[test]
fn maxima_know_their_place_also_beside_padding() {
    let pool = |column_major| {
        Op::Pool(Pool {
            kind: PoolKind::Max,
            kernel: vec![2, 2],
            auto_pad: AutoPad::Explicit,
            pads: vec![1, 0, 0, 0],
            strides: vec![2, 2],
            dilations: vec![],
            ceil_mode: false,
            count_include_pad: false,
            column_major,
        })
    };
    let image = [1.0, 5.0, 2.0, 0.0, 3.0, 4.0, 9.0, 8.0, 6.0, 7.0, 1.0, 1.0];
    let x = f32s(&[1, 2, 3, 4], &[image, image].concat());
    let values = f32s(&[1, 2, 2, 2], &[5.0, 2.0, 7.0, 9.0, 5.0, 2.0, 7.0, 9.0]);
    let rows = i64s(&[1, 2, 2, 2], &[1, 2, 9, 6, 13, 14, 21, 18]);
    let columns = i64s(&[1, 2, 2, 2], &[3, 6, 5, 7, 15, 18, 17, 19]);
    gives(&pool(false), from_ref(&x), &[values.clone(), rows]);
    gives(&pool(true), &[x], &[values, columns]);
    let bottomless = f32s(&[1, 1, 1, 2], &[f32::NEG_INFINITY; 2]);
    let outputs = run(
        &pool(false),
        &[bottomless],
        true,
        &[f32s(&[1, 1, 1, 1], &[0.0]), i64s(&[1, 1, 1, 1], &[0])],
    );
    assert_eq!(outputs.unwrap()[1].bytes(), 0_i64.to_le_bytes());
    let unpool = Op::MaxUnpool(MaxUnpool {
        kernel: vec![2, 2],
        pads: vec![],
        strides: vec![2, 2],
    });
    for index in [4, -1] {
        let inputs = [f32s(&[1, 1, 1, 1], &[1.0]), i64s(&[1, 1, 1, 1], &[index])];
        refuses(&unpool, &inputs, "out of bounds");
    }
}

#[test]
fn a_volume_is_sampled_as_its_planes_are() {
    let plane: Vec<f32> = (0..12_u8).map(|value| f32::from(value * value)).collect();
    let places = [-1.3, -0.4, 0.1, 0.9, 0.55, -0.95, 1.2, 0.0];
    let flat = f32s(&[1, 1, 3, 4], &plane);
    let grid = f32s(&[1, 1, 4, 2], &places);
    // A depth of three equal planes, sampled in the middle one.
    let deep = f32s(&[1, 1, 3, 3, 4], &plane.repeat(3));
    let lifted: Vec<f32> = places
        .chunks(2)
        .flat_map(|place| [place[0], place[1], 0.0])
        .collect();
    let lifted = f32s(&[1, 1, 1, 4, 3], &lifted);
    for outside in [Outside::Zeros, Outside::Border, Outside::Reflection] {
        for align_corners in [false, true] {
            let op = Op::GridSample(GridSample {
                mode: GridMode::Cubic,
                outside,
                align_corners,
            });
            let expected = [f32s(&[1, 1, 1, 4], &[0.0; 4])];
            let two = run(&op, &[flat.clone(), grid.clone()], false, &expected).unwrap();
            let expected = [f32s(&[1, 1, 1, 1, 4], &[0.0; 4])];
            let three = run(&op, &[deep.clone(), lifted.clone()], false, &expected).unwrap();
            for (left, right) in values_f32(&two[0]).iter().zip(values_f32(&three[0])) {
                assert!((left - right).abs() <= 1e-3, "{op:?}: {left} and {right}");
            }
        }
    }
    let op = Op::GridSample(GridSample {
        mode: GridMode::Linear,
        outside: Outside::Zeros,
        align_corners: true,
    });
    let line = [
        f32s(&[1, 1, 3], &[0.0, 10.0, 20.0]),
        f32s(&[1, 2, 1], &[-1.0, 0.25]),
    ];
    gives(&op, &line, &[f32s(&[1, 1, 2], &[0.0, 12.5])]);
    refuses(&op, &[flat, f32s(&[1, 4, 2], &places)], "do not fit data");
}

#[test]
fn a_file_that_is_no_image_has_no_pixels() {
    for (format, channels) in [(PixelFormat::Rgb, 3), (PixelFormat::Grayscale, 1)] {
        let op = Op::ImageDecoder(format);
        let nothing = [u8s(&[0, 0, channels], &[])];
        gives(&op, &[u8s(&[4], b"text")], &nothing);
        gives(&op, &[u8s(&[0], b"")], &nothing);
    }
    let file = b"P6 2 1 255 \x0a\x14\x1e\x28\x32\x3c";
    let pixels = |format, shape: &[usize], expected: &[u8]| {
        let input = u8s(&[file.len()], file);
        gives(&Op::ImageDecoder(format), &[input], &[u8s(shape, expected)]);
    };
    pixels(PixelFormat::Rgb, &[1, 2, 3], &[10, 20, 30, 40, 50, 60]);
    pixels(PixelFormat::Bgr, &[1, 2, 3], &[30, 20, 10, 60, 50, 40]);
    pixels(PixelFormat::Grayscale, &[1, 2, 1], &[18, 48]);
    let bomb = b"P6 60000 60000 255 ";
    let op = Op::ImageDecoder(PixelFormat::Rgb);
    refuses(
        &op,
        &[u8s(&[bomb.len()], bomb)],
        "60000 × 60000 is more than",
    );
}

#[test]
fn dropout_in_training_keeps_the_mean_and_repeats_itself_with_a_seed() {
    let op = Op::Dropout { seed: Some(7) };
    let x = f32s(&[1000], &[1.0; 1000]);
    let inputs = [x.clone(), f32s(&[], &[0.25]), bools(&[], &[1])];
    let expected = [x.clone(), bools(&[1000], &[1; 1000])];
    let first = run(&op, &inputs, false, &expected).unwrap();
    let again = run(&op, &inputs, false, &expected).unwrap();
    assert_eq!(first[0].bytes(), again[0].bytes());
    let kept = first[1].bytes().iter().filter(|&&kept| kept == 1).count();
    assert!((650..850).contains(&kept), "{kept}");
    let sum: f32 = values_f32(&first[0]).iter().sum();
    assert!((sum - kept as f32 / 0.75).abs() < 0.1, "{sum} of {kept}");
    let ratio = |value: f32| [x.clone(), f32s(&[], &[value]), bools(&[], &[1])];
    refuses(&op, &ratio(1.5), "is not from 0 to 1");
    refuses(&op, &ratio(f32::NAN), "is not from 0 to 1");
}

#[test]
fn parameters_of_a_normalisation_may_be_of_another_precision() {
    let batch = Op::Normalization(Normalization::Batch { epsilon: 0.0 });
    let inputs = [
        f32s(&[1, 1, 2], &[1.0, 3.0]),
        f64s(&[1], &[2.0]),
        f32s(&[1], &[1.0]),
        f64s(&[1], &[1.0]),
        f32s(&[1], &[4.0]),
    ];
    gives(&batch, &inputs, &[f32s(&[1, 1, 2], &[1.0, 3.0])]);
    let layer = Op::Normalization(Normalization::Layer {
        axis: 1,
        epsilon: 0.0,
        brief_statistics: false,
    });
    let statistics = |values: &[f32]| f32s(&[1, 1], values);
    gives(
        &layer,
        &[f64s(&[1, 2], &[1.0, 5.0]), f64s(&[1], &[1.0])],
        &[
            f64s(&[1, 2], &[-1.0, 1.0]),
            statistics(&[3.0]),
            statistics(&[0.5]),
        ],
    );
    assert_eq!(statistics(&[0.0]).dtype(), DType::F32);
}
