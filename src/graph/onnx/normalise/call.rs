//! One use of an ONNX operator, as the rule for it sees it.

use std::sync::Arc;

use crate::types::{DType, Tensor};

use super::super::attributes::{Attributes, wrong};
use super::super::external::Files;
use super::super::graph::{Setting, apply_body, inline_body, read_body};
use super::super::proto::GraphProto;
use crate::graph::build::Builder;
use crate::graph::build::literal;
use crate::graph::infer::Fact;
use crate::graph::{Body, Defect, Fault, Initializer, Op, ValueId};

/// What an ONNX node turns into.
pub(in crate::graph::onnx) enum Form {
    Node(Op, Vec<Option<ValueId>>),
    /// One node for each output, in their order.
    Nodes(Vec<(Op, Vec<Option<ValueId>>)>),
    /// The tensor that it always computes.
    Initializer(Arc<Initializer>),
    /// Nodes that the rule has added already, with the outputs of this one.
    Inlined,
}

pub(in crate::graph::onnx) struct Call<'a> {
    pub(in crate::graph::onnx) node: &'a str,
    /// Version of the default operator set.
    pub(in crate::graph::onnx) opset: i64,
    pub(in crate::graph::onnx) attributes: Attributes<'a>,
    pub(in crate::graph::onnx) inputs: Vec<Option<ValueId>>,
    pub(in crate::graph::onnx) outputs: Vec<Option<String>>,
    /// Tells of each output whether a node or the model's caller reads it.
    pub(in crate::graph::onnx) read: Vec<bool>,
    pub(in crate::graph::onnx) setting: Setting<'a>,
    pub(in crate::graph::onnx) builder: &'a mut Builder,
    pub(in crate::graph::onnx) files: &'a mut Files,
}

impl Call<'_> {
    /// The operator with its inputs as they are.
    pub(super) fn plain(&self, op: Op) -> Result<Form, Fault> {
        Ok(Form::Node(op, self.inputs.clone()))
    }

    pub(super) fn input(&self, input: usize) -> Result<ValueId, Fault> {
        self.inputs
            .get(input)
            .copied()
            .flatten()
            .ok_or(Fault::NoInput { input })
    }

    pub(super) fn has_input(&self, input: usize) -> bool {
        self.inputs.get(input).copied().flatten().is_some()
    }

    /// Checks the number of inputs of an operator that later turns attributes into further ones.
    pub(super) fn at_most_inputs(&self, most: usize) -> Result<(), Fault> {
        match self.inputs.len() {
            seen if seen > most => Err(Fault::InputCount {
                seen,
                expected: format!("at most {most}"),
            }),
            _ => Ok(()),
        }
    }

    /// Drops outputs after the first, which nobody may read.
    pub(super) fn only_first_output(&mut self) -> Result<(), Fault> {
        if let Some(output) = (1..self.outputs.len()).find(|&output| self.read[output]) {
            return Err(Fault::Output { output });
        }
        self.outputs.truncate(1);
        Ok(())
    }

    pub(super) fn rank(&self, input: usize, parameter: &'static str) -> Result<usize, Fault> {
        self.known_rank(input)?
            .ok_or(Fault::UnknownRank { input, parameter })
    }

    pub(super) fn known_rank(&self, input: usize) -> Result<Option<usize>, Fault> {
        Ok(self.builder.fact(self.input(input)?).rank())
    }

    pub(super) fn dtype(&self, input: usize, parameter: &'static str) -> Result<DType, Fault> {
        self.builder.dtype_for(self.input(input)?, input, parameter)
    }

    /// Adds a tensor that was an attribute; `role` is the name of the parameter.
    pub(super) fn literal(
        &mut self,
        role: &str,
        initializer: Option<Arc<Initializer>>,
    ) -> Result<ValueId, Fault> {
        let in_attribute = |defect: Defect| Fault::Tensor {
            attribute: role.to_owned(),
            defect: Box::new(defect),
        };
        let initializer = initializer.ok_or_else(|| wrong(role, "too long", "a short list"))?;
        self.builder
            .add_literal(self.node, role, initializer)
            .map_err(in_attribute)
    }

    pub(super) fn integers(&mut self, role: &str, values: &[i64]) -> Result<ValueId, Fault> {
        self.literal(role, literal::integers(values))
    }

    /// Adds a node before this one.
    pub(super) fn step(
        &mut self,
        role: &str,
        op: Op,
        inputs: Vec<Option<ValueId>>,
    ) -> Result<ValueId, Fault> {
        self.builder.add_step(self.node, role, op, inputs)
    }

    /// Returns an input's tensor if it is part of the model.
    pub(super) fn weight(&self, input: usize) -> Option<&Tensor> {
        let id = self.inputs.get(input).copied().flatten()?;
        self.builder
            .initializer(id)
            .map(|initializer| &initializer.tensor)
    }

    /// Reads the graph of an attribute as one that stands alone, and is given inputs of which `given` is known. Returns also
    /// the values that it takes from around it, which are its further inputs.
    pub(super) fn body(
        &mut self,
        attribute: &str,
        graph: &GraphProto,
        given: &[Fact],
    ) -> Result<(Body, Vec<Option<ValueId>>), Fault> {
        let body = read_body(self.setting, graph, given, self.builder, self.files);
        let (body, captured) = body.map_err(|defect| in_body(attribute, defect))?;
        Ok((Body::new(body), captured.into_iter().map(Some).collect()))
    }

    /// Reads the graph of an attribute in place of the node.
    pub(super) fn inline(&mut self, attribute: &str, graph: &GraphProto) -> Result<Form, Fault> {
        let names = self
            .outputs
            .iter()
            .map(|name| name.clone().unwrap_or_default());
        let names: Vec<_> = names.collect();
        inline_body(
            self.setting,
            graph,
            self.node,
            &names,
            self.builder,
            self.files,
        )
        .map_err(|defect| in_body(attribute, defect))?;
        Ok(Form::Inlined)
    }

    /// Reads the graph of an attribute as what is done to one tensor; returns its only output.
    pub(super) fn apply(
        &mut self,
        attribute: &str,
        graph: &GraphProto,
        tensor: ValueId,
    ) -> Result<ValueId, Fault> {
        let place = format!("{}.{attribute}", self.node);
        apply_body(
            self.setting,
            graph,
            &place,
            tensor,
            self.builder,
            self.files,
        )
        .map_err(|defect| in_body(attribute, defect))
    }

    /// Reads the axes of operators that took them as an attribute before opset `since`, and returns the inputs.
    pub(super) fn axes_input(&mut self, since: i64) -> Result<Vec<Option<ValueId>>, Fault> {
        let mut inputs = self.inputs.clone();
        if self.opset >= since {
            return Ok(inputs);
        }
        self.at_most_inputs(1)?;
        if let Some(axes) = self.attributes.ints("axes")? {
            inputs.push(Some(self.integers("axes", axes)?));
        }
        Ok(inputs)
    }
}

fn in_body(attribute: &str, defect: Defect) -> Fault {
    Fault::Body {
        body: attribute.to_owned(),
        defect: Box::new(defect),
    }
}
