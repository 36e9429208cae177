//! From a file to a graph, whatever its format.

use std::path::Path;

use super::build::map;
use super::{Graph, GraphError, onnx, pt2};

/// What a local file of a ZIP archive begins with.
const ZIP: &[u8] = b"PK\x03\x04";

impl Graph {
    /// Reads a model: from an ONNX file and the data files it names, or from an archive of `torch.export` (`.pt2`).
    ///
    /// The content decides which it is. Files are mapped, not copied, and must not be overwritten in place while the
    /// graph or a part of it is in use; replacing them by renaming is safe. Operators are normalised, functions of the
    /// model replaced by their nodes, dtypes and shapes inferred, and what no output needs is left out; inputs are all
    /// kept. Nothing in a file is executed.
    ///
    /// # Errors
    /// If a file cannot be read, is no model, contradicts itself, or uses what is not supported. Unsupported operators
    /// are reported all at once.
    pub fn read(path: &Path) -> Result<Self, GraphError> {
        let bytes = map(path).map_err(|source| GraphError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let named = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("pt2"));
        let graph = if named || bytes.starts_with(ZIP) {
            pt2::read(path, bytes)?
        } else {
            onnx::read(path, bytes)?
        };
        if cfg!(debug_assertions) {
            graph.verify()?;
        }
        Ok(graph)
    }
}
