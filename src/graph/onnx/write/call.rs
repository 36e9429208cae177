//! One node, as the rule that writes its operator sees it.

use crate::graph::onnx::proto::{AttributeProto, NodeProto, TensorProto};
use crate::graph::{Graph, GraphError, Initializer, Node, ValueOrigin};
use crate::types::DType;

use super::attribute::tensor;
use super::scope::Scope;

/// The nodes that do the work of one, in topological order. An error says that its operator has no ONNX form.
pub(super) type Written = Result<Vec<NodeProto>, GraphError>;

/// The domain of the operators of classical machine learning.
pub(super) const CLASSICAL: &str = "ai.onnx.ml";

pub(super) struct Call<'a, 'scope> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    /// Names, empty for what is absent.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) scope: &'scope mut Scope<'a>,
    /// Nodes before the last one.
    pub(super) steps: Vec<NodeProto>,
}

impl<'a> Call<'a, '_> {
    /// Writes the operator under its own name, with inputs and outputs as they are.
    pub(super) fn plain(&mut self, attributes: Vec<AttributeProto>) -> Written {
        self.under("", self.node.op.name(), attributes)
    }

    /// As [`Call::plain`], under the name of a domain.
    pub(super) fn under(
        &mut self,
        domain: &str,
        operator: &str,
        attribute: Vec<AttributeProto>,
    ) -> Written {
        let mut inputs = std::mem::take(&mut self.inputs);
        while inputs.last().is_some_and(String::is_empty) {
            inputs.pop();
        }
        self.finish(NodeProto {
            domain: domain.to_owned(),
            op_type: operator.to_owned(),
            input: inputs,
            attribute,
            ..NodeProto::default()
        })
    }

    /// Ends with a node that gives the first output.
    pub(super) fn last(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Written {
        self.finish(node(operator, inputs, attributes))
    }

    fn finish(&mut self, last: NodeProto) -> Written {
        let mut nodes = std::mem::take(&mut self.steps);
        nodes.push(NodeProto {
            name: self.scope.node_name(&self.node.name),
            output: std::mem::take(&mut self.outputs),
            ..last
        });
        Ok(nodes)
    }

    /// Adds a node before the last one, and returns the name of its output.
    pub(super) fn step(
        &mut self,
        role: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let output = self.scope.fresh(&self.node.name, role);
        self.steps.push(NodeProto {
            name: self.scope.node_name(&output),
            output: vec![output.clone()],
            ..node(operator, inputs, attributes)
        });
        output
    }

    /// Adds a tensor, and returns its name.
    pub(super) fn constant(&mut self, role: &str, value: TensorProto) -> String {
        self.step(role, "Constant", &[], vec![tensor("value", value)])
    }

    pub(super) fn has_input(&self, input: usize) -> bool {
        self.node.inputs.get(input).copied().flatten().is_some()
    }

    /// Returns an input that is part of the model.
    pub(super) fn weight(&self, input: usize) -> Option<&'a Initializer> {
        let id = self.node.inputs.get(input).copied().flatten()?;
        match &self.graph.value(id).origin {
            ValueOrigin::Initializer(initializer) => Some(initializer),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        }
    }

    pub(super) fn dtype(&self, input: usize) -> Option<DType> {
        let id = self.node.inputs.get(input).copied().flatten()?;
        self.graph.value(id).dtype
    }

    /// Says that ONNX has nothing for the operator as it is used here.
    pub(super) fn refused(&self) -> GraphError {
        let output = self.node.outputs.iter().flatten().next();
        let output = output.map(|&id| self.graph.value(id).name.clone());
        GraphError::Unwritable {
            path: self.graph.path.clone(),
            node: match self.node.name.as_str() {
                "" => output.unwrap_or_default(),
                name => name.to_owned(),
            },
            operator: self.node.op.name(),
        }
    }
}

fn node(operator: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        attribute,
        ..NodeProto::default()
    }
}
