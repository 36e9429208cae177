//! Input tensors from the files that the command line names.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::engine::read_npy;
use crate::types::{DType, Dim, Shape, Signature, Tensor, TensorSpec};

use super::error::CliError;
use super::image::{self, ImageFlags};

/// `NAME=FILE` of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedFile {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl FromStr for NamedFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.to_owned(),
                path: PathBuf::from(path),
            }),
            _ => Err("expected NAME=FILE".to_owned()),
        }
    }
}

/// Reads one tensor for every input, in the order of the signature, and checks them against it.
pub(super) fn load_all(
    signature: &Signature,
    files: &[NamedFile],
    flags: &ImageFlags,
) -> Result<Vec<Tensor>, CliError> {
    check_names(signature, files)?;
    let mut tensors = Vec::with_capacity(signature.inputs.len());
    for spec in &signature.inputs {
        match files.iter().find(|file| file.name == spec.name) {
            Some(file) => tensors.push(load(signature, spec, &file.path, flags)?),
            None => {
                return Err(wrong(
                    signature,
                    format!("input {:?} is missing", spec.name),
                ));
            }
        }
    }
    signature
        .bind(&tensors)
        .map_err(|error| wrong(signature, error.to_string()))?;
    Ok(tensors)
}

/// Refuses names that are no inputs and inputs given twice.
pub(super) fn check_names(signature: &Signature, files: &[NamedFile]) -> Result<(), CliError> {
    for (index, file) in files.iter().enumerate() {
        if signature.input(&file.name).is_none() {
            return Err(wrong(
                signature,
                format!("there is no input {:?}", file.name),
            ));
        }
        if files[..index]
            .iter()
            .any(|earlier| earlier.name == file.name)
        {
            return Err(wrong(
                signature,
                format!("input {:?} is given twice", file.name),
            ));
        }
    }
    Ok(())
}

/// Reads one input: any file for BYTES, else an image or an `.npy` array, told apart by their first bytes.
pub(super) fn load(
    signature: &Signature,
    spec: &TensorSpec,
    path: &Path,
    flags: &ImageFlags,
) -> Result<Tensor, CliError> {
    let read = || {
        fs::read(path).map_err(|source| CliError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })
    };
    let unusable = |cause: String| {
        wrong(
            signature,
            format!("{} for input {:?}: {cause}", path.display(), spec.name),
        )
    };
    if spec.dtype == DType::Bytes {
        return one_byte_string(spec, &read()?).map_err(unusable);
    }
    let bytes = read()?;
    if !image::is_image(&bytes) {
        return Ok(read_npy(path)?);
    }
    let step = image::step_for(spec, flags).map_err(unusable)?;
    image::decode(spec, step, &bytes)
}

/// Returns a BYTES tensor with one element, in a shape that `spec` allows.
pub(super) fn one_byte_string(spec: &TensorSpec, bytes: &[u8]) -> Result<Tensor, String> {
    let one = |dim: &Dim| match dim {
        Dim::Fixed(1) | Dim::Symbol(_) | Dim::Any => Some(1),
        Dim::Fixed(_) => None,
    };
    let shape: Shape = spec
        .shape
        .0
        .iter()
        .map(one)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("a file is one element, the shape is {}", spec.shape))?;
    Tensor::from_byte_strings(shape, &[bytes]).map_err(|error| error.to_string())
}

pub(super) fn wrong(signature: &Signature, cause: String) -> CliError {
    CliError::Inputs {
        cause,
        signature: signature.clone(),
    }
}
