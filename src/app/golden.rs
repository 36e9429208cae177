//! Whether the golden cases of a block can be used, before anything is prepared.

use crate::engine::{Golden, GoldenError};
use crate::types::{BlockSpec, GoldenCase, Problem, Signature};

/// Reads every golden case of a block; returns what is wrong with them.
pub(super) fn problems(block: &BlockSpec, signature: &Signature) -> Vec<Problem> {
    let golden = block.proof.golden.as_ref();
    let cases = golden.map_or(&[][..], |golden| &golden.cases);
    let read = cases.iter().enumerate().filter_map(|(index, case)| {
        let error = Golden::read(case, signature).err()?;
        let key = format!("blocks.{}.golden.cases[{index}]", block.name);
        Some(problem(key, case, &error))
    });
    read.collect()
}

fn problem(key: String, case: &GoldenCase, error: &GoldenError) -> Problem {
    let expected = match case.inputs == case.outputs {
        true => "expected a file with the block's inputs and some of its outputs",
        false => "expected a file with the block's inputs, and one with some of its outputs",
    };
    Problem::new(key, error.to_string(), expected)
}
