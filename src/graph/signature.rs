//! The signature of a graph.

use crate::types::{Signature, TensorSpec};

use super::{Container, Graph, GraphError, ValueId};

impl Graph {
    /// Returns names, dtypes and shapes of the inputs and outputs, in order.
    ///
    /// # Errors
    /// If a dtype or a number of dimensions is not known before the model runs.
    pub fn signature(&self) -> Result<Signature, GraphError> {
        let specs = |ids: &[ValueId]| {
            ids.iter()
                .map(|&id| self.spec(id))
                .collect::<Result<_, _>>()
        };
        Ok(Signature {
            inputs: specs(&self.inputs)?,
            outputs: specs(&self.outputs)?,
        })
    }

    fn spec(&self, id: ValueId) -> Result<TensorSpec, GraphError> {
        let value = self.value(id);
        let (path, tensor) = (|| self.path.clone(), || value.name.clone());
        let dtype = value.dtype.ok_or_else(|| GraphError::UnknownDType {
            path: path(),
            tensor: tensor(),
        })?;
        if value.container != Container::Tensor {
            return Err(GraphError::NoTensor {
                path: path(),
                value: tensor(),
            });
        }
        let shape = value.shape.clone();
        let shape = shape.ok_or_else(|| GraphError::UnknownRank {
            path: path(),
            tensor: tensor(),
        })?;
        Ok(TensorSpec::new(&value.name, dtype, shape))
    }
}
