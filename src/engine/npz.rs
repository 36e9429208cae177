//! Tensors from `.npz` archives, as `numpy.savez` writes them.
//!
//! Never trusts what an archive claims: what is read of it is bounded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use crate::types::Tensor;

use super::NpyError;
use super::npy::decode;

/// Arrays of one archive.
const ARRAYS_MAX: usize = 1024;

/// Reads every array of an archive, by name; all of them together take `bytes_max` bytes at most.
pub fn read_npz(path: &Path, bytes_max: u64) -> Result<BTreeMap<String, Tensor>, NpyError> {
    let unusable = |cause: String| NpyError::Archive {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(|source| NpyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| unusable(error.to_string()))?;
    if archive.len() > ARRAYS_MAX {
        let count = archive.len();
        return Err(unusable(format!(
            "it holds {count} arrays, expected at most {ARRAYS_MAX}"
        )));
    }
    let mut left = bytes_max;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let raw = archive
            .by_index_raw(index)
            .map_err(|error| unusable(error.to_string()))?;
        let name = raw.name().map_err(|error| unusable(error.to_string()))?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        if raw.compression() != CompressionMethod::Stored || raw.encrypted() {
            return Err(unusable(format!(
                "array {name:?} is compressed; numpy.savez writes arrays as they are"
            )));
        }
        drop(raw);
        let entry = archive
            .by_index(index)
            .map_err(|error| unusable(error.to_string()))?;
        let mut bytes = Vec::new();
        let taken = entry.take(left.saturating_add(1)).read_to_end(&mut bytes);
        taken.map_err(|error| unusable(format!("array {name:?}: {error}")))?;
        left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| NpyError::TooLarge {
                path: path.to_owned(),
                bytes_max,
            })?;
        let array = decode(&path.join(&name), &bytes)?;
        if arrays.insert(name.clone(), array).is_some() {
            return Err(unusable(format!("it holds two arrays {name:?}")));
        }
    }
    Ok(arrays)
}
