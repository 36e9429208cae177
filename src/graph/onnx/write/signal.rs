//! Fourier transforms and what is made for them.

use crate::graph::Signal;
use crate::graph::onnx::dtype::number;
use crate::graph::onnx::windows::WINDOWS;
use crate::types::DType;

use super::attribute::{flag, int};
use super::call::{Call, Written};

pub(super) fn signal(call: &mut Call<'_, '_>, op: &Signal) -> Written {
    match op {
        Signal::Fourier { inverse, one_sided } => call.plain(vec![
            flag("inverse", *inverse),
            flag("onesided", *one_sided),
        ]),
        Signal::ShortTimeFourier { one_sided } => call.plain(vec![flag("onesided", *one_sided)]),
        Signal::Window {
            coefficients,
            periodic,
            dtype,
        } => {
            let known = WINDOWS.iter().find(|(_, own)| own == coefficients);
            let (name, _) = known.ok_or_else(|| call.refused())?;
            let attributes = vec![flag("periodic", *periodic), output(*dtype)];
            call.under("", name, attributes)
        }
        Signal::MelWeights { dtype } => call.plain(vec![output(*dtype)]),
    }
}

fn output(dtype: DType) -> crate::graph::onnx::proto::AttributeProto {
    int("output_datatype", number(dtype).into())
}
