//! Operators that read images between their elements, from files, or in regions.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{
    Aspect, Coordinates, Fault, GridMode, GridSample, Interpolation, Op, Outside, PixelFormat,
    Resize, RoiAlign, Rounding,
};

pub(super) const RULES: &[Rule] = &[
    ("AffineGrid", |call| {
        let align_corners = call.attributes.flag("align_corners", false)?;
        call.plain(Op::AffineGrid { align_corners })
    }),
    ("GridSample", grid_sample),
    ("ImageDecoder", image_decoder),
    ("NonMaxSuppression", |call| {
        let center_point_box = call.attributes.flag("center_point_box", false)?;
        call.plain(Op::NonMaxSuppression { center_point_box })
    }),
    ("Resize", resize),
    ("RoiAlign", roi_align),
    ("Upsample", upsample),
];

/// Reads a text that is one of a few.
fn choice<T: Copy>(
    call: &Call<'_>,
    attribute: &str,
    default: T,
    choices: &[(&str, T)],
) -> Result<T, Fault> {
    let Some(seen) = call.attributes.text(attribute)? else {
        return Ok(default);
    };
    choices
        .iter()
        .find(|(name, _)| *name == seen)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            wrong(attribute, format!("{seen:?}"), &names.join(" or "))
        })
}

/// Inputs at opset 10: data, scales; since: data, region?, scales?, sizes?.
fn resize(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset < 11 {
        call.at_most_inputs(2)?;
        return scaled(call, Rounding::ByScale);
    }
    let (mode, rounding) = (mode(call)?, rounding(call)?);
    let coefficient = call.attributes.float_or("cubic_coeff_a", -0.75)?;
    let coordinates = coordinates(call)?;
    let exclude_outside = call.attributes.flag("exclude_outside", false)?;
    let extrapolation = call.attributes.float_or("extrapolation_value", 0.0)?;
    let (mut axes, mut antialias, mut aspect) = (None, false, Aspect::Stretch);
    if call.opset >= 18 {
        axes = call.attributes.ints("axes")?.map(<[i64]>::to_vec);
        antialias = call.attributes.flag("antialias", false)?;
        let aspects = [
            ("stretch", Aspect::Stretch),
            ("not_larger", Aspect::NotLarger),
            ("not_smaller", Aspect::NotSmaller),
        ];
        aspect = choice(call, "keep_aspect_ratio_policy", Aspect::Stretch, &aspects)?;
    }
    let interpolation = match mode {
        Mode::Nearest => Interpolation::Nearest(rounding),
        Mode::Linear => Interpolation::Linear,
        Mode::Cubic => Interpolation::Cubic { coefficient },
    };
    if antialias && mode == Mode::Nearest {
        return Err(wrong("antialias", 1, "0 in mode nearest"));
    }
    let mut inputs = call.inputs.clone();
    if coordinates != Coordinates::CropAndResize && inputs.len() > 1 {
        inputs[1] = None;
    }
    let scales = stated(call, 2);
    // An input without elements stands for one that is absent, which older opsets did not allow.
    for (place, input) in inputs.iter_mut().enumerate().skip(2) {
        let list = call.weight(place);
        let empty = list.is_some_and(|list| list.shape().contains(&0));
        if empty || place == 2 && !scales.is_empty() {
            *input = None;
        }
    }
    let op = Resize {
        interpolation,
        coordinates,
        scales,
        axes,
        aspect,
        exclude_outside,
        antialias,
        extrapolation,
    };
    Ok(Form::Node(Op::Resize(op), inputs))
}

/// Returns the factors that the model file states in an input, none if they are computed or there are none.
fn stated(call: &Call<'_>, input: usize) -> Vec<f32> {
    call.weight(input)
        .and_then(literal::read_floats)
        .unwrap_or_default()
}

/// Inputs since opset 9: data, scales.
fn upsample(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset >= 9 {
        return scaled(call, Rounding::Floor);
    }
    call.at_most_inputs(1)?;
    let scales = match call.opset {
        ..7 => {
            let attributes = &call.attributes;
            let scale = |name: &str| {
                attributes.float(name)?.ok_or(Fault::NoAttribute {
                    attribute: name.to_owned(),
                    expected: "a factor",
                })
            };
            vec![1.0, 1.0, scale("height_scale")?, scale("width_scale")?]
        }
        _ => {
            let scales = call.attributes.floats("scales")?;
            let scales = scales.ok_or(Fault::NoAttribute {
                attribute: "scales".to_owned(),
                expected: "a factor for each dimension",
            })?;
            scales.to_vec()
        }
    };
    asymmetric(call, Rounding::Floor, scales)
}

/// Inputs: data, scales.
fn scaled(call: &mut Call<'_>, rounding: Rounding) -> Result<Form, Fault> {
    let scales = stated(call, 1);
    let rounding = match rounding {
        // What follows from the factors is said in their place, where they are known.
        Rounding::ByScale if scales.is_empty() => rounding,
        Rounding::ByScale if scales.iter().all(|&scale| scale >= 1.0) => Rounding::Floor,
        Rounding::ByScale if scales.iter().all(|&scale| scale <= 1.0) => Rounding::Ceil,
        other => other,
    };
    asymmetric(call, rounding, scales)
}

/// The only form before opset 11. `scales` are those that the model file states.
fn asymmetric(call: &mut Call<'_>, rounding: Rounding, scales: Vec<f32>) -> Result<Form, Fault> {
    let interpolation = match mode(call)? {
        Mode::Nearest => Interpolation::Nearest(rounding),
        Mode::Linear => Interpolation::Linear,
        Mode::Cubic => return Err(wrong("mode", "\"cubic\"", "nearest or linear")),
    };
    let mut inputs = vec![Some(call.input(0)?)];
    if scales.is_empty() {
        inputs.extend([None, Some(call.input(1)?)]);
    }
    let op = Resize {
        interpolation,
        coordinates: Coordinates::Asymmetric,
        scales,
        axes: None,
        aspect: Aspect::Stretch,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
    };
    Ok(Form::Node(Op::Resize(op), inputs))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

fn mode(call: &Call<'_>) -> Result<Mode, Fault> {
    let modes = [
        ("nearest", Mode::Nearest),
        ("linear", Mode::Linear),
        ("bilinear", Mode::Linear),
        ("cubic", Mode::Cubic),
    ];
    choice(call, "mode", Mode::Nearest, &modes)
}

fn rounding(call: &Call<'_>) -> Result<Rounding, Fault> {
    let roundings = [
        ("round_prefer_floor", Rounding::HalfDown),
        ("round_prefer_ceil", Rounding::HalfUp),
        ("floor", Rounding::Floor),
        ("ceil", Rounding::Ceil),
    ];
    choice(call, "nearest_mode", Rounding::HalfDown, &roundings)
}

fn coordinates(call: &Call<'_>) -> Result<Coordinates, Fault> {
    let forms = [
        ("half_pixel", Coordinates::HalfPixel),
        ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
        ("align_corners", Coordinates::AlignCorners),
        ("asymmetric", Coordinates::Asymmetric),
        ("tf_crop_and_resize", Coordinates::CropAndResize),
        ("half_pixel_symmetric", Coordinates::HalfPixelSymmetric),
        ("tf_half_pixel_for_nn", Coordinates::TensorflowHalfPixel),
    ];
    let attribute = "coordinate_transformation_mode";
    choice(call, attribute, Coordinates::HalfPixel, &forms)
}

fn grid_sample(call: &mut Call<'_>) -> Result<Form, Fault> {
    let modes = [
        ("linear", GridMode::Linear),
        ("bilinear", GridMode::Linear),
        ("nearest", GridMode::Nearest),
        ("cubic", GridMode::Cubic),
        ("bicubic", GridMode::Cubic),
    ];
    let outsides = [
        ("zeros", Outside::Zeros),
        ("border", Outside::Border),
        ("reflection", Outside::Reflection),
    ];
    let op = GridSample {
        mode: choice(call, "mode", GridMode::Linear, &modes)?,
        outside: choice(call, "padding_mode", Outside::Zeros, &outsides)?,
        align_corners: call.attributes.flag("align_corners", false)?,
    };
    call.plain(Op::GridSample(op))
}

fn roi_align(call: &mut Call<'_>) -> Result<Form, Fault> {
    let size = |name: &str, default: i64| {
        let value = call.attributes.int_or(name, default)?;
        usize::try_from(value).map_err(|_| wrong(name, value, "at least 0"))
    };
    let (height, width) = (size("output_height", 1)?, size("output_width", 1)?);
    let samples = size("sampling_ratio", 0)?;
    let half_pixel = match call.opset {
        16.. => {
            let modes = [("half_pixel", true), ("output_half_pixel", false)];
            choice(call, "coordinate_transformation_mode", true, &modes)?
        }
        _ => false,
    };
    let op = RoiAlign {
        size: [height, width],
        scale: call.attributes.float_or("spatial_scale", 1.0)?,
        samples,
        maximum: choice(call, "mode", false, &[("avg", false), ("max", true)])?,
        half_pixel,
    };
    call.plain(Op::RoiAlign(op))
}

fn image_decoder(call: &mut Call<'_>) -> Result<Form, Fault> {
    let formats = [
        ("RGB", PixelFormat::Rgb),
        ("BGR", PixelFormat::Bgr),
        ("Grayscale", PixelFormat::Grayscale),
    ];
    let format = choice(call, "pixel_format", PixelFormat::Rgb, &formats)?;
    call.plain(Op::ImageDecoder(format))
}
