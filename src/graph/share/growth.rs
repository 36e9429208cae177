//! Pairs of nodes that two graphs have alike, grown from one pair along equal wiring.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::graph::hash::{Digest, operator};
use crate::graph::{ValueId, ValueOrigin};

use super::report::Subject;

/// Nodes of the left graph and those of the right that they correspond to.
pub(super) type Pairs = BTreeMap<usize, usize>;

/// Where a node gets an input from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Output of a node, by position.
    Node(usize, usize),
    Input,
    Weight,
}

/// One graph, and what its nodes are by themselves.
pub(super) struct Side<'a> {
    pub(super) subject: &'a Subject<'a>,
    /// Digest of operator and weights of each node that may be paired.
    digests: Vec<Option<Digest>>,
    /// Nodes and input places that read each value.
    readers: HashMap<ValueId, Vec<(usize, usize)>>,
    paired: HashSet<usize>,
}

impl<'a> Side<'a> {
    /// Takes the nodes that are not in `common` to be paired.
    pub(super) fn of(subject: &'a Subject<'a>, common: &HashSet<Digest>) -> Self {
        let mut readers: HashMap<_, Vec<_>> = HashMap::new();
        let mut digests = Vec::with_capacity(subject.graph.nodes.len());
        for (place, node) in subject.graph.nodes.iter().enumerate() {
            for (input, id) in node.inputs.iter().enumerate() {
                if let Some(id) = id {
                    readers.entry(*id).or_default().push((place, input));
                }
            }
            let open = !common.contains(&subject.prints.nodes[place]);
            digests.push(open.then(|| by_itself(subject, place)));
        }
        Self {
            subject,
            digests,
            readers,
            paired: HashSet::new(),
        }
    }

    pub(super) fn source(&self, id: ValueId) -> Source {
        match self.subject.graph.value(id).origin {
            ValueOrigin::Node(node, output) => Source::Node(node.0 as usize, output),
            ValueOrigin::Input(_) => Source::Input,
            ValueOrigin::Initializer(_) => Source::Weight,
        }
    }

    pub(super) fn inputs(&self, node: usize) -> &'a [Option<ValueId>] {
        &self.subject.graph.nodes[node].inputs
    }

    pub(super) fn outputs(&self, node: usize) -> &'a [Option<ValueId>] {
        &self.subject.graph.nodes[node].outputs
    }

    pub(super) fn readers(&self, id: ValueId) -> &[(usize, usize)] {
        self.readers.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Returns the digest of a node that may be paired and is not yet.
    fn free(&self, node: usize) -> Option<Digest> {
        self.digests[node].filter(|_| !self.paired.contains(&node))
    }

    /// Tells whether a node has trained weights, which are what makes it worth sharing and hard to meet by accident.
    pub(super) fn is_trained(&self, node: usize) -> bool {
        let mut inputs = self.inputs(node).iter().flatten();
        inputs.any(|&id| match &self.subject.graph.value(id).origin {
            ValueOrigin::Initializer(initializer) => !initializer.is_setting(),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => false,
        })
    }
}

/// Two graphs side by side.
pub(super) struct Growth<'a> {
    pub(super) left: Side<'a>,
    pub(super) right: Side<'a>,
}

impl Growth<'_> {
    /// Pairs all that can be, and returns one set of pairs for each beginning. No node is in two of them.
    pub(super) fn run(&mut self) -> Vec<Pairs> {
        let mut candidates: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (node, digest) in self.right.digests.iter().enumerate() {
            if let Some(digest) = digest {
                candidates.entry(*digest).or_default().push(node);
            }
        }
        let mut found = Vec::new();
        for node in 0..self.left.digests.len() {
            let Some(digest) = self.left.free(node).filter(|_| self.left.is_trained(node)) else {
                continue;
            };
            let alike = candidates.get(&digest).into_iter().flatten();
            let partner = alike.copied().find(|&node| self.right.free(node).is_some());
            if let Some(partner) = partner {
                let grown = self.grow(node, partner);
                let kept = self.consistent(grown.clone());
                for (left, right) in grown.iter().filter(|(left, _)| !kept.contains_key(left)) {
                    self.left.paired.remove(left);
                    self.right.paired.remove(right);
                }
                found.push(kept);
            }
        }
        found.retain(|pairs| !pairs.is_empty());
        found
    }

    fn grow(&mut self, left: usize, right: usize) -> Pairs {
        let mut pairs = Pairs::new();
        let mut open = VecDeque::from([(left, right)]);
        while let Some((left, right)) = open.pop_front() {
            let alike =
                self.left.free(left).is_some() && self.left.free(left) == self.right.free(right);
            if !alike {
                continue;
            }
            self.left.paired.insert(left);
            self.right.paired.insert(right);
            pairs.insert(left, right);
            let inputs = self.left.inputs(left).iter().zip(self.right.inputs(right));
            for (one, other) in inputs {
                if let (Some(one), Some(other)) = (one, other)
                    && let (Source::Node(one, at), Source::Node(other, same)) =
                        (self.left.source(*one), self.right.source(*other))
                    && at == same
                {
                    open.push_back((one, other));
                }
            }
            let outputs = self
                .left
                .outputs(left)
                .iter()
                .zip(self.right.outputs(right));
            for (one, other) in outputs {
                if let (Some(one), Some(other)) = (one, other) {
                    open.extend(self.readers_alike(*one, *other));
                }
            }
        }
        pairs
    }

    /// Pairs the readers of two values, each with the first of the other side that reads alike.
    fn readers_alike(&self, left: ValueId, right: ValueId) -> Vec<(usize, usize)> {
        let mut others: Vec<_> = self.right.readers(right).to_vec();
        let mut pairs = Vec::new();
        for &(node, place) in self.left.readers(left) {
            let Some(digest) = self.left.free(node) else {
                continue;
            };
            let alike = others
                .iter()
                .position(|&(other, same)| place == same && self.right.free(other) == Some(digest));
            if let Some(at) = alike {
                pairs.push((node, others.swap_remove(at).0));
            }
        }
        pairs
    }

    /// Returns the pairs whose inputs correspond too: to each other within the pairs, and one to one outside of them.
    fn consistent(&self, mut pairs: Pairs) -> Pairs {
        loop {
            let partners: HashSet<usize> = pairs.values().copied().collect();
            let mut outside: [HashMap<ValueId, ValueId>; 2] = [HashMap::new(), HashMap::new()];
            let mut odd = Vec::new();
            for (&left, &right) in &pairs {
                let inputs = self.left.inputs(left).iter().zip(self.right.inputs(right));
                let fits = inputs
                    .filter_map(|(one, other)| Some(((*one)?, (*other)?)))
                    .all(
                        |(one, other)| match (self.left.source(one), self.right.source(other)) {
                            (Source::Weight, Source::Weight) => true,
                            (Source::Node(maker, at), Source::Node(partner, same))
                                if pairs.contains_key(&maker) =>
                            {
                                pairs[&maker] == partner && at == same
                            }
                            (_, Source::Node(partner, _)) if partners.contains(&partner) => false,
                            (Source::Node(maker, _), _) if pairs.contains_key(&maker) => false,
                            _ => {
                                *outside[0].entry(one).or_insert(other) == other
                                    && *outside[1].entry(other).or_insert(one) == one
                            }
                        },
                    );
                if !fits {
                    odd.push(left);
                }
            }
            if odd.is_empty() {
                return pairs;
            }
            for left in odd {
                pairs.remove(&left);
            }
        }
    }
}

/// Returns the digest of a node without what is before it.
fn by_itself(subject: &Subject<'_>, node: usize) -> Digest {
    let node = &subject.graph.nodes[node];
    let mut mixer = operator(node);
    for id in &node.inputs {
        match id.map(|id| subject.weights.get(id)) {
            None => mixer.text("nothing"),
            Some(None) => mixer.text("computed"),
            Some(Some(digest)) => {
                mixer.text("weight");
                mixer.digest(digest);
            }
        }
    }
    mixer.finish()
}
