//! Where the values of a graph live in a run on a device: there, or on the host.
//!
//! Sizes, and what is computed of nothing but sizes and constants, stay on the host: they end up as numbers beside a kernel,
//! and a device would have to be waited for to read them there. All else is the device's. An operator runs where its inputs
//! are; one that has inputs on both sides runs on the device, and those on the host are brought there in each run. A weight
//! is held where it is used, on both sides where that is so.
//!
//! Indices of `Gather` are numbers, too: those of a weight, or of the host, stay there. Only indices that are computed on the
//! device, or come from there, are copied to the host in each run, which waits for them.
//!
//! Operators that compute on the host, and those that trust numbers which would be found wrong on the device only, are
//! refused: a wrong one there ends the process rather than the request.

use std::collections::BTreeSet;

use crate::graph::{Graph, Index, Node, Op, ValueId, ValueOrigin};
use crate::types::DType;

use super::storage::is_native;

/// What an operator does with its inputs.
enum Role {
    /// Looks at sizes alone; what it gives is on the host.
    Sizes,
    /// Computes with them, but for those at these places, of which the host reads the numbers.
    Computes(&'static [usize]),
    /// It has no place on a device, for this reason.
    Host(&'static str),
}

/// Where the values of a graph live.
#[derive(Debug)]
pub(super) struct Sites {
    /// Of each value: whether it is on the device. A weight may be on both sides.
    on_device: Vec<bool>,
    /// Weights that steps on the host, or numbers, are read from.
    on_host: BTreeSet<usize>,
    /// Of each node.
    data: Vec<Vec<usize>>,
}

/// A node that cannot run on a device.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub(super) node: String,
    pub(super) op: &'static str,
    pub(super) cause: String,
}

impl Sites {
    /// Finds out where values live; says of every node that cannot run so why.
    pub(super) fn of(graph: &Graph) -> Result<Self, Vec<Misplaced>> {
        let mut sites = Self {
            on_device: vec![false; graph.values.len()],
            on_host: BTreeSet::new(),
            data: Vec::new(),
        };
        for input in &graph.inputs {
            sites.on_device[input.0 as usize] = true;
        }
        let mut misplaced = Vec::new();
        for node in &graph.nodes {
            match sites.place(graph, node) {
                Ok(data) => sites.data.push(data),
                Err(cause) => misplaced.push(Misplaced {
                    node: node.name.clone(),
                    op: node.op.name(),
                    cause,
                }),
            }
        }
        for output in &graph.outputs {
            if is_weight(graph, output.0 as usize) {
                sites.on_host.insert(output.0 as usize);
            }
        }
        match misplaced.is_empty() {
            true => Ok(sites),
            false => Err(misplaced),
        }
    }

    /// Returns the places of inputs that belong on the device, of the node of that number; none where it runs on the host.
    pub(super) fn data(&self, node: usize) -> &[usize] {
        &self.data[node]
    }

    /// Tells whether a weight is used on the device, and on the host.
    pub(super) fn uses(&self, weight: usize) -> (bool, bool) {
        (self.on_device[weight], self.on_host.contains(&weight))
    }

    /// Tells whether the device has a value.
    pub(super) fn is_on_device(&self, value: ValueId) -> bool {
        self.on_device[value.0 as usize]
    }

    /// Notes where a node runs; returns the places of its inputs that belong on the device.
    fn place(&mut self, graph: &Graph, node: &Node) -> Result<Vec<usize>, String> {
        let numbers = match role(&node.op) {
            Role::Host(reason) => return Err(reason.to_owned()),
            Role::Sizes => return Ok(Vec::new()),
            Role::Computes(numbers) => numbers,
        };
        let numbers: &[usize] = match &node.op {
            Op::Gather { .. } if self.has_here(graph, node, 1) => &[1],
            _ => numbers,
        };
        check(graph, node)?;
        let is_data = |place: &usize| !numbers.contains(place);
        let value = |place: usize| node.inputs[place].map(|id| id.0 as usize);
        let places = 0..node.inputs.len();
        let there = places
            .clone()
            .filter(is_data)
            .filter_map(value)
            .any(|value| self.on_device[value] && !is_weight(graph, value));
        for place in places.clone() {
            let Some(value) = value(place).filter(|&value| is_weight(graph, value)) else {
                continue;
            };
            if there && is_data(&place) {
                self.on_device[value] = true;
            } else {
                self.on_host.insert(value);
            }
        }
        for output in node.outputs.iter().flatten() {
            self.on_device[output.0 as usize] = there;
        }
        let data = places.filter(|place| there && is_data(place) && value(*place).is_some());
        Ok(data.collect())
    }
}

impl Sites {
    /// Tells whether the host has an input of a node, or can have it at no cost.
    fn has_here(&self, graph: &Graph, node: &Node, place: usize) -> bool {
        let value = node.inputs.get(place).copied().flatten();
        let value = value.map(|id| id.0 as usize);
        value.is_some_and(|value| is_weight(graph, value) || !self.on_device[value])
    }
}

fn is_weight(graph: &Graph, value: usize) -> bool {
    matches!(graph.values[value].origin, ValueOrigin::Initializer(_))
}

/// Refuses what depends on more than the operator.
fn check(graph: &Graph, node: &Node) -> Result<(), String> {
    let values = node.inputs.iter().chain(&node.outputs).flatten();
    let odd = values.filter_map(|id| graph.value(*id).dtype);
    if let Some(odd) = odd.into_iter().find(|dtype| !on_devices(*dtype)) {
        return Err(format!("{odd} is computed with on the host"));
    }
    let has = |list: &[Option<_>], place: usize| list.get(place).is_some_and(Option::is_some);
    match &node.op {
        Op::RotaryEmbedding(_) if has(&node.inputs, 3) => {
            Err("positions would be checked by the device only".to_owned())
        }
        Op::Aten(op) if is_trusting(&op.name) => Err(format!(
            "indices of {} would be checked by the device only",
            op.name
        )),
        Op::Aten(op) if op.name.ends_with("_for_cpu") => {
            Err(format!("{} is for the CPU, as its name says", op.name))
        }
        _ => Ok(()),
    }
}

/// Tells whether devices compute with the dtype as it is.
pub fn on_devices(dtype: DType) -> bool {
    is_native(dtype) && dtype != DType::Bytes
}

/// Tells whether an operator of ATen takes indices from its inputs.
fn is_trusting(name: &str) -> bool {
    const STEMS: [&str; 11] = [
        "bincount",
        "cross_entropy",
        "embedding",
        "gather",
        "grid_sampler",
        "index",
        "multinomial",
        "nll_loss",
        "one_hot",
        "scatter",
        "take",
    ];
    let bare = name.strip_prefix("aten::").unwrap_or(name);
    STEMS.iter().any(|stem| bare.contains(stem)) || bare == "put"
}

fn role(op: &Op) -> Role {
    const ON_HOST: &str = "it computes on the host";
    match op {
        Op::Shape { .. } | Op::Size => Role::Sizes,
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Variadic(_)
        | Op::Where
        | Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::FusedConv(_)
        | Op::Linear { .. }
        | Op::ScaledDotProduct(_)
        | Op::Normalization(_)
        | Op::Pool(_)
        | Op::GlobalPool(_)
        | Op::MatMul
        | Op::Gemm { .. }
        | Op::Einsum(_)
        | Op::ArgExtreme { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::FlatSoftmax { .. }
        | Op::Hardmax { .. }
        | Op::Flatten { .. }
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::DepthToSpace { .. }
        | Op::SpaceToDepth { .. }
        | Op::Cast { .. }
        | Op::Identity
        | Op::Attention(_)
        | Op::RotaryEmbedding(_)
        | Op::Aten(_)
        | Op::Index(Index::NonZero) => Role::Computes(&[]),
        Op::Dropout { .. } | Op::Clip => Role::Computes(&[1, 2]),
        Op::Reduce { .. }
        | Op::Cumulative { .. }
        | Op::TopK { .. }
        | Op::Reshape { .. }
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Split { .. }
        | Op::Expand
        | Op::Index(Index::Tile | Index::Trilu { .. }) => Role::Computes(&[1]),
        Op::Slice => Role::Computes(&[1, 2, 3, 4]),
        Op::Pad(_) | Op::Resize(_) => Role::Computes(&[1, 2, 3]),
        Op::ConstantOfShape { .. } => Role::Computes(&[0]),
        Op::Range => Role::Computes(&[0, 1, 2]),
        Op::Control(_) => Role::Host("a graph that an operator runs is kept to the host"),
        Op::Index(_) => Role::Host("its indices would be checked by the device only"),
        _ => Role::Host(ON_HOST),
    }
}
