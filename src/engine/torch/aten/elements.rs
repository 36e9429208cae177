//! The elements of a tensor as plain memory, for what libtorch has no kernel for.

use tch::Kind;

use crate::types::Tensor;

use super::super::cause::Cause;
use super::super::ffi::export;

/// FP32 elements, row-major.
pub(super) struct Floats(Tensor);

impl Floats {
    /// Shares the elements; converts them first if they are of another type.
    pub(super) fn of(tensor: &tch::Tensor) -> Result<Self, Cause> {
        export(tensor.f_totype(Kind::Float)?).map(Self)
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(self.0.bytes())
    }
}

/// The bytes of a UINT8 tensor.
pub(super) fn bytes(tensor: &tch::Tensor) -> Result<Tensor, Cause> {
    match tensor.f_kind()? {
        Kind::Uint8 => export(tensor.shallow_clone()),
        kind => Err(Cause::new(format!("expected bytes, got {kind:?}"))),
    }
}
