//! Images of another size.

use super::super::call::{Call, Form};
use super::super::schema::Argument;
use super::registry::Rule;
use crate::graph::{Aspect, Coordinates, Fault, Interpolation, Op, Resize, Rounding};

pub(super) const RULES: &[Rule] = &[
    ("upsample_bilinear2d.default", |call| {
        resize(call, Interpolation::Linear)
    }),
    ("upsample_bilinear2d.vec", |call| {
        resize(call, Interpolation::Linear)
    }),
    ("upsample_nearest2d.default", |call| {
        resize(call, Interpolation::Nearest(Rounding::Floor))
    }),
    ("upsample_nearest2d.vec", |call| {
        resize(call, Interpolation::Nearest(Rounding::Floor))
    }),
];

/// Batch and channels are kept. To known sizes, or by known factors.
fn resize(call: &mut Call<'_>, interpolation: Interpolation) -> Result<Form, Fault> {
    let name = if call.arguments.get("input").is_some() {
        "input"
    } else {
        "self"
    };
    let data = call.tensor(name)?;
    let align = call.arguments.flag("align_corners", false)?;
    let coordinates = match interpolation {
        Interpolation::Linear if align => Coordinates::AlignCorners,
        Interpolation::Linear => Coordinates::HalfPixel,
        _ => Coordinates::Asymmetric,
    };
    let mut op = Resize {
        interpolation,
        coordinates,
        scales: Vec::new(),
        axes: Some(vec![2, 3]),
        aspect: Aspect::Stretch,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
    };
    if call.rank(data) != Some(4) {
        return Ok(Form::Aten);
    }
    if let Some(Argument::Ints(_)) = call.arguments.get("output_size") {
        if call.arguments.get("scale_factors").is_some() {
            return Ok(Form::Aten);
        }
        let sizes = call.sizes("output_size")?;
        // A factor that rounds to these sizes is another ratio than theirs.
        if call.arguments.get("scales_h").is_some() || call.arguments.get("scales_w").is_some() {
            return Ok(Form::Aten);
        }
        let inputs = vec![Some(data), None, None, Some(sizes)];
        return Ok(Form::Node(Op::Resize(op), inputs));
    }
    let Some(Argument::Floats(factors)) = call.arguments.get("scale_factors") else {
        return Ok(Form::Aten);
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "factors are of single precision here"
    )]
    let factors: Vec<f32> = factors.iter().map(|factor| factor.0 as f32).collect();
    // Other factors round sizes and ratios in ways of their own.
    if factors.len() != 2
        || factors
            .iter()
            .any(|factor| factor.fract() != 0.0 || *factor < 1.0)
    {
        return Ok(Form::Aten);
    }
    op.scales = factors;
    Ok(Form::Node(Op::Resize(op), vec![Some(data)]))
}
