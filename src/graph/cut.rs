//! Cuts a segment out of a graph, by the names of the tensors at its ends.

use std::collections::{HashMap, HashSet};

use crate::types::nearest;

use super::{Graph, GraphError, ValueId, ValueOrigin};

impl Graph {
    /// Returns the sub-graph that computes `outputs` from `inputs`.
    ///
    /// Both are names of tensors, in the order that the segment's signature will have. Without `outputs` they are
    /// those of the graph; without `inputs`, those of the graph that are needed. A tensor may be input and output at
    /// once, and then passes through. The segment holds only the nodes and weights that it needs, and shares the
    /// memory of the weights.
    ///
    /// # Errors
    /// If a name is unknown, given twice or that of a weight, if an output needs an input that is not given, or if no
    /// output needs an input that is.
    pub fn segment(
        &self,
        inputs: Option<&[String]>,
        outputs: Option<&[String]>,
    ) -> Result<Self, GraphError> {
        let outputs = match outputs {
            Some([]) => {
                return Err(GraphError::NoOutputs {
                    path: self.path.clone(),
                });
            }
            Some(names) => self.find_all(names)?,
            None => self.outputs.clone(),
        };
        let given = inputs.map(|names| self.find_all(names)).transpose()?;
        let stop: HashSet<_> = given.iter().flatten().copied().collect();
        let ancestors = self.ancestors(&outputs, &stop);
        let inputs = match given {
            None => self
                .inputs
                .iter()
                .copied()
                .filter(|id| ancestors.sources.contains_key(id))
                .collect::<Vec<_>>(),
            Some(given) => {
                self.check_sources(&given, &outputs, &ancestors.sources)?;
                given
            }
        };
        let segment = self.extract(&inputs, &outputs, &ancestors.nodes);
        if cfg!(debug_assertions) {
            segment.verify()?;
        }
        Ok(segment)
    }

    fn check_sources(
        &self,
        given: &[ValueId],
        outputs: &[ValueId],
        sources: &HashMap<ValueId, ValueId>,
    ) -> Result<(), GraphError> {
        // The first input of the graph, so that the message does not depend on chance.
        let missing = self
            .inputs
            .iter()
            .find(|id| sources.contains_key(id) && !given.contains(id));
        if let Some(missing) = missing {
            return Err(GraphError::MissingInput {
                path: self.path.clone(),
                output: self.value(sources[missing]).name.clone(),
                inputs: self.names(given),
                missing: self.value(*missing).name.clone(),
            });
        }
        match given.iter().find(|id| !sources.contains_key(id)) {
            Some(&unused) => Err(GraphError::UnusedInput {
                path: self.path.clone(),
                input: self.value(unused).name.clone(),
                outputs: self.names(outputs),
            }),
            None => Ok(()),
        }
    }

    /// Returns the values of distinct names, none of them a weight.
    pub(super) fn find_all(&self, names: &[String]) -> Result<Vec<ValueId>, GraphError> {
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let id = self.find_computed(name)?;
            if found.contains(&id) {
                return Err(GraphError::RepeatedTensor {
                    path: self.path.clone(),
                    name: name.clone(),
                });
            }
            found.push(id);
        }
        Ok(found)
    }

    fn find_computed(&self, name: &str) -> Result<ValueId, GraphError> {
        let weight = |id: &ValueId| matches!(self.value(*id).origin, ValueOrigin::Initializer(_));
        match self.find(name) {
            // A weight that is an output of the model may be asked for.
            Some(id) if weight(&id) && !self.outputs.contains(&id) => {
                Err(GraphError::CutAtInitializer {
                    path: self.path.clone(),
                    name: name.to_owned(),
                })
            }
            Some(id) => Ok(id),
            None => {
                let computed = self
                    .values
                    .iter()
                    .filter(|value| !matches!(value.origin, ValueOrigin::Initializer(_)));
                let near = nearest(name, computed.map(|value| value.name.as_str()));
                Err(GraphError::UnknownTensor {
                    path: self.path.clone(),
                    name: name.to_owned(),
                    near: near.map(str::to_owned),
                })
            }
        }
    }

    fn names(&self, ids: &[ValueId]) -> Vec<String> {
        ids.iter().map(|&id| self.value(id).name.clone()).collect()
    }
}
