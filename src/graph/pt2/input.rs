//! Inputs of a graph: parameters, buffers and constants of the module that was exported, and what its caller gives.

use std::collections::HashMap;

use super::archive::Archive;
use super::schema::{Argument, InputSpec, Name, SymIntArgument};
use super::weights::Weights;
use crate::graph::Defect;
use crate::graph::build::Builder;
use crate::graph::infer::Fact;
use crate::types::Dim;

/// What inputs are read from.
pub(super) struct Inputs<'a> {
    pub(super) archive: &'a Archive,
    pub(super) weights: &'a Weights,
    /// What the file says of each tensor.
    pub(super) declared: &'a HashMap<String, Fact>,
    /// How often each tensor is read.
    pub(super) reads: &'a HashMap<&'a str, usize>,
}

impl Inputs<'_> {
    /// Adds an input of the graph: a weight if somebody reads it, or an input of the model.
    pub(super) fn add(&self, spec: &InputSpec, builder: &mut Builder) -> Result<(), Defect> {
        let (argument, name) = match spec {
            InputSpec::UserInput { arg } => return self.user_input(arg, builder),
            InputSpec::Parameter {
                arg,
                parameter_name,
            } => (arg, parameter_name),
            InputSpec::Buffer { arg, buffer_name } => (arg, buffer_name),
            InputSpec::TensorConstant {
                arg,
                tensor_constant_name,
            } => (arg, tensor_constant_name),
            InputSpec::ConstantInput(_) => return Ok(()),
            InputSpec::CustomObj { custom_obj_name } => {
                return Err(Defect::NotTensor {
                    place: format!("constant {custom_obj_name:?}"),
                    seen: "an object of Python".to_owned(),
                });
            }
            InputSpec::Token(_) => {
                return Err(Defect::NotTensor {
                    place: "an input".to_owned(),
                    seen: "the token of an effect".to_owned(),
                });
            }
        };
        if !self.reads.contains_key(argument.name.as_str()) {
            return Ok(());
        }
        let weight = self.weights.read(self.archive, name)?;
        if let Some(Fact {
            dtype: Some(declared),
            shape: Some(shape),
            ..
        }) = self.declared.get(&argument.name)
        {
            let seen = &weight.tensor;
            let fits = seen.dtype() == *declared
                && shape.concrete().is_some_and(|shape| shape == seen.shape());
            if !fits {
                return Err(Defect::Payload {
                    tensor: name.clone(),
                    seen: format!("{} of shape {:?}", seen.dtype(), seen.shape()),
                    expected: "the datatype and shape that the graph has it with",
                });
            }
        }
        builder.add_initializer(&argument.name, weight).map(|_| ())
    }

    fn user_input(&self, argument: &Argument, builder: &mut Builder) -> Result<(), Defect> {
        let name = match argument {
            Argument::Tensor(Name { name }) => name,
            Argument::None(_) => return Ok(()),
            Argument::SymInt(SymIntArgument::Name(name)) => {
                return Err(Defect::NotTensor {
                    place: format!("input {name:?}"),
                    seen: "a number of Python".to_owned(),
                });
            }
            _ => {
                return Err(Defect::NotTensor {
                    place: "an input".to_owned(),
                    seen: "a value of Python".to_owned(),
                });
            }
        };
        let unknown = || Defect::Undeclared {
            tensor: name.clone(),
        };
        let mut fact = self.declared.get(name).cloned().ok_or_else(unknown)?;
        if fact.dtype.is_none() {
            return Err(unknown());
        }
        let dims = fact
            .shape
            .iter_mut()
            .flat_map(|shape| shape.0.iter_mut().enumerate());
        for (place, dim) in dims {
            if *dim == Dim::Any {
                *dim = Dim::symbol(&format!("{name}_dim_{place}"));
            }
        }
        builder.add_input(name, fact)
    }
}
