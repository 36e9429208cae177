//! Golden cases: inputs of a block with the outputs that they have to give.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::types::{DType, GoldenCase, Signature, Tensor, TensorSpec, Tolerance};

use super::{NpyError, Session, compare, read_npy, read_npz};

/// Bytes of one file of a case, and of the arrays in it.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A case, read.
#[derive(Debug, Clone)]
pub struct Golden {
    file: PathBuf,
    inputs: Vec<Tensor>,
    /// By place in the signature.
    outputs: Vec<(usize, Tensor)>,
}

/// Why a case cannot be used, or is not met.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    #[error(transparent)]
    File(#[from] NpyError),
    #[error("{file} holds no input {missing:?}", file = file.display())]
    Missing { file: PathBuf, missing: String },
    #[error("{file} holds {name:?}, which is none of the block's: {known:?}", file = file.display())]
    Unknown {
        file: PathBuf,
        name: String,
        known: Vec<String>,
    },
    #[error("{file} holds one array, and the block has {count} of them: expected an .npz file", file = file.display())]
    Single { file: PathBuf, count: usize },
    #[error("{file}: {cause}", file = file.display())]
    Form { file: PathBuf, cause: String },
    #[error(
        "{file}: {different} of {compared} elements of output {output:?} are not within relative {} and absolute {}, \
         the worst {worst}",
        tolerance.relative, tolerance.absolute, file = file.display()
    )]
    Different {
        file: PathBuf,
        output: String,
        different: usize,
        compared: usize,
        tolerance: Tolerance,
        worst: String,
    },
}

impl Golden {
    /// Reads the inputs of a case, all that the signature has. They are in its order then.
    pub fn read_inputs(file: &Path, signature: &Signature) -> Result<Vec<Tensor>, GoldenError> {
        let mut arrays = read(file, &signature.inputs, signature)?;
        let inputs = signature.inputs.iter().map(|spec| {
            let found = arrays.remove(&spec.name);
            found.ok_or_else(|| GoldenError::Missing {
                file: file.to_owned(),
                missing: spec.name.clone(),
            })
        });
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let bound = signature.bind(&inputs);
        bound.map_err(|error| form(file, error.to_string()))?;
        Ok(inputs)
    }

    /// Reads a case.
    pub fn read(case: &GoldenCase, signature: &Signature) -> Result<Self, GoldenError> {
        let inputs = Self::read_inputs(&case.inputs, signature)?;
        let outputs = Self::read_outputs(&case.outputs, signature, &inputs)?;
        Ok(Self {
            file: case.outputs.clone(),
            inputs,
            outputs,
        })
    }

    /// Reads outputs of a case, of which one at least has to be there.
    fn read_outputs(
        file: &Path,
        signature: &Signature,
        inputs: &[Tensor],
    ) -> Result<Vec<(usize, Tensor)>, GoldenError> {
        let bindings = signature.bind(inputs);
        let bindings = bindings.map_err(|error| form(file, error.to_string()))?;
        let mut arrays = read(file, &signature.outputs, signature)?;
        let mut outputs = Vec::new();
        for (place, spec) in signature.outputs.iter().enumerate() {
            let Some(tensor) = arrays.remove(&spec.name) else {
                continue;
            };
            let floats = spec.dtype.is_float() && tensor.dtype().is_float();
            let dtype = if floats { spec.dtype } else { tensor.dtype() };
            let fits = spec.bind(dtype, tensor.shape(), &mut bindings.clone());
            fits.map_err(|error| {
                let told = error.to_string().replacen("input", "output", 1);
                form(file, told)
            })?;
            outputs.push((place, tensor));
        }
        if outputs.is_empty() {
            return Err(form(file, "it holds no output of the block".to_owned()));
        }
        Ok(outputs)
    }

    /// Runs a session on the inputs and compares what comes out.
    pub(super) fn prove(
        &self,
        session: &mut dyn Session,
        signature: &Signature,
        tolerance: Tolerance,
    ) -> Result<(), super::EngineError> {
        let outputs = session.run_to_host(&self.inputs)?;
        for (place, expected) in &self.outputs {
            let name = &signature.outputs[*place].name;
            let Some(seen) = outputs.get(*place) else {
                let cause = format!("the run gave no output {name:?}");
                return Err(form(&self.file, cause).into());
            };
            let comparison = compare(expected, seen, tolerance);
            if comparison.different > 0 {
                return Err(GoldenError::Different {
                    file: self.file.clone(),
                    output: name.clone(),
                    different: comparison.different,
                    compared: comparison.compared,
                    tolerance,
                    worst: comparison.worst.unwrap_or_default(),
                }
                .into());
            }
        }
        Ok(())
    }
}

fn form(file: &Path, cause: String) -> GoldenError {
    GoldenError::Form {
        file: file.to_owned(),
        cause,
    }
}

/// Reads the arrays of a file by name: all of an `.npz` file, each of which has to be one of the signature's, or the one of
/// another file, which is that of the only tensor of `specs`. Where that takes BYTES, the file itself is its element.
fn read(
    file: &Path,
    specs: &[TensorSpec],
    signature: &Signature,
) -> Result<BTreeMap<String, Tensor>, GoldenError> {
    let read_error = |source| NpyError::Read {
        path: file.to_owned(),
        source,
    };
    let metadata = fs::metadata(file).map_err(read_error)?;
    // Opening a pipe would wait for whoever writes to it.
    if !metadata.is_file() {
        return Err(form(file, "is no regular file".to_owned()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(GoldenError::File(NpyError::TooLarge {
            path: file.to_owned(),
            bytes_max: FILE_BYTES_MAX,
        }));
    }
    let ending = file.extension().map(|ending| ending.to_ascii_lowercase());
    if ending.is_some_and(|ending| ending == "npz") {
        let arrays = read_npz(file, FILE_BYTES_MAX)?;
        let known = signature.inputs.iter().chain(&signature.outputs);
        let known: Vec<_> = known.map(|spec| spec.name.clone()).collect();
        return match arrays.keys().find(|name| !known.contains(name)) {
            None => Ok(arrays),
            Some(name) => Err(GoldenError::Unknown {
                file: file.to_owned(),
                name: name.clone(),
                known,
            }),
        };
    }
    let [only] = specs else {
        return Err(GoldenError::Single {
            file: file.to_owned(),
            count: specs.len(),
        });
    };
    let tensor = if only.dtype == DType::Bytes {
        let bytes = fs::read(file).map_err(read_error)?;
        let shape = vec![1; only.shape.rank()];
        Tensor::from_byte_strings(shape, &[bytes]).map_err(|error| form(file, error.to_string()))?
    } else {
        read_npy(file)?
    };
    Ok(BTreeMap::from([(only.name.clone(), tensor)]))
}
