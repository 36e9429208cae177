//! Typed access to the attributes of one node.
//!
//! Every attribute has to be read by the rule for the operator: one that is left over would change what the operator
//! means without anybody knowing, so it is an error.

use std::cell::RefCell;

use bytes::Bytes;

use super::proto::{AttributeProto, GraphProto, NodeProto, TypeProto};
use crate::graph::Fault;

pub(super) struct Attributes<'a> {
    all: &'a [AttributeProto],
    read: RefCell<Vec<bool>>,
}

/// Numbers of the attribute types that occur.
pub(super) mod kind {
    pub(in crate::graph::onnx) const FLOAT: i32 = 1;
    pub(in crate::graph::onnx) const INT: i32 = 2;
    pub(in crate::graph::onnx) const STRING: i32 = 3;
    pub(in crate::graph::onnx) const TENSOR: i32 = 4;
    pub(in crate::graph::onnx) const GRAPH: i32 = 5;
    pub(in crate::graph::onnx) const FLOATS: i32 = 6;
    pub(in crate::graph::onnx) const INTS: i32 = 7;
    pub(in crate::graph::onnx) const STRINGS: i32 = 8;
    pub(in crate::graph::onnx) const TYPE: i32 = 13;
}

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a NodeProto) -> Self {
        Self {
            all: &node.attribute,
            read: RefCell::new(vec![false; node.attribute.len()]),
        }
    }

    /// Finds an attribute. Very old writers leave the type out, so 0 passes.
    fn find(
        &self,
        name: &str,
        kind: i32,
        expected: &str,
    ) -> Result<Option<&'a AttributeProto>, Fault> {
        let Some(place) = self.all.iter().position(|attribute| attribute.name == name) else {
            return Ok(None);
        };
        self.read.borrow_mut()[place] = true;
        let attribute = &self.all[place];
        if !attribute.ref_attr_name.is_empty() {
            let seen = format!(
                "that of {:?}, outside of a function",
                attribute.ref_attr_name
            );
            return Err(wrong(name, seen, expected));
        }
        if attribute.r#type == kind || attribute.r#type == 0 {
            return Ok(Some(attribute));
        }
        Err(Fault::Attribute {
            attribute: name.to_owned(),
            seen: show(attribute),
            expected: expected.to_owned(),
        })
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self
            .find(name, kind::INT, "an integer")?
            .map(|attribute| attribute.i))
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> Result<i64, Fault> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Fault> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(seen) => Err(wrong(name, seen, "0 or 1")),
        }
    }

    /// Checks that an attribute, if there, has the only value that is supported.
    pub(super) fn only(&self, name: &str, supported: i64, default: i64) -> Result<(), Fault> {
        match self.int_or(name, default)? {
            seen if seen == supported => Ok(()),
            seen => Err(wrong(name, seen, &supported.to_string())),
        }
    }

    pub(super) fn float_or(&self, name: &str, default: f32) -> Result<f32, Fault> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Fault> {
        Ok(self
            .find(name, kind::FLOAT, "a number")?
            .map(|attribute| attribute.f))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, Fault> {
        Ok(self
            .find(name, kind::INTS, "a list of integers")?
            .map(|attribute| attribute.ints.as_slice()))
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, Fault> {
        Ok(self
            .find(name, kind::FLOATS, "a list of numbers")?
            .map(|attribute| attribute.floats.as_slice()))
    }

    /// Returns a list of sizes, empty if there is none.
    pub(super) fn sizes(&self, name: &str) -> Result<Vec<usize>, Fault> {
        let values = self.ints(name)?.unwrap_or_default();
        let sizes = values
            .iter()
            .map(|&value| usize::try_from(value))
            .collect::<Result<_, _>>();
        sizes.map_err(|_| wrong(name, format!("{values:?}"), "sizes of at least 0"))
    }

    /// Returns a size.
    pub(super) fn size(&self, name: &str) -> Result<Option<usize>, Fault> {
        let size = self.int(name)?;
        let size = size.map(|size| {
            usize::try_from(size).map_err(|_| wrong(name, size, "a size of at least 0"))
        });
        size.transpose()
    }

    /// Returns a text; one that is no UTF-8 is shown as far as it is.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        let attribute = self.find(name, kind::STRING, "a text")?;
        Ok(attribute.map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned()))
    }

    /// Returns a list of texts; what is no UTF-8 in one is shown as far as it is.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        let attribute = self.find(name, kind::STRINGS, "a list of texts")?;
        let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(attribute.map(|attribute| attribute.strings.iter().map(text).collect()))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<&'a [u8]>, Fault> {
        let attribute = self.find(name, kind::STRING, "a text")?;
        Ok(attribute.map(|attribute| &*attribute.s))
    }

    pub(super) fn byte_strings(&self, name: &str) -> Result<Option<&'a [Bytes]>, Fault> {
        let attribute = self.find(name, kind::STRINGS, "a list of texts")?;
        Ok(attribute.map(|attribute| attribute.strings.as_slice()))
    }

    pub(super) fn tensor(
        &self,
        name: &str,
    ) -> Result<Option<&'a super::proto::TensorProto>, Fault> {
        match self.find(name, kind::TENSOR, "a tensor")? {
            Some(AttributeProto {
                t: Some(tensor), ..
            }) => Ok(Some(tensor)),
            Some(_) => Err(wrong(name, "empty", "a tensor")),
            None => Ok(None),
        }
    }

    /// Tells whether an attribute is there, without reading it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all.iter().any(|attribute| attribute.name == name)
    }

    pub(super) fn graph(&self, name: &str) -> Result<&'a GraphProto, Fault> {
        match self.find(name, kind::GRAPH, "a graph")? {
            Some(AttributeProto { g: Some(graph), .. }) => Ok(graph),
            Some(_) => Err(wrong(name, "empty", "a graph")),
            None => Err(Fault::NoAttribute {
                attribute: name.to_owned(),
                expected: "a graph",
            }),
        }
    }

    pub(super) fn of_type(&self, name: &str) -> Result<Option<&'a TypeProto>, Fault> {
        let attribute = self.find(name, kind::TYPE, "a type")?;
        Ok(attribute.and_then(|attribute| attribute.tp.as_ref()))
    }

    /// Marks attributes as read that change nothing here.
    pub(super) fn ignore(&self, names: &[&str]) {
        for (attribute, read) in self.all.iter().zip(self.read.borrow_mut().iter_mut()) {
            *read |= names.contains(&attribute.name.as_str());
        }
    }

    /// Checks that no attribute was left over.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        match self
            .all
            .iter()
            .zip(self.read.borrow().iter())
            .find(|(_, read)| !**read)
        {
            None => Ok(()),
            Some((attribute, _)) => Err(Fault::UnknownAttribute {
                attribute: attribute.name.clone(),
                seen: show(attribute),
            }),
        }
    }
}

pub(super) fn wrong(attribute: &str, seen: impl std::fmt::Display, expected: &str) -> Fault {
    Fault::Attribute {
        attribute: attribute.to_owned(),
        seen: seen.to_string(),
        expected: expected.to_owned(),
    }
}

/// Writes a value for a message, at most a few elements of it.
fn show(attribute: &AttributeProto) -> String {
    const SHOWN: usize = 8;
    match attribute.r#type {
        kind::FLOAT => attribute.f.to_string(),
        kind::INT => attribute.i.to_string(),
        kind::STRING => format!(
            "{:?}",
            String::from_utf8_lossy(&attribute.s[..attribute.s.len().min(64)])
        ),
        kind::TENSOR => "a tensor".to_owned(),
        kind::GRAPH => "a graph".to_owned(),
        kind::FLOATS => format!(
            "{:?}",
            &attribute.floats[..attribute.floats.len().min(SHOWN)]
        ),
        kind::INTS => format!("{:?}", &attribute.ints[..attribute.ints.len().min(SHOWN)]),
        other => format!("of ONNX attribute type {other}"),
    }
}
