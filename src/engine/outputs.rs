//! What a signature says of results, the same for all engines.

use crate::types::{
    Bindings, Dim, Rooms, Shape, ShapeSpec, Signature, Tensor, TensorSpec, byte_count,
};

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

/// Returns the shape of an output, where the sizes that the inputs bound tell all of it.
pub(super) fn known_shape(spec: &TensorSpec, bindings: &Bindings) -> Option<Shape> {
    resolved(spec, bindings).concrete()
}

/// Returns the places and bytes of the outputs that may have room and whose size is known.
pub(super) fn known_sizes(
    signature: &Signature,
    bindings: &Bindings,
    rooms: &dyn Rooms,
) -> Vec<(usize, usize)> {
    let outputs = signature.outputs.iter().enumerate();
    let size = |(output, spec): (usize, &TensorSpec)| {
        let shape = rooms
            .takes(output)
            .then(|| known_shape(spec, bindings))
            .flatten()?;
        Some((output, byte_count(spec.dtype, &shape).ok()?))
    };
    outputs.filter_map(size).collect()
}
