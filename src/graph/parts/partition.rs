//! Cuts at any set of tensors, which makes a chain, a tree or any other acyclic graph of parts.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::{Graph, GraphError, NodeId, ValueId, ValueOrigin};

use super::is_computed;

/// A part of a graph.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its inputs are inputs of the whole, then what other parts give it; its outputs likewise.
    pub graph: Graph,
    /// Inputs that other parts give it beside the tensors of the cut: without these it could not be computed.
    pub added: Vec<String>,
}

impl Graph {
    /// Returns the parts into which a set of tensors cuts the graph, each after those that it reads from.
    ///
    /// Nodes belong together that need the same tensors of the cut and are joined by other tensors; so two branches
    /// that meet only in a cut are two parts. A part that neither makes a tensor of the cut nor an output, and is read
    /// by one other part only, belongs to that one. Every part is convex: no way out of it leads back.
    ///
    /// Parts exchange the tensors of the cut. Where the cut does not hold apart what it separates, as in the middle of
    /// a block with a skip connection, what else has to cross becomes an edge too, and is told in [`Part::added`]. What
    /// is computed of weights alone is computed in every part that needs it. Inputs of the model that no node needs, and
    /// outputs that no node computes, belong to the first part.
    ///
    /// # Errors
    /// If a name is unknown, given twice, an input, a weight or computed of weights alone, or if no node reads it.
    pub fn parts(&self, cuts: &[String]) -> Result<Vec<Part>, GraphError> {
        let cuts = self.find_all(cuts)?;
        let computed = is_computed(self);
        self.check_cuts(&cuts, &computed)?;
        let partition = Partition::of(self, &cuts, computed);
        let mut parts = Vec::new();
        for (place, group) in partition.groups().into_iter().enumerate() {
            let ends = partition.ends(&group, place == 0);
            let stop: HashSet<_> = ends.inputs.iter().copied().collect();
            let nodes = self.ancestors(&ends.outputs, &stop).nodes;
            let graph = self.extract(&ends.inputs, &ends.outputs, &nodes);
            if cfg!(debug_assertions) {
                graph.verify()?;
            }
            let is_added = |id: &&ValueId| {
                matches!(self.value(**id).origin, ValueOrigin::Node(..)) && !cuts.contains(id)
            };
            let added = ends.inputs.iter().filter(is_added);
            let added = added.map(|&id| self.value(id).name.clone()).collect();
            parts.push(Part { graph, added });
        }
        Ok(parts)
    }

    fn check_cuts(&self, cuts: &[ValueId], computed: &[bool]) -> Result<(), GraphError> {
        let read: HashSet<ValueId> = self
            .nodes
            .iter()
            .flat_map(|node| node.inputs.iter().flatten().copied())
            .collect();
        for &cut in cuts {
            let (path, name) = (self.path.clone(), self.value(cut).name.clone());
            if matches!(self.value(cut).origin, ValueOrigin::Input(_)) {
                return Err(GraphError::CutAtInput { path, name });
            }
            if !computed[cut.0 as usize] {
                return Err(GraphError::CutAtInitializer { path, name });
            }
            if !read.contains(&cut) {
                return Err(GraphError::NothingAfterCut { path, cut: name });
            }
        }
        Ok(())
    }
}

/// Inputs and outputs of a part.
struct Ends {
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
}

struct Partition<'a> {
    graph: &'a Graph,
    cuts: &'a [ValueId],
    computed: Vec<bool>,
    /// Of each node that is computed anew: the root of its part.
    roots: Vec<usize>,
    /// Of each node: how many tensors of the cut it needs.
    depth: Vec<u32>,
}

impl<'a> Partition<'a> {
    fn of(graph: &'a Graph, cuts: &'a [ValueId], computed: Vec<bool>) -> Self {
        let needs = needs(graph, cuts);
        let mut partition = Self {
            graph,
            cuts,
            computed,
            roots: (0..graph.nodes.len()).collect(),
            depth: needs
                .iter()
                .map(|need| need.iter().map(|word| word.count_ones()).sum())
                .collect(),
        };
        for (place, node) in graph.nodes.iter().enumerate() {
            for &id in node.inputs.iter().flatten() {
                if let Some(maker) = partition.maker(id)
                    && !cuts.contains(&id)
                    && needs[maker] == needs[place]
                {
                    partition.join(maker, place);
                }
            }
        }
        partition.join_helpers();
        partition
    }

    /// Returns the node that computes a value anew for every request.
    fn maker(&self, id: ValueId) -> Option<usize> {
        match self.graph.value(id).origin {
            ValueOrigin::Node(NodeId(node), _) if self.computed[id.0 as usize] => {
                Some(node as usize)
            }
            ValueOrigin::Node(..) | ValueOrigin::Input(_) | ValueOrigin::Initializer(_) => None,
        }
    }

    fn root(&mut self, mut node: usize) -> usize {
        while self.roots[node] != node {
            self.roots[node] = self.roots[self.roots[node]];
            node = self.roots[node];
        }
        node
    }

    fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        self.roots[left] = right;
    }

    /// Joins parts that serve one other part only to that. Readers need more of the cut than what they read from, so
    /// they come first.
    fn join_helpers(&mut self) {
        let graph = self.graph;
        let mut readers: HashMap<usize, BTreeSet<usize>> = HashMap::new();
        let mut kept: HashSet<usize> = HashSet::new();
        for id in self.cuts.iter().chain(&graph.outputs) {
            if let Some(maker) = self.maker(*id) {
                kept.insert(self.root(maker));
            }
        }
        for place in 0..graph.nodes.len() {
            for &id in graph.nodes[place].inputs.iter().flatten() {
                if let Some(maker) = self.maker(id) {
                    let (from, to) = (self.root(maker), self.root(place));
                    if from != to {
                        readers.entry(from).or_default().insert(place);
                    }
                }
            }
        }
        let mut helpers: Vec<_> = readers
            .into_iter()
            .filter(|(root, _)| !kept.contains(root))
            .collect();
        helpers.sort_by_key(|(root, _)| (std::cmp::Reverse(self.depth[*root]), *root));
        for (helper, readers) in helpers {
            let parts: BTreeSet<_> = readers.into_iter().map(|node| self.root(node)).collect();
            if let [reader] = Vec::from_iter(parts)[..] {
                self.roots[helper] = reader;
            }
        }
    }

    /// Returns the nodes of each part, parts after those they read from.
    fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
        for (place, node) in self.graph.nodes.iter().enumerate() {
            let outputs = node.outputs.iter().flatten();
            if outputs.clone().any(|id| self.computed[id.0 as usize]) {
                groups
                    .entry(self.final_root(place))
                    .or_default()
                    .push(place);
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        let deepest = |group: &Vec<usize>| group.iter().map(|&node| self.depth[node]).max();
        groups.sort_by_key(|group| (deepest(group), group[0]));
        groups
    }

    fn final_root(&self, mut node: usize) -> usize {
        while self.roots[node] != node {
            node = self.roots[node];
        }
        node
    }

    fn ends(&self, group: &[usize], first: bool) -> Ends {
        let own: HashSet<usize> = group.iter().copied().collect();
        let made = |id: ValueId| self.maker(id).is_some_and(|maker| own.contains(&maker));
        let read: HashSet<ValueId> = self.read_by(|node| own.contains(&node));
        let read_elsewhere = self.read_by(|node| !own.contains(&node));
        let from_parts =
            |id: &ValueId| self.maker(*id).is_some() && !made(*id) && read.contains(id);
        let all = || (0..).map(ValueId).take(self.graph.values.len());
        let uncomputed = |id: &&ValueId| first && self.maker(**id).is_none();

        let mut outputs: Vec<_> = all()
            .filter(|&id| made(id) && read_elsewhere.contains(&id))
            .collect();
        let of_model = self.graph.outputs.iter();
        for &id in of_model.filter(|id| made(**id) || uncomputed(id)) {
            if !outputs.contains(&id) {
                outputs.push(id);
            }
        }
        let unread = |id: &ValueId| first && !read_elsewhere.contains(id);
        let passed = |id: &ValueId| outputs.contains(id);
        let mut inputs = self.graph.inputs.clone();
        inputs.retain(|id| read.contains(id) || unread(id) || passed(id));
        inputs.extend(all().filter(from_parts));
        Ends { inputs, outputs }
    }

    /// Returns what computed nodes read. Nodes over weights alone are copied, so they count with nobody.
    fn read_by(&self, wanted: impl Fn(usize) -> bool) -> HashSet<ValueId> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes
            .filter(|(place, _)| wanted(*place))
            .flat_map(|(_, node)| node.inputs.iter().flatten().copied())
            .collect()
    }
}

/// Returns of each node which tensors of the cut it is computed from, as a set of bits.
fn needs(graph: &Graph, cuts: &[ValueId]) -> Vec<Vec<u64>> {
    let words = cuts.len().div_ceil(64);
    let places: HashMap<ValueId, usize> = cuts.iter().copied().zip(0..).collect();
    let mut needs: Vec<Vec<u64>> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let mut own = vec![0_u64; words];
        for id in node.inputs.iter().flatten() {
            if let ValueOrigin::Node(NodeId(maker), _) = graph.value(*id).origin {
                for (word, other) in own.iter_mut().zip(&needs[maker as usize]) {
                    *word |= other;
                }
            }
            if let Some(place) = places.get(id) {
                own[place / 64] |= 1 << (place % 64);
            }
        }
        needs.push(own);
    }
    needs
}
