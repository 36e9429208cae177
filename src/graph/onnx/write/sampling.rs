//! Operators that read images between their elements, from files, or in regions.

use crate::graph::{
    Aspect, Coordinates, GridMode, GridSample, Interpolation, Outside, PixelFormat, Resize,
    RoiAlign, Rounding,
};
use crate::types::{DType, Tensor};

use super::attribute::{flag, float, ints, size, text};
use super::call::{Call, Written};
use super::tensor::inline;

pub(super) fn resize(call: &mut Call<'_, '_>, op: &Resize) -> Written {
    let mut attributes = match op.interpolation {
        Interpolation::Nearest(rounding) => {
            let rounding = match rounding {
                Rounding::HalfDown => "round_prefer_floor",
                Rounding::HalfUp => "round_prefer_ceil",
                Rounding::Floor => "floor",
                Rounding::Ceil => "ceil",
                Rounding::ByScale => return Err(call.refused()),
            };
            vec![text("mode", "nearest"), text("nearest_mode", rounding)]
        }
        Interpolation::Linear => vec![text("mode", "linear")],
        Interpolation::Cubic { coefficient } => {
            vec![text("mode", "cubic"), float("cubic_coeff_a", coefficient)]
        }
    };
    let coordinates = match op.coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::HalfPixelSymmetric => "half_pixel_symmetric",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
        // Of opset 11 only.
        Coordinates::TensorflowHalfPixel => return Err(call.refused()),
        Coordinates::AlignCorners => "align_corners",
        Coordinates::Asymmetric => "asymmetric",
        Coordinates::CropAndResize => "tf_crop_and_resize",
    };
    attributes.push(text("coordinate_transformation_mode", coordinates));
    let aspect = match op.aspect {
        Aspect::Stretch => "stretch",
        Aspect::NotLarger => "not_larger",
        Aspect::NotSmaller => "not_smaller",
    };
    attributes.extend([
        text("keep_aspect_ratio_policy", aspect),
        flag("antialias", op.antialias),
        flag("exclude_outside", op.exclude_outside),
        float("extrapolation_value", op.extrapolation),
    ]);
    let axes = op.axes.as_ref();
    attributes.extend(axes.map(|axes| ints("axes", axes.iter().copied())));
    if !op.scales.is_empty() {
        call.inputs.resize(call.inputs.len().max(3), String::new());
        call.inputs[2] = stated(call, &op.scales)?;
    }
    call.plain(attributes)
}

fn stated(call: &mut Call<'_, '_>, scales: &[f32]) -> Result<String, crate::graph::GraphError> {
    let bytes: Vec<u8> = scales
        .iter()
        .flat_map(|scale| scale.to_le_bytes())
        .collect();
    let scales = Tensor::copy_of(DType::F32, vec![scales.len()], &bytes);
    let scales = scales.map_err(|_| call.refused())?;
    Ok(call.constant("scales", inline("", &scales)))
}

pub(super) fn grid_sample(call: &mut Call<'_, '_>, op: GridSample) -> Written {
    let mode = match op.mode {
        GridMode::Nearest => "nearest",
        GridMode::Linear => "linear",
        GridMode::Cubic => "cubic",
    };
    let outside = match op.outside {
        Outside::Zeros => "zeros",
        Outside::Border => "border",
        Outside::Reflection => "reflection",
    };
    call.plain(vec![
        text("mode", mode),
        text("padding_mode", outside),
        flag("align_corners", op.align_corners),
    ])
}

pub(super) fn affine_grid(call: &mut Call<'_, '_>, align_corners: bool) -> Written {
    call.plain(vec![flag("align_corners", align_corners)])
}

pub(super) fn non_max_suppression(call: &mut Call<'_, '_>, center_point_box: bool) -> Written {
    call.plain(vec![flag("center_point_box", center_point_box)])
}

pub(super) fn roi_align(call: &mut Call<'_, '_>, op: &RoiAlign) -> Written {
    let [height, width] = op.size;
    let coordinates = if op.half_pixel {
        "half_pixel"
    } else {
        "output_half_pixel"
    };
    call.plain(vec![
        size("output_height", height),
        size("output_width", width),
        float("spatial_scale", op.scale),
        size("sampling_ratio", op.samples),
        text("mode", if op.maximum { "max" } else { "avg" }),
        text("coordinate_transformation_mode", coordinates),
    ])
}

pub(super) fn image_decoder(call: &mut Call<'_, '_>, format: PixelFormat) -> Written {
    let format = match format {
        PixelFormat::Rgb => "RGB",
        PixelFormat::Bgr => "BGR",
        PixelFormat::Grayscale => "Grayscale",
    };
    call.plain(vec![text("pixel_format", format)])
}
