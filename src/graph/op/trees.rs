//! Decision trees.

use std::ops::Range;

/// Trees that vote. Input: rows of features. Output: a row of targets for each.
///
/// Invariants: branches lead to nodes and leaves that exist, and no node is reached twice.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeEnsemble {
    pub nodes: Vec<Split>,
    pub leaves: Vec<Leaf>,
    pub roots: Vec<Branch>,
    pub targets: usize,
    pub aggregate: Aggregate,
    /// Added to each row; empty, or one number for each target.
    pub base: Vec<f64>,
}

/// A node that asks about one feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    pub feature: usize,
    pub test: Test,
    /// Where a feature that is not a number leads.
    pub missing_is_true: bool,
    pub on_true: Branch,
    pub on_false: Branch,
}

/// What is asked about a feature.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    LessOrEqual(f64),
    Less(f64),
    GreaterOrEqual(f64),
    Greater(f64),
    Equal(f64),
    NotEqual(f64),
    Member(Vec<f64>),
}

/// Where a way through a tree goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Branch {
    Node(usize),
    /// It ends, and gives these leaves.
    Leaves(Range<usize>),
}

/// A contribution to one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leaf {
    pub target: usize,
    pub weight: f64,
}

/// How the contributions of trees to a target are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    Average,
    Sum,
    Min,
    Max,
}

impl Test {
    /// Answers for a feature that is a number.
    pub fn holds(&self, feature: f64) -> bool {
        match self {
            Self::LessOrEqual(bound) => feature <= *bound,
            Self::Less(bound) => feature < *bound,
            Self::GreaterOrEqual(bound) => feature >= *bound,
            Self::Greater(bound) => feature > *bound,
            Self::Equal(value) => feature == *value,
            Self::NotEqual(value) => feature != *value,
            Self::Member(values) => values.contains(&feature),
        }
    }
}

impl TreeEnsemble {
    /// Tells whether the invariants hold, and every leaf has one of the targets.
    pub fn is_sound(&self) -> bool {
        let mut reached = vec![false; self.nodes.len()];
        let mut open: Vec<&Branch> = self.roots.iter().collect();
        while let Some(branch) = open.pop() {
            match branch {
                Branch::Leaves(leaves) if leaves.end > self.leaves.len() => return false,
                Branch::Leaves(_) => {}
                Branch::Node(node) => match (self.nodes.get(*node), reached.get_mut(*node)) {
                    (Some(split), Some(reached)) if !*reached => {
                        *reached = true;
                        open.extend([&split.on_true, &split.on_false]);
                    }
                    _ => return false,
                },
            }
        }
        let in_range = |leaf: &Leaf| leaf.target < self.targets;
        (self.base.is_empty() || self.base.len() == self.targets)
            && self.leaves.iter().all(in_range)
    }

    /// Tells whether every way through a tree asks something, and ends in one leaf.
    pub fn votes_once(&self) -> bool {
        let single = |branch: &Branch| match branch {
            Branch::Node(_) => true,
            Branch::Leaves(leaves) => leaves.len() == 1,
        };
        let asks = |root: &Branch| matches!(root, Branch::Node(_));
        self.roots.iter().all(asks)
            && self
                .nodes
                .iter()
                .all(|node| single(&node.on_true) && single(&node.on_false))
    }

    /// Returns how many features a row has to have.
    pub fn features(&self) -> usize {
        let features = self.nodes.iter().map(|node| node.feature.saturating_add(1));
        features.max().unwrap_or(0)
    }
}
