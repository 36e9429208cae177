//! Typed access to the attributes of one node.
//!
//! Every attribute has to be read by the rule for the operator: one that is left over would change what the operator
//! means without anybody knowing, so it is an error.

use std::cell::RefCell;

use super::proto::{AttributeProto, NodeProto};
use crate::graph::Fault;

pub(super) struct Attributes<'a> {
    all: &'a [AttributeProto],
    read: RefCell<Vec<bool>>,
}

/// Numbers of the attribute types that occur.
mod kind {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const INT: i32 = 2;
    pub(super) const STRING: i32 = 3;
    pub(super) const TENSOR: i32 = 4;
    pub(super) const FLOATS: i32 = 6;
    pub(super) const INTS: i32 = 7;
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

    /// Returns a text; one that is no UTF-8 is shown as far as it is.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        let attribute = self.find(name, kind::STRING, "a text")?;
        Ok(attribute.map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned()))
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
        kind::FLOATS => format!(
            "{:?}",
            &attribute.floats[..attribute.floats.len().min(SHOWN)]
        ),
        kind::INTS => format!("{:?}", &attribute.ints[..attribute.ints.len().min(SHOWN)]),
        other => format!("of ONNX attribute type {other}"),
    }
}
