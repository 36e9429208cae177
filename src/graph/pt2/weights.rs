//! Parameters, buffers and constants: entries of raw bytes, each described in a table.

use std::sync::Arc;

use bytes::Bytes;

use super::archive::Archive;
use super::dtype::{STRIDED, dtype};
use super::program::json;
use super::schema::{PayloadConfig, PayloadMeta, SymInt, TensorMeta};
use super::size::number;
use crate::graph::build::{check_truth_values, in_file};
use crate::graph::{Defect, Initializer};
use crate::types::{DType, RANK_MAX, Shape, Tensor, byte_count};

/// A weight that repeats elements of its entry may be laid out in at most this many bytes, if those are more than the entry
/// has.
const REPEATED_MAX: usize = 1 << 20;

/// The tables of an archive, and the folders of the entries that each describes.
pub(super) struct Weights {
    tables: [(&'static str, PayloadConfig); 2],
}

impl Weights {
    pub(super) fn of(archive: &Archive, model: &str) -> Result<Self, Defect> {
        let table = |folder: &str, kind: &str| {
            let entry = format!("{folder}{model}_{kind}_config.json");
            if archive.has(&entry) {
                json(&entry, &archive.content(&entry)?)
            } else {
                Ok(PayloadConfig::default())
            }
        };
        let (weights, constants) = ("data/weights/", "data/constants/");
        Ok(Self {
            tables: [
                (weights, table(weights, "weights")?),
                (constants, table(constants, "constants")?),
            ],
        })
    }

    /// Returns a weight by its name in the module that was exported.
    pub(super) fn read(&self, archive: &Archive, name: &str) -> Result<Arc<Initializer>, Defect> {
        let known = self
            .tables
            .iter()
            .find_map(|(folder, table)| Some((folder, table.config.get(name)?)));
        let wrong = |seen: &str, expected| Defect::Payload {
            tensor: name.to_owned(),
            seen: seen.to_owned(),
            expected,
        };
        let Some((folder, payload)) = known else {
            return Err(wrong(
                "missing",
                "a weight that the tables of the archive list",
            ));
        };
        let PayloadMeta {
            path_name,
            use_pickle: false,
            tensor_meta: Some(meta),
        } = payload
        else {
            let expected = "raw bytes: pickles are code and are not read";
            return Err(wrong("a pickle", expected));
        };
        let content = archive.content(&format!("{folder}{path_name}"))?;
        let dtype = dtype(meta.dtype).ok_or_else(|| Defect::ScalarType {
            tensor: name.to_owned(),
            seen: meta.dtype,
        })?;
        if meta.layout != STRIDED {
            return Err(Defect::Sparse {
                tensor: name.to_owned(),
            });
        }
        let tensor = Layout::of(name, dtype, meta)?.tensor(name, dtype, &content)?;
        Ok(Arc::new(Initializer { tensor }))
    }
}

/// Where the elements of a tensor lie in its entry, counted in elements.
struct Layout {
    shape: Shape,
    strides: Vec<usize>,
    offset: usize,
}

impl Layout {
    fn of(tensor: &str, dtype: DType, meta: &TensorMeta) -> Result<Self, Defect> {
        if meta.sizes.len() > RANK_MAX {
            return Err(Defect::Rank {
                tensor: tensor.to_owned(),
                seen: meta.sizes.len(),
                most: RANK_MAX,
            });
        }
        let fixed = |sizes: &[SymInt]| -> Option<Vec<usize>> {
            let sizes = sizes.iter().map(|size| usize::try_from(number(size)?).ok());
            sizes.collect()
        };
        let offset = fixed(std::slice::from_ref(&meta.storage_offset));
        let layout = match (fixed(&meta.sizes), fixed(&meta.strides), offset.as_deref()) {
            (Some(shape), Some(strides), Some(&[offset])) if shape.len() == strides.len() => Self {
                shape,
                strides,
                offset,
            },
            _ => {
                return Err(Defect::Payload {
                    tensor: tensor.to_owned(),
                    seen: "of sizes, strides or an offset that cannot be".to_owned(),
                    expected: "a number of at least 0 for each, and as many strides as sizes",
                });
            }
        };
        match byte_count(dtype, &layout.shape) {
            Ok(_) => Ok(layout),
            Err(_) => Err(Defect::Oversized {
                tensor: tensor.to_owned(),
                shape: layout.shape,
            }),
        }
    }

    /// Tells whether elements lie side by side in row-major order.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            })
    }

    /// Returns the place behind the last element, `None` beyond all numbers.
    fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(self.offset);
        }
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add(stride.checked_mul(size - 1)?)?;
        }
        last.checked_add(1)
    }

    /// Returns the tensor, in the file where its elements lie side by side.
    fn tensor(self, name: &str, dtype: DType, content: &Bytes) -> Result<Tensor, Defect> {
        let oversized = || Defect::Oversized {
            tensor: name.to_owned(),
            shape: self.shape.clone(),
        };
        let width = dtype.size().ok_or_else(oversized)?;
        let length = byte_count(dtype, &self.shape).map_err(|_| oversized())?;
        let needed = self.end().and_then(|end| end.checked_mul(width));
        let Some(needed) = needed.filter(|&needed| needed <= content.len()) else {
            return Err(Defect::Data {
                tensor: name.to_owned(),
                dtype,
                shape: self.shape.clone(),
                unit: "bytes",
                expected: needed.unwrap_or(usize::MAX),
                seen: content.len(),
            });
        };
        if length == 0 || self.is_contiguous() {
            let bytes = content.slice(needed - length..needed);
            check_truth_values(name, dtype, &bytes)?;
            return Tensor::new(dtype, self.shape.clone(), in_file(bytes)).map_err(|_| oversized());
        }
        if length > content.len().max(REPEATED_MAX) {
            return Err(oversized());
        }
        let bytes = self.gathered(width, length, content);
        check_truth_values(name, dtype, &bytes)?;
        Tensor::copy_of(dtype, self.shape.clone(), &bytes).map_err(|_| oversized())
    }

    /// Copies the elements into row-major order. There is at least one, and all lie within the content.
    fn gathered(&self, width: usize, length: usize, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        let mut place = vec![0_usize; self.shape.len()];
        while bytes.len() < length {
            let at: usize = place
                .iter()
                .zip(&self.strides)
                .map(|(at, stride)| at * stride)
                .sum();
            let start = (self.offset + at) * width;
            bytes.extend_from_slice(&content[start..start + width]);
            for (at, &size) in place.iter_mut().zip(&self.shape).rev() {
                *at += 1;
                if *at < size {
                    break;
                }
                *at = 0;
            }
        }
        bytes
    }
}
