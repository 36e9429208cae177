//! What a session shows before its block gets requests: that it runs, that its results are numbers, that they are the right
//! ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::{
    AlignedBytes, CudaGraphs, DType, ProofSpec, Shape, Signature, Tensor, TensorError, TensorSpec,
    byte_count,
};

use super::compare::{floats, index_of};
use super::{Capture, EngineError, Golden, Session};

/// Runs a session once on zeros, so that the first request does not pay for lazy initialisation, and a block whose
/// results contradict its signature is found out before traffic. Symbolic dimensions are 1. Returns the inputs and outputs,
/// unless the size was a guess.
///
/// An operator may refuse that size where it is a guess, as a convolution does an image smaller than its kernel, so then
/// its failure is none of the block, nor are its results. A first dimension counts rows, of which one has to do.
///
/// Does nothing for a session that does not want it, or that takes BYTES, of which there is no zero.
pub fn warm(
    session: &mut dyn Session,
    signature: &Signature,
) -> Result<Option<[Vec<Tensor>; 2]>, EngineError> {
    let inputs = &signature.inputs;
    if !session.wants_warming() || inputs.iter().any(|spec| spec.dtype == DType::Bytes) {
        return Ok(None);
    }
    let zeros = inputs.iter().map(zeros).collect::<Result<Vec<_>, _>>()?;
    let guessed = inputs
        .iter()
        .any(|spec| spec.shape.0.iter().skip(1).any(|dim| dim.fixed().is_none()));
    match session.run_to_host(&zeros) {
        Err(error @ EngineError::Operator { .. }) if guessed => {
            tracing::debug!(%error, "warming on guessed sizes failed");
            Ok(None)
        }
        Ok(_) if guessed => Ok(None),
        result => result.map(|outputs| Some([zeros, outputs])),
    }
}

/// Warms a session on a size that it may like, then on every one that is declared, looks at what comes out, and has runs on
/// these sizes be captured.
pub fn warm_up(
    session: &mut dyn Session,
    signature: &Signature,
    proof: &ProofSpec,
) -> Result<(), EngineError> {
    // Those of larger runs first, whose memory is enough for the others.
    let mut declared = Vec::new();
    if let Some([inputs, outputs]) = warm(session, signature)? {
        if proof.finite {
            check_finite(signature, &inputs, &outputs)?;
        }
        declared.push(inputs);
    }
    for shapes in &proof.warm {
        let inputs = zeros_of(signature, shapes)?;
        let outputs = session
            .run_to_host(&inputs)
            .map_err(|cause| EngineError::Warm {
                inputs: shown(signature, &inputs),
                cause: Box::new(cause),
            })?;
        if proof.finite {
            check_finite(signature, &inputs, &outputs)?;
        }
        declared.push(inputs);
    }
    declared.sort_by_key(|inputs| {
        std::cmp::Reverse(inputs.iter().map(Tensor::byte_count).sum::<usize>())
    });
    capture(session, signature, proof.cuda_graphs, &declared)
}

/// Has runs on inputs like these be captured, as far as that is wanted and can be done.
fn capture(
    session: &mut dyn Session,
    signature: &Signature,
    wanted: CudaGraphs,
    declared: &[Vec<Tensor>],
) -> Result<(), EngineError> {
    if wanted == CudaGraphs::Off {
        return Ok(());
    }
    if declared.is_empty() && wanted == CudaGraphs::Required && session.can_capture() {
        let names: Vec<_> = signature
            .inputs
            .iter()
            .map(|spec| spec.name.as_str())
            .collect();
        return Err(EngineError::NotCaptured {
            inputs: names.join(", "),
            cause: "its sizes are open, and warm declares none".to_owned(),
        });
    }
    for inputs in declared {
        if let Capture::Refused { cause, .. } = session.capture(inputs)?
            && wanted == CudaGraphs::Required
        {
            return Err(EngineError::NotCaptured {
                inputs: shown(signature, inputs),
                cause,
            });
        }
    }
    Ok(())
}

/// Runs a session on its golden inputs and compares what comes out.
pub fn prove(
    session: &mut dyn Session,
    signature: &Signature,
    proof: &ProofSpec,
) -> Result<(), EngineError> {
    let Some(golden) = &proof.golden else {
        return Ok(());
    };
    for case in &golden.cases {
        let case = Golden::read(case, signature)?;
        case.prove(session, signature, golden.tolerance)?;
    }
    Ok(())
}

/// Returns zeros of a declared shape, symbolic sizes being 1.
pub(super) fn zeros(spec: &TensorSpec) -> Result<Tensor, EngineError> {
    let dims = spec.shape.0.iter();
    zeros_in(
        spec.dtype,
        dims.map(|dim| dim.fixed().unwrap_or(1)).collect(),
    )
}

fn zeros_in(dtype: DType, shape: Shape) -> Result<Tensor, EngineError> {
    let length = byte_count(dtype, &shape).map_err(TensorError::from)?;
    let memory = Arc::new(AlignedBytes::zeroed(length));
    Ok(Tensor::new(dtype, shape, memory)?)
}

/// Returns zeros of the shapes of all inputs, in the order of the signature.
fn zeros_of(
    signature: &Signature,
    shapes: &BTreeMap<String, Shape>,
) -> Result<Vec<Tensor>, EngineError> {
    let inputs = signature.inputs.iter().map(|spec| {
        let shape = shapes.get(&spec.name);
        let missing = || EngineError::Input(format!("no shape of input {:?}", spec.name));
        zeros_in(spec.dtype, shape.ok_or_else(missing)?.clone())
    });
    inputs.collect()
}

fn check_finite(
    signature: &Signature,
    inputs: &[Tensor],
    outputs: &[Tensor],
) -> Result<(), EngineError> {
    for (spec, output) in signature.outputs.iter().zip(outputs) {
        let odd = floats(output)
            .enumerate()
            .find(|(_, value)| !value.is_finite());
        if let Some((place, value)) = odd {
            return Err(EngineError::NotFinite {
                output: spec.name.clone(),
                value,
                index: index_of(output.shape(), place),
                inputs: shown(signature, inputs),
            });
        }
    }
    Ok(())
}

/// Writes inputs as `image FP32[1, 3, 8, 8]`.
fn shown(signature: &Signature, inputs: &[Tensor]) -> String {
    let named = signature.inputs.iter().zip(inputs);
    let named: Vec<_> = named
        .map(|(spec, tensor)| format!("{} {tensor:?}", spec.name))
        .collect();
    named.join(", ")
}
