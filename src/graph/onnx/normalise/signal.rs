//! Fourier transforms and the windows for them.

use super::super::attributes::wrong;
use super::super::dtype::{from_number, name};
use super::super::windows::{BLACKMAN, HAMMING, HANN};
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Fault, Op, Signal};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("BlackmanWindow", |call| window(call, BLACKMAN)),
    ("DFT", fourier),
    ("HammingWindow", |call| window(call, HAMMING)),
    ("HannWindow", |call| window(call, HANN)),
    ("MelWeightMatrix", mel_weights),
    ("STFT", short_time_fourier),
];

/// Before opset 20 the axis was an attribute, and by default the second one.
fn fourier(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = Op::Signal(Signal::Fourier {
        inverse: call.attributes.flag("inverse", false)?,
        one_sided: call.attributes.flag("onesided", false)?,
    });
    if call.opset >= 20 {
        return call.plain(op);
    }
    call.at_most_inputs(2)?;
    let axis = call.attributes.int_or("axis", 1)?;
    let mut inputs = call.inputs.clone();
    inputs.resize(2, None);
    let scalar = literal::of_integers(DType::I64, Vec::new(), &[axis]);
    inputs.push(Some(call.literal("axis", scalar)?));
    Ok(Form::Node(op, inputs))
}

fn short_time_fourier(call: &mut Call<'_>) -> Result<Form, Fault> {
    let one_sided = call.attributes.flag("onesided", true)?;
    call.plain(Op::Signal(Signal::ShortTimeFourier { one_sided }))
}

fn window(call: &mut Call<'_>, coefficients: [f64; 3]) -> Result<Form, Fault> {
    let op = Op::Signal(Signal::Window {
        coefficients,
        periodic: call.attributes.flag("periodic", true)?,
        dtype: output_dtype(call)?,
    });
    call.plain(op)
}

fn mel_weights(call: &mut Call<'_>) -> Result<Form, Fault> {
    let dtype = output_dtype(call)?;
    call.plain(Op::Signal(Signal::MelWeights { dtype }))
}

fn output_dtype(call: &Call<'_>) -> Result<DType, Fault> {
    let Some(number) = call.attributes.int("output_datatype")? else {
        return Ok(DType::F32);
    };
    let number = i32::try_from(number).unwrap_or(-1);
    from_number(number)
        .filter(|dtype| !matches!(dtype, DType::Bool | DType::Bytes))
        .ok_or_else(|| wrong("output_datatype", name(number), "a numeric element type"))
}
