//! How what a file declares of a tensor is weighed against what inference found.

use crate::graph::Defect;
use crate::graph::infer::Fact;
use crate::types::Dim;

/// Adds to an inferred fact what only the file knows.
///
/// Inference wins where both say something: files carry stale sizes and symbols of other names. A dtype that differs is
/// an error, and so is a fixed size of an output of the model (`strict`); a fixed size where inference has a symbol is
/// not, since that is what a file looks like whose batch size was made free afterwards.
pub(super) fn combine(
    inferred: &mut Fact,
    declared: &Fact,
    tensor: &str,
    strict: bool,
) -> Result<(), Defect> {
    match (inferred.dtype, declared.dtype) {
        (Some(inferred), Some(declared)) if inferred != declared => {
            return Err(Defect::DeclaredDType {
                tensor: tensor.to_owned(),
                declared,
                inferred,
            });
        }
        (None, declared) => inferred.dtype = declared,
        _ => {}
    }
    match (&mut inferred.shape, &declared.shape) {
        (Some(inferred), Some(declared)) => {
            if !inferred.compatible(declared) {
                if !strict {
                    return Ok(());
                }
                return Err(Defect::DeclaredShape {
                    tensor: tensor.to_owned(),
                    declared: declared.clone(),
                    inferred: inferred.clone(),
                });
            }
            for (inferred, declared) in inferred.0.iter_mut().zip(&declared.0) {
                if *inferred == Dim::Any {
                    *inferred = declared.clone();
                }
            }
        }
        (inferred @ None, declared) => inferred.clone_from(declared),
        (Some(_), None) => {}
    }
    Ok(())
}
