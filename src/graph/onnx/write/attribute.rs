//! Attributes of nodes.

use bytes::Bytes;

use crate::graph::onnx::attributes::kind;
use crate::graph::onnx::proto::{AttributeProto, TensorProto};

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: value,
        ..of(name, kind::INT)
    }
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

pub(super) fn text(name: &str, value: &'static str) -> AttributeProto {
    AttributeProto {
        s: Bytes::from_static(value.as_bytes()),
        ..of(name, kind::STRING)
    }
}

pub(super) fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto {
        t: Some(value),
        ..of(name, kind::TENSOR)
    }
}

/// A list of sizes; none where the list is empty, which stands for the default.
pub(super) fn sizes(name: &str, values: &[usize]) -> Option<AttributeProto> {
    let ints = values
        .iter()
        .map(|&value| i64::try_from(value).unwrap_or(i64::MAX));
    (!values.is_empty()).then(|| AttributeProto {
        ints: ints.collect(),
        ..of(name, kind::INTS)
    })
}

fn of(name: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: kind,
        ..AttributeProto::default()
    }
}
