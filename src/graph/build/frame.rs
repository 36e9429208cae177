//! The names that nodes read and define values by, while nodes of a function or branch are read in place of another node.

use std::collections::HashMap;

use crate::graph::ValueId;
use crate::graph::infer::Fact;

/// One level of names. The lowest is that of the graph itself.
#[derive(Debug, Default)]
pub(in crate::graph) struct Frame {
    /// Values by the names they have here; `None` for an argument that the caller of a function left out.
    pub(in crate::graph) names: HashMap<String, Option<ValueId>>,
    /// What the file says of values that nodes compute.
    pub(in crate::graph) declared: HashMap<String, Fact>,
    /// The name that a value has one level below, of those that are outputs of the node replaced.
    pub(in crate::graph) outputs: HashMap<String, String>,
    /// The node replaced.
    pub(in crate::graph) node: String,
    /// Whether what is defined below and around can be read here.
    pub(in crate::graph) sees_outside: bool,
}

impl Frame {
    pub(in crate::graph) fn lowest(declared: HashMap<String, Fact>) -> Self {
        Self {
            declared,
            sees_outside: true,
            ..Self::default()
        }
    }

    /// The nodes of a function, which see its parameters only.
    pub(in crate::graph) fn function(
        node: &str,
        parameters: HashMap<String, Option<ValueId>>,
        inner: &[String],
        outer: &[String],
    ) -> Self {
        Self {
            names: parameters,
            outputs: renamed(inner, outer),
            node: node.to_owned(),
            ..Self::default()
        }
    }

    /// The nodes of a graph that is the attribute of a node.
    pub(in crate::graph) fn branch(
        node: &str,
        declared: HashMap<String, Fact>,
        inner: &[String],
        outer: &[String],
    ) -> Self {
        Self {
            declared,
            outputs: renamed(inner, outer),
            node: node.to_owned(),
            sees_outside: true,
            ..Self::default()
        }
    }
}

fn renamed(inner: &[String], outer: &[String]) -> HashMap<String, String> {
    let pairs = inner.iter().zip(outer);
    let wanted = pairs.filter(|(_, outer)| !outer.is_empty());
    wanted
        .map(|(inner, outer)| (inner.clone(), outer.clone()))
        .collect()
}
