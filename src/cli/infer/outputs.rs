//! Output tensors as files.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::output;
use crate::engine::write_npy;
use crate::types::Tensor;

use super::runner::OutputNames;

/// An output and the file that holds it.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    name: String,
    datatype: &'static str,
    shape: Vec<usize>,
    file: PathBuf,
}

/// Writes every output to a file of its own in `folder`.
pub(super) fn write(
    folder: &Path,
    names: &OutputNames,
    tensors: &[Tensor],
) -> Result<Vec<Written>, CliError> {
    let names = match names {
        OutputNames::Known(names) if names.len() != tensors.len() => {
            let cause = format!(
                "{} output names are given for {} outputs",
                names.len(),
                tensors.len()
            );
            return Err(CliError::Usage(cause));
        }
        OutputNames::Known(names) => names.clone(),
        OutputNames::Numbered => (0..tensors.len())
            .map(|index| format!("output_{index}"))
            .collect(),
    };
    fs::create_dir_all(folder).map_err(|source| CliError::File {
        action: "make folder",
        path: folder.to_owned(),
        source,
    })?;
    let mut written = Vec::with_capacity(names.len());
    for ((name, file), tensor) in names.iter().zip(file_names(&names)).zip(tensors) {
        let file = folder.join(file);
        write_npy(&file, tensor)?;
        written.push(Written {
            name: name.clone(),
            datatype: tensor.dtype().name(),
            shape: tensor.shape().to_vec(),
            file,
        });
    }
    Ok(written)
}

pub(super) fn text(written: &[Written]) -> String {
    let rows: Vec<_> = written
        .iter()
        .map(|one| {
            vec![
                one.name.clone(),
                format!("{}{:?}", one.datatype, one.shape),
                one.file.display().to_string(),
            ]
        })
        .collect();
    output::columns(0, &rows)
}

/// Returns a file name for every tensor name: what a path could mistake becomes `_`, and equal ones are told apart.
fn file_names(names: &[String]) -> Vec<String> {
    let mut stems: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let plain: String = name
            .chars()
            .map(|letter| {
                if letter.is_alphanumeric() || "-_.".contains(letter) {
                    letter
                } else {
                    '_'
                }
            })
            .collect();
        let plain = plain.trim_start_matches('.');
        let plain = if plain.is_empty() { "_" } else { plain };
        let mut stem = plain.to_owned();
        let mut copy = 2_usize;
        while stems.contains(&stem) {
            stem = format!("{plain}_{copy}");
            copy += 1;
        }
        stems.push(stem);
    }
    stems
        .into_iter()
        .map(|stem| format!("{stem}.npy"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tensors_cannot_leave_the_folder_or_overwrite_each_other() {
        let names = [
            "logits",
            "/layer1/Relu_0",
            "_layer1_Relu_0",
            "../../x",
            "..",
            "",
        ]
        .map(str::to_owned);
        let files = file_names(&names);
        let expected = [
            "logits.npy",
            "_layer1_Relu_0.npy",
            "_layer1_Relu_0_2.npy",
            "_.._x.npy",
            "_.npy",
            "__2.npy",
        ];
        assert_eq!(files, expected);
        assert!(
            files
                .iter()
                .all(|file| Path::new(file).components().count() == 1)
        );
    }
}
