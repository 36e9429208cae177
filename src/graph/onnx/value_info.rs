//! What a file declares of its tensors.

use crate::types::{Dim, RANK_MAX, ShapeSpec};

use super::dtype::{dtype, from_number};
use super::proto::{TensorTypeProto, TypeProto, ValueInfoProto, dimension_proto, type_proto};
use crate::graph::infer::Fact;
use crate::graph::{Container, Defect};

/// Reads the declaration of an input. A dimension without a size or name gets a name of its own.
pub(super) fn input(info: &ValueInfoProto) -> Result<Fact, Defect> {
    let Some((container, declared)) = contained(info) else {
        return Ok(Fact::default());
    };
    let dtype = dtype(declared.elem_type, &info.name)?;
    let mut shape = shape(declared, &info.name)?;
    if container != Container::Tensor {
        return Ok(Fact::new(Some(dtype), shape).within(container));
    }
    for (place, dim) in shape
        .iter_mut()
        .flat_map(|shape| shape.0.iter_mut().enumerate())
    {
        if *dim == Dim::Any {
            *dim = Dim::symbol(&format!("{}_dim_{place}", info.name));
        }
    }
    Ok(Fact::new(Some(dtype), shape))
}

/// Reads the declaration of a tensor that nodes compute; an element type that is not supported counts as unknown.
pub(super) fn computed(info: &ValueInfoProto) -> Result<Fact, Defect> {
    let Some((container, declared)) = contained(info) else {
        return Ok(Fact::default());
    };
    let dtype = from_number(declared.elem_type);
    Ok(Fact::new(dtype, shape(declared, &info.name)?).within(container))
}

/// As [`computed`], inside of a graph that may run several times: symbols may stand for another size each time.
pub(super) fn inside(info: &ValueInfoProto) -> Result<Fact, Defect> {
    let mut fact = computed(info)?;
    let dims = fact.shape.iter_mut().flat_map(|shape| &mut shape.0);
    for dim in dims.filter(|dim| dim.fixed().is_none()) {
        *dim = Dim::Any;
    }
    Ok(fact)
}

/// Reads the declaration of the input of a graph that an operator runs, of which `given` is known otherwise.
pub(super) fn argument(info: &ValueInfoProto, given: &Fact) -> Result<Fact, Defect> {
    let declared = inside(info)?;
    let mut fact = given.clone();
    match (fact.dtype, declared.dtype) {
        (Some(inferred), Some(declared)) if inferred != declared => {
            return Err(Defect::DeclaredDType {
                tensor: info.name.clone(),
                declared,
                inferred,
            });
        }
        (None, declared) => fact.dtype = declared,
        _ => {}
    }
    if fact.shape.is_none() {
        fact.shape = declared.shape;
    }
    Ok(fact)
}

fn contained(info: &ValueInfoProto) -> Option<(Container, &TensorTypeProto)> {
    within(info.r#type.as_ref()?)
}

/// Returns what holds the tensors of a type, and theirs. Deeper nesting than the specification knows is none.
pub(super) fn within(kind: &TypeProto) -> Option<(Container, &TensorTypeProto)> {
    use type_proto::Value::{OptionalType, SequenceType, TensorType};
    match kind.value.as_ref()? {
        TensorType(tensor) => Some((Container::Tensor, tensor)),
        SequenceType(sequence) => match inner(&sequence.elem_type)? {
            TensorType(tensor) => Some((Container::Sequence, tensor)),
            _ => None,
        },
        OptionalType(optional) => match inner(&optional.elem_type)? {
            TensorType(tensor) => Some((Container::Optional, tensor)),
            SequenceType(sequence) => match inner(&sequence.elem_type)? {
                TensorType(tensor) => Some((Container::OptionalSequence, tensor)),
                _ => None,
            },
            OptionalType(_) => None,
        },
    }
}

fn inner(of: &Option<Box<TypeProto>>) -> Option<&type_proto::Value> {
    of.as_ref()?.value.as_ref()
}

fn shape(declared: &TensorTypeProto, tensor: &str) -> Result<Option<ShapeSpec>, Defect> {
    let Some(shape) = &declared.shape else {
        return Ok(None);
    };
    if shape.dim.len() > RANK_MAX {
        return Err(Defect::Rank {
            tensor: tensor.to_owned(),
            seen: shape.dim.len(),
            most: RANK_MAX,
        });
    }
    let dim = |dim: &super::proto::DimensionProto| match &dim.value {
        Some(dimension_proto::Value::DimParam(name)) if !name.is_empty() => Dim::symbol(name),
        // Some writers mean "any size" by −1.
        Some(dimension_proto::Value::DimValue(size)) => {
            usize::try_from(*size).map_or(Dim::Any, Dim::Fixed)
        }
        _ => Dim::Any,
    };
    Ok(Some(ShapeSpec(shape.dim.iter().map(dim).collect())))
}
