//! The JSON of an archive, found and decoded.

use serde::de::DeserializeOwned;

use super::archive::Archive;
use super::schema::{ExportedProgram, GraphSignature, OutputSpec, Versioned};
use crate::graph::Defect;

/// The major version of the schema that is read; the minor ones add what can be ignored.
const MAJOR: i64 = 8;

/// A graph has at most this many bytes, which bounds the memory it takes.
const BYTES_MAX: usize = 1 << 28;

const MODELS: &str = "models/";
const JSON: &str = ".json";

/// What other files with the same ending hold, told by an entry that they all have.
const OTHERS: [(&str, &str); 4] = [
    (
        "serialized_exported_program.json",
        "it was saved by PyTorch before 2.8, export and save it with a newer one",
    ),
    ("constants.pkl", "it is TorchScript, whose ending is .pt"),
    (
        "data.pkl",
        "it holds pickled tensors and no program, save one with torch.export.save",
    ),
    (
        "data/aotinductor/model",
        "it holds compiled code only, save the program with torch.export.save",
    ),
];

/// Returns the name of the only model of an archive, and its program.
pub(super) fn read(archive: &Archive) -> Result<(String, ExportedProgram), Defect> {
    let mut models: Vec<&str> = archive
        .names()
        .filter_map(|name| name.strip_prefix(MODELS)?.strip_suffix(JSON))
        .collect();
    models.sort_unstable();
    let model = match models.as_slice() {
        [model] => *model,
        [] => {
            let known = OTHERS.iter().find(|(entry, _)| {
                archive.has(entry)
                    || archive
                        .names()
                        .any(|name| name.starts_with(&format!("{entry}/")))
            });
            let hint = known.map_or("expected an archive of torch.export.save", |(_, hint)| {
                *hint
            });
            return Err(Defect::NoProgram { hint });
        }
        several => {
            return Err(Defect::Programs {
                models: several.iter().map(ToString::to_string).collect(),
            });
        }
    };
    if archive.has("byteorder") && archive.content("byteorder")?.as_ref() != b"little" {
        return Err(Defect::Entry {
            entry: "byteorder".to_owned(),
            seen: "not \"little\"".to_owned(),
            expected: "weights of that order",
        });
    }
    let entry = format!("{MODELS}{model}{JSON}");
    let content = archive.content(&entry)?;
    if content.len() > BYTES_MAX {
        return Err(Defect::Entry {
            entry,
            seen: format!("{} bytes long", content.len()),
            expected: "at most 256 MiB of JSON",
        });
    }
    let Versioned { schema_version } = json(&entry, &content)?;
    if schema_version.major != MAJOR {
        return Err(Defect::Schema {
            major: schema_version.major,
            minor: schema_version.minor,
            supported: MAJOR,
        });
    }
    Ok((model.to_owned(), json(&entry, &content)?))
}

/// Decodes an entry. Nesting is bounded by the decoder.
pub(super) fn json<T: DeserializeOwned>(entry: &str, content: &[u8]) -> Result<T, Defect> {
    serde_json::from_slice(content).map_err(|error| Defect::Json {
        entry: entry.to_owned(),
        cause: error.to_string(),
    })
}

/// Checks that the program only computes: a block keeps no state from one request to the next.
pub(super) fn check_is_pure(signature: &GraphSignature) -> Result<(), Defect> {
    for output in &signature.output_specs {
        let (kind, name) = match output {
            OutputSpec::UserOutput { .. } => continue,
            OutputSpec::BufferMutation { buffer_name } => ("buffer", buffer_name.as_str()),
            OutputSpec::ParameterMutation { parameter_name } => {
                ("parameter", parameter_name.as_str())
            }
            OutputSpec::UserInputMutation { user_input_name } => {
                ("input", user_input_name.as_str())
            }
            OutputSpec::Training(_) => ("gradient", "of a loss"),
            OutputSpec::Token(_) => ("token", "of an effect"),
        };
        return Err(Defect::Mutation {
            kind,
            name: name.to_owned(),
        });
    }
    Ok(())
}
