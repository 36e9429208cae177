//! Inputs made up from a signature: random, the same for the same seed.

use std::sync::Arc;

use crate::types::{
    AlignedBytes, Bindings, DType, Dim, Shape, Signature, Tensor, TensorSpec, byte_count,
};

/// Sizes for dimensions that a signature leaves open.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Of an open first dimension.
    pub(super) rows: usize,
    /// Of symbols; these go first.
    pub(super) symbols: Bindings,
}

/// Returns `given` tensors where there are some and random ones elsewhere, in the order of the inputs.
pub(super) fn inputs(
    signature: &Signature,
    given: Vec<Option<Tensor>>,
    mut sizes: Sizes,
    seed: u64,
) -> Result<Vec<Tensor>, String> {
    let known: Vec<_> = symbols(signature);
    if let Some(name) = sizes.symbols.keys().find(|name| !known.contains(name)) {
        let known = known
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(format!(
            "no dimension is called {name:?}; there are: [{known}]"
        ));
    }
    for (spec, tensor) in signature.inputs.iter().zip(&given) {
        if let Some(tensor) = tensor {
            spec.bind(tensor.dtype(), tensor.shape(), &mut sizes.symbols)
                .map_err(|error| error.to_string())?;
        }
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let made = signature
        .inputs
        .iter()
        .zip(given)
        .map(|(spec, given)| match given {
            Some(tensor) => Ok(tensor),
            None => fill(spec, shape(spec, &mut sizes), &mut random),
        });
    let tensors = made.collect::<Result<Vec<_>, _>>()?;
    signature
        .bind(&tensors)
        .map_err(|error| error.to_string())?;
    Ok(tensors)
}

fn symbols(signature: &Signature) -> Vec<Arc<str>> {
    let dims = signature.inputs.iter().flat_map(|spec| &spec.shape.0);
    let mut names: Vec<_> = dims
        .filter_map(|dim| match dim {
            Dim::Symbol(name) => Some(name.clone()),
            Dim::Fixed(_) | Dim::Any => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Chooses sizes; what is open and not asked for is 1.
fn shape(spec: &TensorSpec, sizes: &mut Sizes) -> Shape {
    let rows = sizes.rows;
    let dims = spec.shape.0.iter().enumerate();
    dims.map(|(axis, dim)| {
        let default = if axis == 0 { rows } else { 1 };
        match dim {
            Dim::Fixed(size) => *size,
            Dim::Symbol(name) => *sizes.symbols.entry(name.clone()).or_insert(default),
            Dim::Any => default,
        }
    })
    .collect()
}

/// Floats lie in [0, 1); UINT8 takes any value; other integers are 0 or 1, which is an index almost everywhere.
fn fill(spec: &TensorSpec, shape: Shape, random: &mut fastrand::Rng) -> Result<Tensor, String> {
    let dtype = spec.dtype;
    if dtype == DType::Bytes {
        return Err(format!(
            "input {:?} is BYTES, which cannot be made up; pass --input NAME=FILE",
            spec.name
        ));
    }
    let length = byte_count(dtype, &shape).map_err(|error| error.to_string())?;
    let mut memory = AlignedBytes::zeroed(length);
    let size = dtype.size().unwrap_or(1);
    for element in memory.as_mut_slice().chunks_exact_mut(size) {
        match dtype {
            DType::F16 => {
                element.copy_from_slice(&half::f16::from_f32(below_one(random)).to_le_bytes())
            }
            DType::BF16 => {
                element.copy_from_slice(&half::bf16::from_f32(below_one(random)).to_le_bytes())
            }
            DType::F32 => element.copy_from_slice(&random.f32().to_le_bytes()),
            DType::F64 => element.copy_from_slice(&random.f64().to_le_bytes()),
            DType::U8 => element[0] = random.u8(..),
            // The codes 0 and 1 are numbers in every narrow type.
            _ => element[0] = u8::from(random.bool()),
        }
    }
    Tensor::new(dtype, shape, Arc::new(memory)).map_err(|error| error.to_string())
}

/// Returns a value that stays below 1 when rounded to eight bits of precision.
fn below_one(random: &mut fastrand::Rng) -> f32 {
    f32::from(random.u8(..)) / 256.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ShapeSpec;

    fn signature() -> Signature {
        let dims = |dims: &[Dim]| ShapeSpec(dims.to_vec());
        let inputs = DType::ALL
            .into_iter()
            .filter(|dtype| *dtype != DType::Bytes)
            .map(|dtype| {
                let shape = dims(&[
                    Dim::symbol("n"),
                    Dim::symbol("time"),
                    Dim::Any,
                    Dim::Fixed(3),
                ]);
                TensorSpec::new(dtype.name(), dtype, shape)
            });
        Signature {
            inputs: inputs.collect(),
            outputs: Vec::new(),
        }
    }

    fn sizes(symbols: &[(&str, usize)]) -> Sizes {
        Sizes {
            rows: 2,
            symbols: symbols
                .iter()
                .map(|&(name, size)| (Arc::from(name), size))
                .collect(),
        }
    }

    #[test]
    fn open_dimensions_take_the_sizes_asked_for() {
        let signature = signature();
        let given = vec![None; signature.inputs.len()];
        let tensors = inputs(&signature, given.clone(), sizes(&[("time", 5)]), 7).expect("inputs");
        assert!(tensors.iter().all(|tensor| tensor.shape() == [2, 5, 1, 3]));
        let again = inputs(&signature, given.clone(), sizes(&[("time", 5)]), 7).expect("inputs");
        let other = inputs(&signature, given, sizes(&[("time", 5)]), 8).expect("inputs");
        let bytes = |tensors: &[Tensor]| {
            tensors
                .iter()
                .map(|tensor| tensor.bytes().to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(bytes(&tensors), bytes(&again));
        assert_ne!(bytes(&tensors), bytes(&other));
    }

    #[test]
    fn a_given_tensor_sets_the_symbols_of_the_others() {
        let signature = signature();
        let mut given = vec![None; signature.inputs.len()];
        given[0] =
            Some(Tensor::copy_of(DType::Bool, vec![4, 6, 1, 3], &[1; 72]).expect("a tensor"));
        let tensors = inputs(&signature, given.clone(), sizes(&[]), 7).expect("inputs");
        assert!(tensors.iter().all(|tensor| tensor.shape() == [4, 6, 1, 3]));
        let error = inputs(&signature, given, sizes(&[("time", 5)]), 7).expect_err("contradiction");
        assert!(error.contains("time"), "{error}");
    }

    #[test]
    fn unknown_dimensions_and_byte_strings_are_refused() {
        let error =
            inputs(&signature(), vec![None; 10], sizes(&[("width", 5)]), 7).expect_err("refused");
        assert!(
            error.contains("\"width\"") && error.contains("[n, time]"),
            "{error}"
        );
        let spec = TensorSpec::new("image", DType::Bytes, ShapeSpec::fixed(&[1]));
        let signature = Signature {
            inputs: vec![spec],
            outputs: Vec::new(),
        };
        let error = inputs(&signature, vec![None], sizes(&[]), 7).expect_err("refused");
        assert!(error.contains("--input"), "{error}");
    }
}
