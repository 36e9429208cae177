//! Names in a file: each tensor and each node has one of its own, also across the graphs of nodes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Graph, Initializer, ValueId, ValueOrigin};

/// A weight of a body of fewer bytes lies in the body: it sets an operator, and readers look for it there.
const HOISTED_BYTES_MIN: usize = 1024;

/// The number of the second of several equal names.
const FIRST_NUMBER: u64 = 2;

/// The names of one graph's values, by their place.
pub(super) type Names = Vec<String>;

/// Names that are taken, and the number that the next of the same name is tried with.
type Taken = HashMap<String, u64>;

/// What is taken so far, and the weights of the whole file.
#[derive(Default)]
pub(super) struct Scope<'a> {
    tensors: Taken,
    nodes: Taken,
    /// In the order of the file.
    pub(super) weights: Vec<(String, &'a Arc<Initializer>)>,
    /// Where a weight is among them.
    places: HashMap<*const Initializer, usize>,
}

impl<'a> Scope<'a> {
    /// Takes the names of a model.
    pub(super) fn of(graph: &'a Graph) -> Self {
        let mut scope = Self::default();
        for value in &graph.values {
            scope.tensors.insert(value.name.clone(), FIRST_NUMBER);
            if let ValueOrigin::Initializer(initializer) = &value.origin {
                scope.weigh(value.name.clone(), initializer);
            }
        }
        scope
    }

    fn weigh(&mut self, name: String, initializer: &'a Arc<Initializer>) {
        let place = self.weights.len();
        self.places.entry(Arc::as_ptr(initializer)).or_insert(place);
        self.weights.push((name, initializer));
    }

    /// Names the values of a body. `captured` are names around it of its last inputs. A large weight is one of the
    /// model; the others that it has itself are returned by their names.
    pub(super) fn body(
        &mut self,
        body: &'a Graph,
        captured: &[String],
    ) -> (Names, Vec<(String, &'a Arc<Initializer>)>) {
        let mut own = Vec::new();
        let given = body.inputs.len().saturating_sub(captured.len());
        let mut names = Names::with_capacity(body.values.len());
        for value in &body.values {
            let around = match &value.origin {
                ValueOrigin::Input(place) => place
                    .checked_sub(given)
                    .and_then(|place| captured.get(place).cloned()),
                ValueOrigin::Initializer(weight) => self.hoisted(&value.name, weight),
                ValueOrigin::Node(..) => None,
            };
            let name = around.unwrap_or_else(|| {
                let name = distinct(&mut self.tensors, &value.name);
                if let ValueOrigin::Initializer(weight) = &value.origin {
                    own.push((name.clone(), weight));
                }
                name
            });
            names.push(name);
        }
        (names, own)
    }

    fn hoisted(&mut self, name: &str, weight: &'a Arc<Initializer>) -> Option<String> {
        if weight.tensor.byte_count() < HOISTED_BYTES_MIN {
            return None;
        }
        if let Some(&place) = self.places.get(&Arc::as_ptr(weight)) {
            return Some(self.weights[place].0.clone());
        }
        let name = distinct(&mut self.tensors, name);
        self.weigh(name.clone(), weight);
        Some(name)
    }

    /// Takes a name for a tensor between the nodes that one is written as.
    pub(super) fn fresh(&mut self, node: &str, role: &str) -> String {
        distinct(&mut self.tensors, &format!("{node}.{role}"))
    }

    /// Takes the name of a node, which is empty where it has none.
    pub(super) fn node_name(&mut self, name: &str) -> String {
        match name {
            "" => String::new(),
            name => distinct(&mut self.nodes, name),
        }
    }
}

/// Returns a name, with a number if it is taken, and takes it.
fn distinct(taken: &mut Taken, base: &str) -> String {
    let mut name = base.to_owned();
    if let Some(&number) = taken.get(base) {
        let free = (number..).find(|number| {
            name = format!("{base}.{number}");
            !taken.contains_key(&name)
        });
        taken.insert(base.to_owned(), free.unwrap_or(number) + 1);
    }
    taken.insert(name.clone(), FIRST_NUMBER);
    name
}

/// Returns the names of values that may be absent.
pub(super) fn named(names: &Names, ids: &[Option<ValueId>]) -> Vec<String> {
    let name = |id: &Option<ValueId>| id.map(|id| names[id.0 as usize].clone());
    ids.iter().map(|id| name(id).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_get_numbers_that_nobody_has() {
        let mut taken = Taken::new();
        let names = ["a", "a.2", "a", "a", "a.2", "a.3"].map(|name| distinct(&mut taken, name));
        assert_eq!(names, ["a", "a.2", "a.3", "a.4", "a.2.2", "a.3.2"]);
    }
}
