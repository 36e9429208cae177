//! What there is to say of a model. JSON fields are added, never renamed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::cli::dims;
use crate::cli::progress::{Progress, weight_bytes};
use crate::engine;
use crate::graph::{Cost, Costs, CutPoint, Extent, Graph, Value, ValueId};
use crate::types::{Bindings, Dim};

#[derive(Debug, Serialize)]
pub(super) struct ModelView {
    pub(super) model: String,
    pub(super) name: String,
    pub(super) inputs: Vec<TensorView>,
    pub(super) outputs: Vec<TensorView>,
    /// Sizes of symbols that the costs are for.
    pub(super) sizes: BTreeMap<String, usize>,
    pub(super) cost: CostView,
    pub(super) operators: Vec<OperatorView>,
    /// Operators with nodes that no rule counts the operations of, or whose sizes are open.
    pub(super) uncounted: BTreeMap<&'static str, usize>,
    pub(super) hashes: HashView,
    pub(super) engines: Vec<EngineView>,
    /// Only where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cuts: Option<Vec<CutView>>,
}

#[derive(Debug, Serialize)]
pub(super) struct TensorView {
    pub(super) name: String,
    pub(super) datatype: Option<&'static str>,
    /// A number where the size is fixed, the symbol or `"?"` where it is not; nothing where the rank is not known.
    pub(super) shape: Option<Vec<DimView>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum DimView {
    Size(usize),
    Symbol(String),
}

#[derive(Debug, Serialize)]
pub(super) struct CostView {
    pub(super) nodes: usize,
    pub(super) parameters: u64,
    pub(super) weight_bytes: u64,
    pub(super) flops: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct OperatorView {
    pub(super) operator: &'static str,
    pub(super) count: usize,
    pub(super) flops: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct HashView {
    pub(super) structure: String,
    pub(super) weights: String,
    pub(super) content: String,
}

#[derive(Debug, Serialize)]
pub(super) struct EngineView {
    pub(super) engine: &'static str,
    /// Nodes that it cannot run.
    pub(super) lacks: Vec<LackView>,
    /// Whether the engine can lack nothing else.
    pub(super) is_all: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct LackView {
    pub(super) node: String,
    pub(super) operator: &'static str,
    pub(super) cause: String,
}

#[derive(Debug, Serialize)]
pub(super) struct CutView {
    pub(super) tensor: TensorView,
    /// Bytes that cross for the given sizes.
    pub(super) bytes: Option<u64>,
    /// Bytes that cross, with symbols: `2048 × batch`.
    pub(super) bytes_by_symbol: Option<String>,
    pub(super) before: CostView,
    pub(super) after: CostView,
}

/// Looks at a model, with costs for the given sizes of its symbols.
pub(super) fn describe(path: &Path, graph: &Graph, sizes: Bindings, cuts: bool) -> ModelView {
    let costs = graph.costs(&sizes);
    let total = costs.total(graph);
    let progress = Progress::new("hashing", weight_bytes(graph));
    let hashes = graph.hashes(&mut |bytes| progress.add(bytes));
    let engines = engine::lacks(graph).into_iter().map(|support| {
        let lacks = support.lacks.into_iter().map(|lack| LackView {
            node: lack.node,
            operator: lack.operator,
            cause: lack.cause,
        });
        EngineView {
            engine: support.engine.name(),
            lacks: lacks.collect(),
            is_all: support.is_all,
        }
    });
    let sized = dims::symbols(graph).into_iter().map(|symbol| {
        let size = sizes.get(&symbol).copied().unwrap_or(1);
        (symbol.to_string(), size)
    });
    ModelView {
        model: path.display().to_string(),
        name: graph.name.clone(),
        inputs: tensors(graph, &graph.inputs),
        outputs: tensors(graph, &graph.outputs),
        sizes: sized.collect(),
        cost: cost(&total),
        operators: operators(graph, &costs),
        uncounted: costs.uncounted.clone(),
        hashes: HashView {
            structure: hashes.structure.to_string(),
            weights: hashes.weights.to_string(),
            content: hashes.content.to_string(),
        },
        engines: engines.collect(),
        cuts: cuts.then(|| {
            let points = graph.cut_points(&costs);
            points
                .iter()
                .map(|point| cut(graph, &costs, point))
                .collect()
        }),
    }
}

/// Counts nodes by operator, those with most operations first.
fn operators(graph: &Graph, costs: &Costs) -> Vec<OperatorView> {
    let mut counted: BTreeMap<&'static str, (usize, u64)> = BTreeMap::new();
    for (node, cost) in graph.nodes.iter().zip(&costs.nodes) {
        let (count, flops) = counted.entry(node.op.name()).or_default();
        *count += 1;
        *flops = flops.saturating_add(cost.flops);
    }
    let mut operators: Vec<_> = counted
        .into_iter()
        .map(|(operator, (count, flops))| OperatorView {
            operator,
            count,
            flops,
        })
        .collect();
    operators.sort_by_key(|one| (std::cmp::Reverse((one.flops, one.count)), one.operator));
    operators
}

fn cut(graph: &Graph, costs: &Costs, point: &CutPoint) -> CutView {
    let value = graph.value(point.value);
    CutView {
        tensor: tensor(value),
        bytes: costs.bytes(point.value),
        bytes_by_symbol: Extent::of(value).map(|extent| extent.to_string()),
        before: cost(&point.before),
        after: cost(&point.after),
    }
}

const fn cost(cost: &Cost) -> CostView {
    CostView {
        nodes: cost.nodes,
        parameters: cost.parameters,
        weight_bytes: cost.weight_bytes,
        flops: cost.flops,
    }
}

fn tensors(graph: &Graph, ids: &[ValueId]) -> Vec<TensorView> {
    ids.iter().map(|&id| tensor(graph.value(id))).collect()
}

fn tensor(value: &Value) -> TensorView {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(size) => DimView::Size(*size),
        Dim::Symbol(_) | Dim::Any => DimView::Symbol(dim.to_string()),
    };
    let shape = value.shape.as_ref();
    TensorView {
        name: value.name.clone(),
        datatype: value.dtype.map(|dtype| dtype.name()),
        shape: shape.map(|shape| shape.0.iter().map(dim).collect()),
    }
}
