//! Agreement of datatypes and shapes along edges, and the signature of a pipeline that follows from it.
//!
//! A symbol of a block is any size, but one size within one request. Along an edge two symbols become one, or a
//! symbol gets a size; so sizes travel through blocks, and a pipeline's own symbols mean what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::types::{Dim, Problem, ShapeSpec, Signature, TensorSpec};

use super::draft::{Blocks, Draft, DraftEdge};
use super::{EdgeFrom, EdgeTo};

type Symbol = (usize, Arc<str>);

/// Checks every edge and returns the signature of the pipeline, if there was nothing to report.
pub(super) fn agree(
    draft: &Draft,
    blocks: Blocks<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Signature> {
    let reported = problems.len();
    let mut classes = Classes::of(draft, blocks);
    // Whoever makes or takes the same tensor.
    let mut sharers: BTreeMap<EdgeFrom, Vec<(usize, &TensorSpec)>> = BTreeMap::new();
    for edge in &draft.edges {
        let EdgeTo::Step { step, input } = edge.to else {
            continue;
        };
        let Some(consumer) = draft.input(blocks, step, input) else {
            continue;
        };
        let others = sharers.entry(edge.from).or_insert_with(|| match edge.from {
            EdgeFrom::Step { step, output } => draft
                .output(blocks, step, output)
                .map(|spec| (step, spec))
                .into_iter()
                .collect(),
            EdgeFrom::Input(_) => Vec::new(),
        });
        let refused = others.iter().find_map(|other| {
            classes
                .join(*other, (step, consumer))
                .err()
                .map(|reason| (*other, reason))
        });
        if let Some((other, reason)) = refused {
            problems.push(disagreement(draft, edge, other, (step, consumer), &reason));
        }
        others.push((step, consumer));
    }
    (problems.len() == reported && !draft.partial)
        .then(|| signature(draft, blocks, &mut classes))
        .flatten()
}

fn disagreement(
    draft: &Draft,
    edge: &DraftEdge,
    one: (usize, &TensorSpec),
    other: (usize, &TensorSpec),
    reason: &str,
) -> Problem {
    let named = |(step, spec): (usize, &TensorSpec)| {
        format!(
            "{}.{} is {}{}",
            draft.steps[step].name, spec.name, spec.dtype, spec.shape
        )
    };
    let sides = format!("{}, {}", named(one), named(other));
    let seen = match edge.from {
        EdgeFrom::Input(place) => format!("{} feeds both: {sides}", draft.inputs[place]),
        EdgeFrom::Step { .. } => sides,
    };
    Problem::new(&edge.key, seen, format!("expected {reason} on both sides"))
}

fn signature(draft: &Draft, blocks: Blocks<'_>, classes: &mut Classes) -> Option<Signature> {
    let consumed = |place: usize| {
        let fed = move |edge: &&DraftEdge| edge.from == EdgeFrom::Input(place);
        draft
            .edges
            .iter()
            .filter(fed)
            .filter_map(|edge| match edge.to {
                EdgeTo::Step { step, input } => Some((step, draft.input(blocks, step, input)?)),
                EdgeTo::Output(_) => None,
            })
    };
    let mut signature = Signature::default();
    for (place, name) in draft.inputs.iter().enumerate() {
        let mut merged: Option<TensorSpec> = None;
        for (step, spec) in consumed(place) {
            let shape = classes.resolve(step, &spec.shape);
            merged = Some(match merged {
                None => TensorSpec::new(name, spec.dtype, shape),
                Some(known) => TensorSpec {
                    shape: narrower(known.shape, shape),
                    ..known
                },
            });
        }
        signature.inputs.push(merged?);
    }
    for place in 0..draft.outputs.len() {
        let edge = draft
            .edges
            .iter()
            .find(|edge| edge.to == EdgeTo::Output(place))?;
        let EdgeFrom::Step { step, output } = edge.from else {
            return None;
        };
        let spec = draft.output(blocks, step, output)?;
        let shape = classes.resolve(step, &spec.shape);
        signature
            .outputs
            .push(TensorSpec::new(&draft.outputs[place], spec.dtype, shape));
    }
    Some(signature)
}

/// Keeps of two compatible shapes what says more: a size over a symbol over anything.
fn narrower(left: ShapeSpec, right: ShapeSpec) -> ShapeSpec {
    let dims = left.0.into_iter().zip(right.0).map(|pair| match pair {
        (Dim::Any, other) | (Dim::Symbol(_), other @ Dim::Fixed(_)) => other,
        (known, _) => known,
    });
    ShapeSpec(dims.collect())
}

/// Symbols of all steps, grouped by equality (union–find), with the size and the name of each group.
struct Classes {
    symbols: BTreeMap<Symbol, usize>,
    parents: Vec<usize>,
    sizes: Vec<Option<usize>>,
    names: BTreeMap<usize, Arc<str>>,
    taken: BTreeSet<Arc<str>>,
}

impl Classes {
    fn of(draft: &Draft, blocks: Blocks<'_>) -> Self {
        let mut symbols = BTreeMap::new();
        for (step, used) in draft.steps.iter().enumerate() {
            let Some(signature) = blocks.signature(used.block) else {
                continue;
            };
            for spec in signature.inputs.iter().chain(&signature.outputs) {
                for dim in &spec.shape.0 {
                    if let Dim::Symbol(name) = dim {
                        let next = symbols.len();
                        symbols.entry((step, name.clone())).or_insert(next);
                    }
                }
            }
        }
        let count = symbols.len();
        Self {
            symbols,
            parents: (0..count).collect(),
            sizes: vec![None; count],
            names: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Makes the two ends of an edge equal, or says what cannot be.
    fn join(
        &mut self,
        (from, producer): (usize, &TensorSpec),
        (to, consumer): (usize, &TensorSpec),
    ) -> Result<(), String> {
        if producer.dtype != consumer.dtype {
            return Err("the same datatype".to_owned());
        }
        if producer.shape.rank() != consumer.shape.rank() {
            return Err("the same number of dimensions".to_owned());
        }
        let dims = producer.shape.0.iter().zip(&consumer.shape.0);
        for (index, (left, right)) in dims.enumerate() {
            self.join_dims((from, left), (to, right))
                .map_err(|(left, right)| {
                    format!("the same size in dimension {index}, which is {left} and {right},")
                })?;
        }
        Ok(())
    }

    fn join_dims(
        &mut self,
        (from, left): (usize, &Dim),
        (to, right): (usize, &Dim),
    ) -> Result<(), (usize, usize)> {
        let sizes = match (left, right) {
            (Dim::Any, _) | (_, Dim::Any) => return Ok(()),
            (Dim::Fixed(left), Dim::Fixed(right)) => (Some(*left), Some(*right)),
            (Dim::Symbol(symbol), Dim::Fixed(size)) => {
                let root = self.root(from, symbol);
                (self.sizes[root].replace(*size), Some(*size))
            }
            (Dim::Fixed(size), Dim::Symbol(symbol)) => {
                let root = self.root(to, symbol);
                (Some(*size), self.sizes[root].replace(*size))
            }
            (Dim::Symbol(left), Dim::Symbol(right)) => {
                let (left, right) = (self.root(from, left), self.root(to, right));
                let sizes = (self.sizes[left], self.sizes[right]);
                self.parents[right] = left;
                self.sizes[left] = sizes.0.or(sizes.1);
                sizes
            }
        };
        match sizes {
            (Some(left), Some(right)) if left != right => Err((left, right)),
            _ => Ok(()),
        }
    }

    fn root(&self, step: usize, symbol: &Arc<str>) -> usize {
        let mut at = self.symbols[&(step, symbol.clone())];
        while self.parents[at] != at {
            at = self.parents[at];
        }
        at
    }

    /// Writes a step's shape in the words of the pipeline: known sizes filled in, one name for each group.
    fn resolve(&mut self, step: usize, shape: &ShapeSpec) -> ShapeSpec {
        let dims = shape.0.iter().map(|dim| match dim {
            Dim::Symbol(symbol) => {
                let root = self.root(step, symbol);
                self.sizes[root].map_or_else(|| Dim::Symbol(self.name(root, symbol)), Dim::Fixed)
            }
            other => other.clone(),
        });
        ShapeSpec(dims.collect())
    }

    /// Returns the name of a group: the one it is first met by, numbered if another group has it.
    fn name(&mut self, root: usize, symbol: &Arc<str>) -> Arc<str> {
        if let Some(name) = self.names.get(&root) {
            return name.clone();
        }
        let numbered = (2_usize..).map(|number| Arc::from(format!("{symbol}_{number}")));
        let name = std::iter::once(symbol.clone())
            .chain(numbered)
            .find(|name| !self.taken.contains(name))
            .expect("the numbers do not end");
        self.taken.insert(name.clone());
        self.names.insert(root, name.clone());
        name
    }
}
