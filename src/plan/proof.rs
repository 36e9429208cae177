//! Whether the shapes that blocks are to be warmed on are shapes of their inputs.

use std::collections::BTreeMap;

use crate::types::{Bindings, BlockSpec, DType, Problem, Shape, Signature, Spec, byte_count};

use super::draft::{Blocks, unknown};

/// Bytes of the inputs of one run.
const BYTES_MAX: usize = 1 << 30;

/// Records everything that is wrong with the shapes that blocks are warmed on.
pub(super) fn check(spec: &Spec, blocks: Blocks<'_>, problems: &mut Vec<Problem>) {
    for (index, block) in spec.blocks.iter().enumerate() {
        let Some(signature) = blocks.signature(index) else {
            continue;
        };
        for (place, shapes) in block.proof.warm.iter().enumerate() {
            let key = format!("blocks.{}.warm[{place}]", block.name);
            check_run(&key, block, signature, shapes, problems);
        }
    }
}

fn check_run(
    key: &str,
    block: &BlockSpec,
    signature: &Signature,
    shapes: &BTreeMap<String, Shape>,
    problems: &mut Vec<Problem>,
) {
    for name in shapes.keys() {
        if signature.input(name).is_none() {
            let seen = format!("is no input of block {:?}", block.name);
            let known = signature.inputs.iter().map(|spec| spec.name.as_str());
            problems.push(unknown(&format!("{key}.{name}"), seen, name, known));
        }
    }
    let (mut bindings, mut bytes) = (Bindings::new(), 0_usize);
    for spec in &signature.inputs {
        let Some(shape) = shapes.get(&spec.name) else {
            let seen = format!("says nothing of input {:?}", spec.name);
            problems.push(Problem::new(
                key,
                seen,
                format!("expected sizes for {}", spec.shape),
            ));
            continue;
        };
        let key = format!("{key}.{}", spec.name);
        if spec.dtype == DType::Bytes {
            let seen = "is of BYTES, of which there are no zeros to run on";
            problems.push(Problem::new(
                key,
                seen,
                "expected golden inputs in place of it",
            ));
            continue;
        }
        if let Err(error) = spec.bind(spec.dtype, shape, &mut bindings) {
            let expected = format!("expected sizes for {}", spec.shape);
            problems.push(Problem::new(&key, error.to_string(), expected));
            continue;
        }
        let needed = byte_count(spec.dtype, shape).unwrap_or(usize::MAX);
        bytes = bytes.saturating_add(needed);
        if bytes > BYTES_MAX {
            let seen =
                format!("is {shape:?}, with which the inputs take more than {BYTES_MAX} bytes");
            problems.push(Problem::new(&key, seen, "expected smaller sizes"));
            return;
        }
    }
}
