//! Attributes of nodes.

use bytes::Bytes;

use crate::graph::onnx::attributes::kind;
use crate::graph::onnx::proto::{AttributeProto, GraphProto, TensorProto, TypeProto};

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: value,
        ..of(name, kind::INT)
    }
}

/// A size; one that no file can state, as nothing has it, becomes the largest.
pub(super) fn size(name: &str, value: usize) -> AttributeProto {
    int(name, as_int(value))
}

pub(super) fn flag(name: &str, value: bool) -> AttributeProto {
    int(name, value.into())
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: value,
        ..of(name, kind::FLOAT)
    }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Bytes::copy_from_slice(value.as_bytes()),
        ..of(name, kind::STRING)
    }
}

pub(super) fn ints(name: &str, values: impl IntoIterator<Item = i64>) -> AttributeProto {
    AttributeProto {
        ints: values.into_iter().collect(),
        ..of(name, kind::INTS)
    }
}

pub(super) fn floats(name: &str, values: impl IntoIterator<Item = f32>) -> AttributeProto {
    AttributeProto {
        floats: values.into_iter().collect(),
        ..of(name, kind::FLOATS)
    }
}

pub(super) fn texts<'a>(name: &str, values: impl IntoIterator<Item = &'a [u8]>) -> AttributeProto {
    AttributeProto {
        strings: values.into_iter().map(Bytes::copy_from_slice).collect(),
        ..of(name, kind::STRINGS)
    }
}

pub(super) fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto {
        t: Some(value),
        ..of(name, kind::TENSOR)
    }
}

pub(super) fn graph(name: &str, value: GraphProto) -> AttributeProto {
    AttributeProto {
        g: Some(value),
        ..of(name, kind::GRAPH)
    }
}

pub(super) fn of_type(name: &str, value: TypeProto) -> AttributeProto {
    AttributeProto {
        tp: Some(value),
        ..of(name, kind::TYPE)
    }
}

/// A list of sizes; none where the list is empty, which stands for the default.
pub(super) fn sizes(name: &str, values: &[usize]) -> Option<AttributeProto> {
    let values_as_ints = values.iter().copied().map(as_int);
    (!values.is_empty()).then(|| ints(name, values_as_ints))
}

pub(super) fn as_int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn of(name: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind,
        ..AttributeProto::default()
    }
}
