//! The `parameters` objects of a request: what is known is typed, what is unknown is ignored.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer};
use serde_json::value::RawValue;

use super::rejection::Rejection;

/// A JSON object and nothing else: derived code would also take an array of the fields' values.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

/// Parameters of a whole request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestParameters {
    /// Microseconds.
    timeout: Option<u64>,
    pub(super) binary_data_output: Option<bool>,
    sequence_id: Option<Sequence>,
    sequence_start: Option<bool>,
    sequence_end: Option<bool>,
}

/// A sequence is named by a number or a text; 0 and the empty text name none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Sequence {
    Number(u64),
    Text(String),
}

/// Parameters of one input.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InputParameters {
    pub(super) binary_data_size: Option<u64>,
    shared_memory_region: Option<IgnoredAny>,
}

/// Parameters of one requested output.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutputParameters {
    pub(super) binary_data: Option<bool>,
    classification: Option<IgnoredAny>,
    shared_memory_region: Option<IgnoredAny>,
}

impl RequestParameters {
    pub(super) fn parse(raw: Option<&RawValue>) -> Result<Self, Rejection> {
        let place = || "the request".to_owned();
        let parameters: Self = parse(raw, place)?;
        let named = match &parameters.sequence_id {
            Some(Sequence::Number(number)) => *number != 0,
            Some(Sequence::Text(text)) => !text.is_empty(),
            None => false,
        };
        let flagged = [parameters.sequence_start, parameters.sequence_end].contains(&Some(true));
        refuse(named || flagged, place, "sequence")?;
        Ok(parameters)
    }

    /// Returns the deadline the client asked for.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.timeout
            .filter(|&timeout| timeout > 0)
            .map(Duration::from_micros)
    }
}

impl InputParameters {
    pub(super) fn parse(raw: Option<&RawValue>, input: &str) -> Result<Self, Rejection> {
        let place = || format!("input {input:?}");
        let parameters: Self = parse(raw, place)?;
        refuse(
            parameters.shared_memory_region.is_some(),
            place,
            "shared_memory_region",
        )?;
        Ok(parameters)
    }
}

impl OutputParameters {
    pub(super) fn parse(raw: Option<&RawValue>, output: &str) -> Result<Self, Rejection> {
        let place = || format!("output {output:?}");
        let parameters: Self = parse(raw, place)?;
        refuse(parameters.classification.is_some(), place, "classification")?;
        refuse(
            parameters.shared_memory_region.is_some(),
            place,
            "shared_memory_region",
        )?;
        Ok(parameters)
    }
}

fn refuse(asked: bool, place: impl Fn() -> String, what: &'static str) -> Result<(), Rejection> {
    if asked {
        Err(Rejection::Unsupported {
            place: place(),
            what,
        })
    } else {
        Ok(())
    }
}

fn parse<'a, T: Default + Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    place: impl Fn() -> String,
) -> Result<T, Rejection> {
    let Some(raw) = raw else {
        return Ok(T::default());
    };
    serde_json::from_str::<Object<T>>(raw.get())
        .map(|object| object.0)
        .map_err(|cause| Rejection::Parameters {
            place: place(),
            cause: without_position(&cause),
        })
}

/// Returns what is wrong without the line and column, which count from the start of a fragment the client cannot see.
pub(super) fn without_position(cause: &serde_json::Error) -> String {
    let text = cause.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(std::marker::PhantomData))
    }
}

struct ObjectVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}
