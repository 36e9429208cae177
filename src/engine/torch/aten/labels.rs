//! Encoders of labels and decision trees.

use std::borrow::Cow;
use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::graph::{Aggregate, Branch, TreeEnsemble};
use crate::types::{self, DType};

use super::super::cause::Cause;
use super::args::{Kernel, doubles, signed};
use super::context::NodeContext;
use super::datum::Datum;

/// `test_ai_onnx_ml_label_encoder_string_int`, `_string_int_no_default`, `_tensor_mapping`,
/// `_tensor_value_only_mapping`
pub(super) fn label_encoder(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let constant = |input: usize| {
        let tensor = context.constant(input);
        tensor.ok_or_else(|| Cause::new(format!("input {input} is not constant")))
    };
    let (keys, values, default) = (constant(1)?, constant(2)?, constant(3)?);
    let dtype = keys.dtype();
    let pairs = elements(keys)
        .into_iter()
        .map(Cow::into_owned)
        .zip(plain(values));
    let mut mapping: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for (key, value) in pairs {
        mapping.entry(key).or_insert_with(|| value.to_vec());
    }
    let of = values.dtype();
    let default = match plain(default).as_slice() {
        [default] => default.to_vec(),
        _ => return Err(Cause::new("the default is not one element")),
    };
    Ok(Box::new(move |args| {
        let data = args.datum(0)?.export(dtype)?;
        let elements = elements(&data);
        let value = |key: &Cow<'_, [u8]>| mapping.get(key.as_ref()).unwrap_or(&default);
        let values = elements.iter().map(value);
        let shape = data.shape().to_vec();
        let result = match of {
            DType::Bytes => types::Tensor::from_byte_strings(shape, &values.collect::<Vec<_>>()),
            _ => {
                let bytes: Vec<u8> = values.flatten().copied().collect();
                types::Tensor::copy_of(of, shape, &bytes)
            }
        };
        let result = result.map_err(|error| Cause::new(error.to_string()))?;
        Ok(Datum::import(&result)?.into())
    }))
}

/// Returns the bytes of each element.
fn plain(tensor: &types::Tensor) -> Vec<&[u8]> {
    match tensor.dtype().size() {
        Some(size) => tensor.bytes().chunks(size).collect(),
        None => tensor.byte_strings(),
    }
}

/// Returns what tells elements apart: zeros of both signs are equal, and all that are no numbers.
fn elements(tensor: &types::Tensor) -> Vec<Cow<'_, [u8]>> {
    let same = |number: f64| match number {
        number if number.is_nan() => f64::NAN,
        number => number + 0.0,
    };
    let number = |element: &[u8]| match tensor.dtype() {
        DType::F32 => Some(f32::from_le_bytes(element.try_into().ok()?).into()),
        DType::F64 => Some(f64::from_le_bytes(element.try_into().ok()?)),
        DType::F16 => Some(half::f16::from_le_bytes(element.try_into().ok()?).into()),
        DType::BF16 => Some(half::bf16::from_le_bytes(element.try_into().ok()?).into()),
        _ => None,
    };
    let key = |element| match number(element) {
        Some(number) => Cow::Owned(same(number).to_le_bytes().to_vec()),
        None => Cow::Borrowed(element),
    };
    plain(tensor).into_iter().map(key).collect()
}

/// `test_ai_onnx_ml_tree_ensemble_set_membership`, `test_ai_onnx_ml_tree_ensemble_single_tree`
pub(super) fn tree_ensemble(trees: &TreeEnsemble) -> Kernel {
    let trees = trees.clone();
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let features = match *x.size() {
            [_, features] => usize::try_from(features).unwrap_or(0),
            _ => 0,
        };
        if features < trees.features().max(1) {
            return Err(Cause::new(format!(
                "data {:?} does not have rows of {} features",
                x.size(),
                trees.features()
            )));
        }
        let kind = match x.f_kind()? {
            kind @ (Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) => kind,
            _ => Kind::Float,
        };
        let mut votes = Vec::new();
        for row in doubles(x)?.chunks(features) {
            votes.extend(vote(&trees, row));
        }
        let shape = [x.size()[0], signed(trees.targets)];
        Ok(Tensor::f_from_slice(&votes)?
            .f_reshape(shape)?
            .f_totype(kind)?
            .into())
    })
}

/// Asks every tree about one row.
fn vote(trees: &TreeEnsemble, row: &[f64]) -> Vec<f64> {
    let mut votes: Vec<Option<f64>> = vec![None; trees.targets];
    for root in &trees.roots {
        for leaf in &trees.leaves[reached(trees, root, row)] {
            let vote = &mut votes[leaf.target];
            *vote = Some(match (*vote, trees.aggregate) {
                (None, _) => leaf.weight,
                (Some(vote), Aggregate::Sum | Aggregate::Average) => vote + leaf.weight,
                (Some(vote), Aggregate::Min) => vote.min(leaf.weight),
                (Some(vote), Aggregate::Max) => vote.max(leaf.weight),
            });
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "there are few trees")]
    let divisor = match trees.aggregate {
        Aggregate::Average => trees.roots.len().max(1) as f64,
        Aggregate::Sum | Aggregate::Min | Aggregate::Max => 1.0,
    };
    let base = trees.base.iter().copied().chain(std::iter::repeat(0.0));
    votes
        .into_iter()
        .zip(base)
        .map(|(vote, base)| vote.unwrap_or(0.0) / divisor + base)
        .collect()
}

/// Returns the leaves at which a row ends up.
fn reached(trees: &TreeEnsemble, root: &Branch, row: &[f64]) -> std::ops::Range<usize> {
    let mut branch = root;
    loop {
        match branch {
            Branch::Leaves(leaves) => return leaves.clone(),
            Branch::Node(node) => {
                let node = &trees.nodes[*node];
                let feature = row[node.feature];
                let answer = node.test.holds(feature) || feature.is_nan() && node.missing_is_true;
                branch = if answer {
                    &node.on_true
                } else {
                    &node.on_false
                };
            }
        }
    }
}
