//! Decision trees, of ai.onnx.ml 5 and in the two older forms.

use std::collections::HashMap;

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::labels::read_tensor;
use super::registry::Rule;
use super::scores::{Classes, PostTransform};
use crate::graph::build::literal;
use crate::graph::{Aggregate, Binary, Branch, Fault, Leaf, Op, Split, Test, TreeEnsemble, Unary};
use crate::types::{DType, Tensor};

pub(super) const RULES: &[Rule] = &[
    ("ai.onnx.ml.TreeEnsemble", tree_ensemble),
    ("ai.onnx.ml.TreeEnsembleClassifier", classifier),
    ("ai.onnx.ml.TreeEnsembleRegressor", regressor),
];

const SHAPE: &str = "trees of nodes that exist, each reached once, with lists of one length";

fn tree_ensemble(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    let attributes = &call.attributes;
    attributes.ignore(&["nodes_hitrates"]);
    let transform = match attributes.int_or("post_transform", 0)? {
        0 => PostTransform::None,
        1 => PostTransform::Softmax,
        2 => PostTransform::Logistic,
        seen => return Err(wrong("post_transform", seen, "0, 1 or 2")),
    };
    let aggregate = match attributes.int_or("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        seen => return Err(wrong("aggregate_function", seen, "0 to 3")),
    };
    let targets = attributes.sizes("leaf_targetids")?;
    let features = attributes.sizes("nodes_featureids")?;
    let missing = attributes.ints("nodes_missing_value_tracks_true")?;
    let branches = [
        ("nodes_truenodeids", "nodes_trueleafs"),
        ("nodes_falsenodeids", "nodes_falseleafs"),
    ];
    let branches = branches.map(|(ids, leaves)| {
        let leaves = attributes.ints(leaves)?.unwrap_or_default();
        let ids = attributes.sizes(ids)?;
        let branch = |(id, &leaf): (usize, &i64)| match leaf {
            0 => Branch::Node(id),
            _ => Branch::Leaves(id..id.saturating_add(1)),
        };
        Ok::<Vec<Branch>, Fault>(ids.into_iter().zip(leaves).map(branch).collect())
    });
    let [on_true, on_false] = branches;
    let (on_true, on_false) = (on_true?, on_false?);
    let roots = attributes.sizes("tree_roots")?;
    let count = attributes.size("n_targets")?;
    let weights = numbers(call, "leaf_weights")?.unwrap_or_default();
    let modes = numbers(call, "nodes_modes")?.unwrap_or_default();
    let bounds = numbers(call, "nodes_splits")?.unwrap_or_default();
    let members = numbers(call, "membership_values")?.unwrap_or_default();
    let equal = [modes.len(), bounds.len(), on_true.len(), on_false.len()];
    if equal.iter().any(|&length| length != features.len())
        || missing.is_some_and(|missing| missing.len() != features.len())
        || weights.len() != targets.len()
    {
        return Err(wrong(
            "nodes_modes",
            format!("{} nodes", modes.len()),
            SHAPE,
        ));
    }
    let mut sets = members.split(|member| member.is_nan());
    let mut nodes = Vec::with_capacity(features.len());
    let branches = on_true.into_iter().zip(on_false);
    for (node, (on_true, on_false)) in branches.enumerate() {
        let test = if modes[node] == 6.0 {
            Test::Member(sets.next().unwrap_or_default().to_vec())
        } else {
            test_of(modes[node], bounds[node])
                .ok_or_else(|| wrong("nodes_modes", modes[node], "0 to 6"))?
        };
        nodes.push(Split {
            feature: features[node],
            test,
            missing_is_true: missing.is_some_and(|missing| missing[node] != 0),
            on_true,
            on_false,
        });
    }
    let leaves = targets.into_iter().zip(weights);
    let trees = TreeEnsemble {
        nodes,
        leaves: leaves
            .map(|(target, weight)| Leaf { target, weight })
            .collect(),
        roots: roots.into_iter().map(Branch::Node).collect(),
        targets: count.unwrap_or(1),
        aggregate,
        base: Vec::new(),
    };
    let inputs = vec![Some(call.input(0)?)];
    let votes = call.step("votes", sound(trees, "tree_roots")?, inputs)?;
    Ok(Form::Node(transform.op(), vec![Some(votes)]))
}

fn test_of(mode: f64, bound: f64) -> Option<Test> {
    let tests = [
        Test::LessOrEqual,
        Test::Less,
        Test::GreaterOrEqual,
        Test::Greater,
        Test::Equal,
        Test::NotEqual,
    ];
    let modes = (0_u8..).map(f64::from);
    tests
        .into_iter()
        .zip(modes)
        .find(|(_, own)| *own == mode)
        .map(|(test, _)| test(bound))
}

fn sound(trees: TreeEnsemble, attribute: &str) -> Result<Op, Fault> {
    if trees.is_sound() {
        return Ok(Op::TreeEnsemble(trees));
    }
    let seen = format!(
        "of {} nodes and {} leaves",
        trees.nodes.len(),
        trees.leaves.len()
    );
    Err(wrong(attribute, seen, SHAPE))
}

/// Reads the numbers of a tensor.
fn numbers(call: &mut Call<'_>, name: &str) -> Result<Option<Vec<f64>>, Fault> {
    let Some(initializer) = read_tensor(call, name)? else {
        return Ok(None);
    };
    let tensor: &Tensor = &initializer.tensor;
    let bytes = tensor.bytes();
    let numbers = match tensor.dtype() {
        DType::U8 => bytes.iter().map(|&element| element.into()).collect(),
        DType::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|element| f32::from_le_bytes(*element).into())
            .collect(),
        DType::F64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|element| f64::from_le_bytes(*element))
            .collect(),
        DType::F16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|element| half::f16::from_le_bytes(*element).to_f64())
            .collect(),
        seen => return Err(wrong(name, seen, "UINT8, FP16, FP32 or FP64")),
    };
    Ok(Some(numbers))
}

/// Reads a list of numbers, or the tensor that stands for it.
fn list(call: &mut Call<'_>, name: &str) -> Result<Vec<f64>, Fault> {
    if let Some(list) = call.attributes.floats(name)? {
        return Ok(list.iter().copied().map(f64::from).collect());
    }
    Ok(numbers(call, &format!("{name}_as_tensor"))?.unwrap_or_default())
}

/// Reads the older forms, which name every node by its tree and number. `kind` is what leaves vote for.
fn votes(call: &mut Call<'_>, kind: &str) -> Result<TreeEnsemble, Fault> {
    call.at_most_inputs(1)?;
    let attributes = &call.attributes;
    attributes.ignore(&["nodes_hitrates", "nodes_hitrates_as_tensor"]);
    let ids = |name: &str| attributes.ints(name).map(Option::unwrap_or_default);
    let (trees, numbers) = (ids("nodes_treeids")?, ids("nodes_nodeids")?);
    let (on_true, on_false) = (ids("nodes_truenodeids")?, ids("nodes_falsenodeids")?);
    let missing = attributes.ints("nodes_missing_value_tracks_true")?;
    let modes = attributes.byte_strings("nodes_modes")?.unwrap_or_default();
    let features = attributes.sizes("nodes_featureids")?;
    let target_trees = ids(&format!("{kind}_treeids"))?;
    let target_nodes = ids(&format!("{kind}_nodeids"))?;
    let targets = attributes.sizes(&format!("{kind}_ids"))?;
    let bounds = list(call, "nodes_values")?;
    let weights = list(call, &format!("{kind}_weights"))?;
    let base = list(call, "base_values")?;
    let count = trees.len();
    let nodes = [
        numbers.len(),
        on_true.len(),
        on_false.len(),
        modes.len(),
        features.len(),
        bounds.len(),
    ];
    let votes = [target_trees.len(), target_nodes.len(), targets.len()];
    if nodes.iter().any(|&length| length != count)
        || votes.iter().any(|&length| length != weights.len())
        || missing.is_some_and(|missing| !missing.is_empty() && missing.len() != count)
    {
        return Err(wrong("nodes_treeids", format!("{count} nodes"), SHAPE));
    }
    let mut of_node: HashMap<(i64, i64), Vec<Leaf>> = HashMap::new();
    for (vote, (&tree, &node)) in target_trees.iter().zip(target_nodes).enumerate() {
        let leaf = Leaf {
            target: targets[vote],
            weight: weights[vote],
        };
        of_node.entry((tree, node)).or_default().push(leaf);
    }
    let mut places: HashMap<(i64, i64), Branch> = HashMap::new();
    let (mut leaves, mut roots, mut splits) = (Vec::new(), Vec::new(), 0);
    let mut seen_trees = std::collections::HashSet::new();
    for node in 0..count {
        let key = (trees[node], numbers[node]);
        let branch = if &*modes[node] == b"LEAF" {
            let first = leaves.len();
            leaves.append(&mut of_node.remove(&key).unwrap_or_default());
            Branch::Leaves(first..leaves.len())
        } else {
            splits += 1;
            Branch::Node(splits - 1)
        };
        if seen_trees.insert(key.0) {
            roots.push(branch.clone());
        }
        if places.insert(key, branch).is_some() {
            return Err(wrong("nodes_nodeids", format!("{key:?} twice"), SHAPE));
        }
    }
    let mut nodes = Vec::with_capacity(splits);
    for node in (0..count).filter(|&node| &*modes[node] != b"LEAF") {
        let branch = |number: i64| {
            let branch = places.get(&(trees[node], number)).cloned();
            branch.ok_or_else(|| wrong("nodes_nodeids", format!("no node {number}"), SHAPE))
        };
        let bound = bounds[node];
        let test = match &*modes[node] {
            b"BRANCH_LEQ" => Test::LessOrEqual(bound),
            b"BRANCH_LT" => Test::Less(bound),
            b"BRANCH_GTE" => Test::GreaterOrEqual(bound),
            b"BRANCH_GT" => Test::Greater(bound),
            b"BRANCH_EQ" => Test::Equal(bound),
            b"BRANCH_NEQ" => Test::NotEqual(bound),
            seen => {
                let seen = format!("{:?}", String::from_utf8_lossy(seen));
                return Err(wrong(
                    "nodes_modes",
                    seen,
                    "LEAF or BRANCH_ and a comparison",
                ));
            }
        };
        nodes.push(Split {
            feature: features[node],
            test,
            missing_is_true: missing
                .and_then(|missing| missing.get(node))
                .is_some_and(|&way| way != 0),
            on_true: branch(on_true[node])?,
            on_false: branch(on_false[node])?,
        });
    }
    Ok(TreeEnsemble {
        nodes,
        leaves,
        roots,
        targets: 0,
        aggregate: Aggregate::Sum,
        base,
    })
}

fn regressor(call: &mut Call<'_>) -> Result<Form, Fault> {
    let transform = PostTransform::read(call)?;
    let mut trees = votes(call, "target")?;
    trees.targets = call.attributes.size("n_targets")?.unwrap_or(1);
    trees.aggregate = match call.attributes.text("aggregate_function")?.as_deref() {
        None | Some("SUM") => Aggregate::Sum,
        Some("AVERAGE") => Aggregate::Average,
        Some("MIN") => Aggregate::Min,
        Some("MAX") => Aggregate::Max,
        Some(seen) => {
            let expected = "\"SUM\", \"AVERAGE\", \"MIN\" or \"MAX\"";
            return Err(wrong("aggregate_function", format!("{seen:?}"), expected));
        }
    };
    let data = Some(call.input(0)?);
    let votes = call.step("votes", sound(trees, "nodes_treeids")?, vec![data])?;
    let float = Op::Cast { to: DType::F32 };
    let votes = call.step("float", float, vec![Some(votes)])?;
    Ok(Form::Node(transform.op(), vec![Some(votes)]))
}

/// Where all leaves of a model of two classes vote for one of them, that vote decides.
fn classifier(call: &mut Call<'_>) -> Result<Form, Fault> {
    let transform = PostTransform::read(call)?;
    let mut trees = votes(call, "class")?;
    let classes = Classes::read(call, "classlabels_int64s")?;
    let first = trees.leaves.first().map(|leaf| leaf.target);
    let single = classes.count() == 2 && trees.leaves.iter().all(|leaf| Some(leaf.target) == first);
    let positive = trees.leaves.iter().all(|leaf| leaf.weight >= 0.0);
    trees.targets = if single { 1 } else { classes.count() };
    if single {
        trees.leaves.iter_mut().for_each(|leaf| leaf.target = 0);
        trees.base.truncate(1);
    }
    let data = Some(call.input(0)?);
    let votes = call.step("votes", sound(trees, "nodes_treeids")?, vec![data])?;
    let float = Op::Cast { to: DType::F32 };
    let votes = call.step("float", float, vec![Some(votes)])?;
    if !single {
        return classes.greatest(call, votes, transform);
    }
    if positive {
        let one = call.literal("one", literal::float(DType::F32, 1.0))?;
        let complement = vec![Some(one), Some(votes)];
        let complement = call.step("complement", Op::Binary(Binary::Sub), complement)?;
        return classes.either(call, votes, complement, 0.5, PostTransform::None);
    }
    let complement = call.step("complement", Op::Unary(Unary::Neg), vec![Some(votes)])?;
    classes.either(call, votes, complement, 0.0, transform)
}
