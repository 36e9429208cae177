//! Decision trees, in the form of ai.onnx.ml 5.

use crate::graph::onnx::proto::{AttributeProto, TensorProto};
use crate::graph::{Aggregate, Branch, Split, Test, TreeEnsemble};
use crate::types::{DType, Tensor};

use super::attribute::{as_int, int, ints, size, tensor};
use super::call::{CLASSICAL, Call, Written};
use super::tensor::{inline, numbers};

pub(super) fn tree_ensemble(call: &mut Call<'_, '_>, trees: &TreeEnsemble) -> Written {
    let dtype = call.dtype(0).filter(|dtype| {
        // Leaves that vote otherwise than once, and features that are no floats, are of the older forms alone.
        matches!(dtype, DType::F16 | DType::F32 | DType::F64) && trees.votes_once()
    });
    let dtype = dtype.ok_or_else(|| call.refused())?;
    let attributes = attributes(trees, dtype).ok_or_else(|| call.refused())?;
    if trees.base.is_empty() {
        return call.under(CLASSICAL, "TreeEnsemble", attributes);
    }
    let base = numbers(dtype, &trees.base).ok_or_else(|| call.refused())?;
    let base = call.constant("base", base);
    let data = call.inputs[0].clone();
    let votes = call.step("votes", "TreeEnsemble", &[&data], attributes);
    if let Some(step) = call.steps.last_mut() {
        CLASSICAL.clone_into(&mut step.domain);
    }
    call.last("Add", &[&votes, &base], Vec::new())
}

fn attributes(trees: &TreeEnsemble, dtype: DType) -> Option<Vec<AttributeProto>> {
    let aggregate = match trees.aggregate {
        Aggregate::Average => 0,
        Aggregate::Sum => 1,
        Aggregate::Min => 2,
        Aggregate::Max => 3,
    };
    let nodes = &trees.nodes;
    let each = |name: &str, number: &dyn Fn(&Split) -> i64| ints(name, nodes.iter().map(number));
    let weights: Vec<f64> = trees.leaves.iter().map(|leaf| leaf.weight).collect();
    let bounds: Vec<f64> = nodes.iter().map(|node| bound(&node.test)).collect();
    let modes: Vec<u8> = nodes.iter().map(|node| mode(&node.test)).collect();
    let roots = trees.roots.iter().map(|root| match root {
        Branch::Node(node) => Some(as_int(*node)),
        Branch::Leaves(_) => None,
    });
    let mut attributes = vec![
        int("aggregate_function", aggregate),
        size("n_targets", trees.targets),
        ints("tree_roots", roots.collect::<Option<Vec<_>>>()?),
        ints(
            "leaf_targetids",
            trees.leaves.iter().map(|leaf| as_int(leaf.target)),
        ),
        tensor("leaf_weights", numbers(dtype, &weights)?),
        each("nodes_featureids", &|node| as_int(node.feature)),
        each("nodes_missing_value_tracks_true", &|node| {
            node.missing_is_true.into()
        }),
        each("nodes_truenodeids", &|node| place(&node.on_true)),
        each("nodes_trueleafs", &|node| is_leaf(&node.on_true)),
        each("nodes_falsenodeids", &|node| place(&node.on_false)),
        each("nodes_falseleafs", &|node| is_leaf(&node.on_false)),
        tensor("nodes_splits", numbers(dtype, &bounds)?),
        tensor("nodes_modes", bytes(&modes)?),
    ];
    let members: Vec<f64> = nodes.iter().flat_map(|node| members(&node.test)).collect();
    if !members.is_empty() {
        attributes.push(tensor("membership_values", numbers(dtype, &members)?));
    }
    Some(attributes)
}

fn bytes(values: &[u8]) -> Option<TensorProto> {
    let tensor = Tensor::copy_of(DType::U8, vec![values.len()], values).ok()?;
    Some(inline("", &tensor))
}

fn place(branch: &Branch) -> i64 {
    as_int(match branch {
        Branch::Node(node) => *node,
        Branch::Leaves(leaves) => leaves.start,
    })
}

fn is_leaf(branch: &Branch) -> i64 {
    matches!(branch, Branch::Leaves(_)).into()
}

fn mode(test: &Test) -> u8 {
    match test {
        Test::LessOrEqual(_) => 0,
        Test::Less(_) => 1,
        Test::GreaterOrEqual(_) => 2,
        Test::Greater(_) => 3,
        Test::Equal(_) => 4,
        Test::NotEqual(_) => 5,
        Test::Member(_) => 6,
    }
}

fn bound(test: &Test) -> f64 {
    match test {
        Test::LessOrEqual(bound)
        | Test::Less(bound)
        | Test::GreaterOrEqual(bound)
        | Test::Greater(bound)
        | Test::Equal(bound)
        | Test::NotEqual(bound) => *bound,
        Test::Member(_) => 0.0,
    }
}

/// The members of a set, and the NaN that ends it.
fn members(test: &Test) -> Vec<f64> {
    match test {
        Test::Member(values) => [values.as_slice(), &[f64::NAN]].concat(),
        _ => Vec::new(),
    }
}
