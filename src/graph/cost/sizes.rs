//! Shapes once symbols have sizes.

use crate::graph::build::literal::read_integers;
use crate::graph::infer::{Fact, Size, infer};
use crate::graph::{Graph, Value, ValueId, ValueOrigin};
use crate::types::{Bindings, Dim, ShapeSpec};

/// Size of a symbol that is given none.
const DEFAULT: usize = 1;

/// Returns what is known of each value when the symbols of the inputs have the given sizes.
///
/// Shapes are inferred anew, so that sizes which follow from symbols are known too. Where an operator refuses such a
/// size, as a convolution does an image smaller than its window, what was known without it stays.
pub(super) fn sized(graph: &Graph, sizes: &Bindings) -> Vec<Fact> {
    sized_with(graph, &[], sizes)
}

/// As [`sized`], where more is known of some inputs, by their place.
pub(super) fn sized_with(graph: &Graph, given: &[Option<&Fact>], sizes: &Bindings) -> Vec<Fact> {
    let mut facts: Vec<Fact> = graph
        .values
        .iter()
        .map(|value| stored(value, sizes))
        .collect();
    for (id, fact) in graph.inputs.iter().zip(given) {
        if let Some(fact) = fact.filter(|fact| fact.shape.is_some()) {
            facts[id.0 as usize].clone_from(fact);
        }
    }
    for node in &graph.nodes {
        let fact = |id: &Option<ValueId>| id.map(|id| &facts[id.0 as usize]);
        let inputs: Vec<_> = node.inputs.iter().map(fact).collect();
        let Ok(inferred) = infer(&node.op, &inputs, node.outputs.len()) else {
            continue;
        };
        for (id, fact) in node.outputs.iter().zip(inferred) {
            let Some(id) = id else { continue };
            let slot = &mut facts[id.0 as usize];
            slot.contents = fact.contents;
            if fact
                .shape
                .as_ref()
                .is_some_and(|shape| known(shape) >= slot.shape.as_ref().map_or(0, known))
            {
                slot.shape = fact.shape;
            }
        }
    }
    facts
}

fn known(shape: &ShapeSpec) -> usize {
    1 + shape.0.iter().filter(|dim| dim.fixed().is_some()).count()
}

fn stored(value: &Value, sizes: &Bindings) -> Fact {
    let shape = value.shape.as_ref().map(|shape| {
        let dims = shape.0.iter().map(|dim| match dim {
            Dim::Symbol(symbol) => Dim::Fixed(sizes.get(symbol).copied().unwrap_or(DEFAULT)),
            Dim::Fixed(_) | Dim::Any => dim.clone(),
        });
        ShapeSpec(dims.collect())
    });
    let fact = Fact::new(value.dtype, shape).within(value.container);
    match &value.origin {
        ValueOrigin::Initializer(initializer) => {
            let elements = Some(initializer).filter(|initializer| initializer.is_setting());
            let elements = elements.and_then(|initializer| read_integers(&initializer.tensor));
            fact.with_contents(
                elements.map(|elements| elements.into_iter().map(Size::Known).collect()),
            )
        }
        ValueOrigin::Input(_) | ValueOrigin::Node(..) => fact,
    }
}
