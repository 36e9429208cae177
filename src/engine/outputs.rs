//! The check of results against a signature, the same for all engines.

use crate::types::{Bindings, Dim, ShapeSpec, Signature, Tensor, TensorSpec};

use super::EngineError;

/// Checks count, dtypes and shapes of results; symbols that the inputs bound must have the same size.
pub(super) fn check_outputs(
    signature: &Signature,
    outputs: &[Tensor],
    bindings: &Bindings,
) -> Result<(), EngineError> {
    if outputs.len() != signature.outputs.len() {
        return Err(EngineError::Output {
            name: signature
                .outputs
                .first()
                .map(|spec| spec.name.clone())
                .unwrap_or_default(),
            seen: format!("one of {}", outputs.len()),
            expected: format!("one of {}", signature.outputs.len()),
        });
    }
    let mut bindings = bindings.clone();
    for (spec, tensor) in signature.outputs.iter().zip(outputs) {
        if spec
            .bind(tensor.dtype(), tensor.shape(), &mut bindings)
            .is_err()
        {
            return Err(EngineError::Output {
                name: spec.name.clone(),
                seen: format!("{tensor:?}"),
                expected: format!("{}{}", spec.dtype, resolved(spec, &bindings)),
            });
        }
    }
    Ok(())
}

/// Writes a shape with the sizes that are known in place of the symbols.
fn resolved(spec: &TensorSpec, bindings: &Bindings) -> ShapeSpec {
    let resolve = |dim: &Dim| match dim {
        Dim::Symbol(symbol) => bindings
            .get(symbol)
            .map_or_else(|| dim.clone(), |&size| Dim::Fixed(size)),
        Dim::Fixed(_) | Dim::Any => dim.clone(),
    };
    ShapeSpec(spec.shape.0.iter().map(resolve).collect())
}
