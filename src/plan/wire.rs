//! How the edges of a pipeline travel between hosts, by the names that edges have.
//!
//! What is asked of an edge has to fit the tensor that travels along it, whether or not the edge leads to another host: so
//! the same file is right wherever its blocks are placed.

use std::collections::BTreeMap;

use crate::types::{DType, Encoding, Problem, WireSpec};

use super::draft::{Blocks, Draft, DraftEdge, unknown};

/// Returns the encoding of each edge of a draft, in the order of the edges; `key` is that of the table.
pub(super) fn encodings(
    key: &str,
    wire: &[WireSpec],
    draft: &Draft,
    blocks: Blocks<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Encoding> {
    let mut encodings = vec![Encoding::PLAIN; draft.edges.len()];
    // An edge that seems to be missing may be there.
    if wire.is_empty() || draft.partial {
        return encodings;
    }
    let name = |(index, edge): (usize, _)| (edge_name(draft, edge, blocks), index);
    let names: BTreeMap<String, usize> = draft.edges.iter().enumerate().map(name).collect();
    for WireSpec { edge, encoding } in wire {
        let key = format!("{key}.{edge}");
        let Some(&index) = names.get(edge) else {
            let known = names.keys().map(String::as_str);
            problems.push(unknown(
                &key,
                "is no edge of the pipeline".to_owned(),
                edge,
                known,
            ));
            continue;
        };
        let Some(tensor) = draft.tensor(&draft.edges[index], blocks) else {
            continue;
        };
        encodings[index] = *encoding;
        check(&key, *encoding, tensor.dtype, problems);
    }
    encodings
}

fn edge_name(draft: &Draft, edge: &DraftEdge, blocks: Blocks<'_>) -> String {
    let from = draft.name_of_producer(edge.from, blocks);
    format!("{from} -> {}", draft.name_of(edge.to, blocks))
}

fn check(key: &str, asked: Encoding, dtype: DType, problems: &mut Vec<Problem>) {
    let fits = asked.for_dtype(dtype);
    if let Some(narrow) = asked.narrow.filter(|_| fits.narrow.is_none()) {
        let seen = format!(
            "is {:?}, and the edge carries {dtype}",
            narrow.dtype().name()
        );
        let expected = "leave it out: only edges of FP32 are narrowed";
        problems.push(Problem::new(format!("{key}.dtype"), seen, expected));
    }
    if let Some(compress) = asked.compress.filter(|_| fits.compress.is_none()) {
        let seen = format!("is {:?}, and the edge carries {dtype}", compress.name());
        let expected = "leave it out: elements of any length are not compressed";
        problems.push(Problem::new(format!("{key}.compress"), seen, expected));
    }
}
