//! What a file declares of tensors.

use crate::graph::onnx::dtype::number;
use crate::graph::onnx::proto::{
    DimensionProto, OptionalTypeProto, SequenceTypeProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, dimension_proto, type_proto,
};
use crate::graph::{Container, Value};
use crate::types::{DType, Dim, ShapeSpec};

/// Returns the declaration of a value; its type is left out where the dtype is not known.
pub(super) fn declaration(value: &Value) -> ValueInfoProto {
    ValueInfoProto {
        name: value.name.clone(),
        r#type: type_of(value),
    }
}

/// Returns a value whose sizes are known or not: without symbols.
pub(super) fn unsymbolic(value: &Value) -> Value {
    let mut value = value.clone();
    let dims = value.shape.iter_mut().flat_map(|shape| &mut shape.0);
    for dim in dims.filter(|dim| dim.fixed().is_none()) {
        *dim = Dim::Any;
    }
    value
}

fn type_of(value: &Value) -> Option<TypeProto> {
    Some(contained(
        value.container,
        value.dtype?,
        value.shape.as_ref().map(shape),
    ))
}

/// Returns the type of a container of tensors.
pub(super) fn contained(
    container: Container,
    dtype: DType,
    shape: Option<TensorShapeProto>,
) -> TypeProto {
    let tensor = of(type_proto::Value::TensorType(TensorTypeProto {
        elem_type: number(dtype),
        shape,
    }));
    match container {
        Container::Tensor => tensor,
        Container::Sequence => sequence(tensor),
        Container::Optional => optional(tensor),
        Container::OptionalSequence => optional(sequence(tensor)),
    }
}

fn of(value: type_proto::Value) -> TypeProto {
    TypeProto { value: Some(value) }
}

fn sequence(of_type: TypeProto) -> TypeProto {
    let elem_type = Some(Box::new(of_type));
    of(type_proto::Value::SequenceType(Box::new(
        SequenceTypeProto { elem_type },
    )))
}

fn optional(of_type: TypeProto) -> TypeProto {
    let elem_type = Some(Box::new(of_type));
    of(type_proto::Value::OptionalType(Box::new(
        OptionalTypeProto { elem_type },
    )))
}

fn shape(shape: &ShapeSpec) -> TensorShapeProto {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(size) => i64::try_from(*size)
            .ok()
            .map(dimension_proto::Value::DimValue),
        Dim::Symbol(name) => Some(dimension_proto::Value::DimParam(name.to_string())),
        Dim::Any => None,
    };
    let dims = shape
        .0
        .iter()
        .map(|size| DimensionProto { value: dim(size) });
    TensorShapeProto {
        dim: dims.collect(),
    }
}
