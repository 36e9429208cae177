//! Files: the model, and beside it one of large weights where they would not fit.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use tempfile::{Builder, NamedTempFile};

use crate::graph::onnx::proto::TensorProto;
use crate::graph::{Graph, GraphError, Initializer};
use crate::types::DType;

use super::model::Draft;
use super::tensor::{Stretch, external, inline, raw};

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Weights of more bytes than this together go to a file of their own. Readers of ONNX take model files of less
    /// than 2 GiB.
    pub inline_bytes_max: u64,
}

/// A tensor of fewer bytes stays in the model file in any case: readers need shapes and axes before they map anything.
const EXTERNAL_BYTES_MIN: usize = 1024;

/// Tensors of a data file begin at multiples of this, so that each can be mapped.
const ALIGNMENT: u64 = 4096;

/// Bytes written between two reports of progress.
const STRIDE: usize = 1 << 24;

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            inline_bytes_max: 1 << 30,
        }
    }
}

impl Graph {
    /// Writes the graph as an ONNX model that stands by itself.
    ///
    /// The file appears under its name when it is complete, and replaces one that is there; large weights go to
    /// `{file}.data` beside it, which is complete before the model. `progress` is told of bytes as they are written.
    ///
    /// # Errors
    /// If an operator has no ONNX form, or a file cannot be written.
    pub fn write(
        &self,
        path: &Path,
        options: &WriteOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), GraphError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| GraphError::Write { path, source }
        };
        // Without the weights first: what cannot be written is told before gigabytes are.
        let draft = Draft::of(self)?;
        let described = if bytes(&draft.weights) > options.inline_bytes_max {
            let data = data_path(path);
            write_data(&data, &draft.weights, progress).map_err(failed(&data))?
        } else {
            in_model(&draft.weights)
        };
        let model = draft.model(described).encode_to_vec();
        let mut file = create(path).map_err(failed(path))?;
        let mut whole = || {
            write_all(file.as_file_mut(), &model, progress)?;
            file.as_file().sync_all()
        };
        whole().map_err(failed(path))?;
        file.persist(path)
            .map_err(|error| failed(path)(error.error))?;
        Ok(())
    }
}

/// Bytes of weights that one message can hold, less room for all else: readers of ONNX take messages below 2 GiB.
const MESSAGE_BYTES_MAX: u64 = (1 << 31) - (1 << 26);

impl Graph {
    /// Returns the graph as the bytes of an ONNX model that stands by itself, weights included.
    ///
    /// # Errors
    /// If an operator has no ONNX form, or the weights are more than one message can hold.
    pub fn to_onnx(&self) -> Result<Vec<u8>, GraphError> {
        let draft = Draft::of(self)?;
        let bytes = bytes(&draft.weights);
        if bytes > MESSAGE_BYTES_MAX {
            return Err(GraphError::TooLarge {
                path: self.path.clone(),
                bytes,
                most: MESSAGE_BYTES_MAX,
            });
        }
        let weights = in_model(&draft.weights);
        Ok(draft.model(weights).encode_to_vec())
    }
}

/// A weight and its name.
type Weight<'a> = (String, &'a Arc<Initializer>);

fn bytes(weights: &[Weight<'_>]) -> u64 {
    let bytes = |(_, weight): &Weight<'_>| weight.tensor.bytes().len() as u64;
    weights.iter().map(bytes).sum()
}

fn in_model(weights: &[Weight<'_>]) -> Vec<TensorProto> {
    let inline = |(name, weight): &Weight<'_>| inline(name, &weight.tensor);
    weights.iter().map(inline).collect()
}

fn data_path(model: &Path) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(".data");
    PathBuf::from(name)
}

/// Writes the large weights, and returns what the model says of all.
fn write_data(
    path: &Path,
    weights: &[Weight<'_>],
    progress: &mut dyn FnMut(u64),
) -> io::Result<Vec<TensorProto>> {
    let name = path.file_name().unwrap_or_default();
    let file_name = name.to_str().ok_or_else(|| {
        let message = "ONNX names data files in UTF-8, which this name is not";
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })?;
    let mut file = create(path)?;
    let mut end = 0_u64;
    let mut described = Vec::with_capacity(weights.len());
    for (name, initializer) in weights {
        let tensor = &initializer.tensor;
        if tensor.dtype() == DType::Bytes || tensor.bytes().len() < EXTERNAL_BYTES_MIN {
            described.push(inline(name, tensor));
            continue;
        }
        let offset = end.next_multiple_of(ALIGNMENT);
        let padding = usize::try_from(offset - end).unwrap_or_default();
        file.write_all(&[0; ALIGNMENT as usize][..padding])?;
        let content = raw(tensor);
        write_all(file.as_file_mut(), &content, progress)?;
        end = offset + content.len() as u64;
        let at = Stretch {
            file: file_name,
            offset,
        };
        described.push(external(name, tensor, content.len(), &at));
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(described)
}

/// Opens a file that will take the name later, in the same directory.
fn create(path: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Builder::new()
        .prefix(".blockflow-")
        // As any new file: for whom, the process's mask says.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
}

fn write_all(file: &mut File, bytes: &[u8], progress: &mut dyn FnMut(u64)) -> io::Result<()> {
    for chunk in bytes.chunks(STRIDE) {
        file.write_all(chunk)?;
        progress(chunk.len() as u64);
    }
    Ok(())
}
