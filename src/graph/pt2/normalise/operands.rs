//! Operands that ATen converts to one dtype before it computes: tensors, tensors without dimensions, numbers.

use super::super::argument::missing;
use super::super::call::Call;
use super::super::dtype::{common, promoted};
use super::super::schema::{Argument, OptionalTensor};
use crate::graph::{Fault, ValueId};
use crate::types::DType;

/// Returns the dtype in which the operator computes with the arguments of these names.
pub(super) fn common_dtype(call: &mut Call<'_>, names: &[&str]) -> Result<DType, Fault> {
    let mut kinds = [None; 3];
    for name in names {
        let (kind, dtype) = match call.arguments.get(name) {
            Some(Argument::Tensor(_) | Argument::OptionalTensor(OptionalTensor::Tensor(_))) => {
                let value = call.tensor(name)?;
                let dtype = call.dtype_of(value, name)?;
                (usize::from(call.rank(value) == Some(0)), dtype)
            }
            Some(Argument::SymInt(_)) => (2, DType::I64),
            _ => {
                let number = call.arguments.number(name)?;
                (2, number.ok_or_else(|| missing(name))?.dtype())
            }
        };
        let seen = kinds[kind].unwrap_or(dtype);
        kinds[kind] = Some(promoted(seen, dtype).ok_or_else(|| Fault::Argument {
            argument: (*name).to_owned(),
            seen: format!("{dtype} beside {seen}"),
            expected: "datatypes that PyTorch converts to one",
        })?);
    }
    common(kinds).ok_or_else(|| missing("self"))
}

/// Returns an argument as a tensor of a dtype.
pub(super) fn operand(call: &mut Call<'_>, name: &str, dtype: DType) -> Result<ValueId, Fault> {
    match call.arguments.get(name) {
        Some(Argument::Tensor(_) | Argument::OptionalTensor(OptionalTensor::Tensor(_))) => {
            let value = call.tensor(name)?;
            call.cast(value, dtype)
        }
        _ => {
            if let Some(size) = call.run_time_scalar(name)? {
                return call.cast(size, dtype);
            }
            let number = call.arguments.number(name)?;
            call.scalar(name, number.ok_or_else(|| missing(name))?, dtype)
        }
    }
}

/// Returns two arguments of one dtype.
pub(super) fn pair(
    call: &mut Call<'_>,
    names: [&str; 2],
    dtype: DType,
) -> Result<Vec<Option<ValueId>>, Fault> {
    let [left, right] = names;
    Ok(vec![
        Some(operand(call, left, dtype)?),
        Some(operand(call, right, dtype)?),
    ])
}

/// Returns `self`, as a float: ATen converts integers for functions that have no other result.
pub(super) fn floating(call: &mut Call<'_>) -> Result<ValueId, Fault> {
    let value = call.tensor("self")?;
    match call.dtype_of(value, "self")? {
        dtype if dtype.is_float() => Ok(value),
        _ => call.cast(value, DType::F32),
    }
}
