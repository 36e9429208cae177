//! A pipeline with its names resolved, before order and agreement are checked.

use crate::types::{BlockSpec, Problem, Signature, TensorSpec, nearest};

use super::{EdgeFrom, EdgeTo};

/// Blocks of the configuration, with the signatures of those whose models could be read. After them come the unsound
/// ones, of which nothing but the name is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<'a> {
    specs: &'a [BlockSpec],
    signatures: &'a [Option<Signature>],
    unsound: &'a [String],
}

/// One use of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DraftStep {
    pub(super) name: String,
    pub(super) block: usize,
}

/// A resolved edge and the key it stands at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DraftEdge {
    pub(super) from: EdgeFrom,
    pub(super) to: EdgeTo,
    pub(super) key: String,
}

/// What a chain or a graph says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Draft {
    pub(super) steps: Vec<DraftStep>,
    pub(super) edges: Vec<DraftEdge>,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    /// Some name was not resolved or some signature is not known: what seems to be missing may be there.
    pub(super) partial: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(
        specs: &'a [BlockSpec],
        signatures: &'a [Option<Signature>],
        unsound: &'a [String],
    ) -> Self {
        debug_assert_eq!(specs.len(), signatures.len());
        Self {
            specs,
            signatures,
            unsound,
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names().position(|known| known == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        let sound = self.specs.iter().map(|block| block.name.as_str());
        sound.chain(self.unsound.iter().map(String::as_str))
    }

    pub(super) fn signature(&self, block: usize) -> Option<&'a Signature> {
        self.signatures.get(block).and_then(Option::as_ref)
    }
}

impl Draft {
    /// Returns the position of a name in the list of inputs or outputs, which it joins when it is new.
    pub(super) fn place(names: &mut Vec<String>, name: &str) -> usize {
        names
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
    }

    pub(super) fn output<'a>(
        &self,
        blocks: Blocks<'a>,
        step: usize,
        output: usize,
    ) -> Option<&'a TensorSpec> {
        blocks
            .signature(self.steps[step].block)?
            .outputs
            .get(output)
    }

    pub(super) fn input<'a>(
        &self,
        blocks: Blocks<'a>,
        step: usize,
        input: usize,
    ) -> Option<&'a TensorSpec> {
        blocks.signature(self.steps[step].block)?.inputs.get(input)
    }

    /// Writes the producer of an edge as a person would.
    pub(super) fn name_of_producer(&self, from: EdgeFrom, blocks: Blocks<'_>) -> String {
        match from {
            EdgeFrom::Input(input) => self.inputs[input].clone(),
            EdgeFrom::Step { step, output } => {
                let name = &self.steps[step].name;
                let output = self.output(blocks, step, output);
                format!("{name}.{}", output.map_or("?", |spec| spec.name.as_str()))
            }
        }
    }

    /// Returns what travels along an edge, as far as it is known.
    pub(super) fn tensor<'a>(
        &self,
        edge: &DraftEdge,
        blocks: Blocks<'a>,
    ) -> Option<&'a TensorSpec> {
        match (edge.from, edge.to) {
            (EdgeFrom::Step { step, output }, _) => self.output(blocks, step, output),
            (EdgeFrom::Input(_), EdgeTo::Step { step, input }) => self.input(blocks, step, input),
            (EdgeFrom::Input(_), EdgeTo::Output(_)) => None,
        }
    }

    /// Writes the consumer of an edge as a person would.
    pub(super) fn name_of(&self, to: EdgeTo, blocks: Blocks<'_>) -> String {
        match to {
            EdgeTo::Step { step, input } => {
                let name = &self.steps[step].name;
                let input = self.input(blocks, step, input);
                format!("{name}.{}", input.map_or("?", |spec| spec.name.as_str()))
            }
            EdgeTo::Output(output) => self.outputs[output].clone(),
        }
    }
}

/// Returns a problem about a name that does not exist, with the one that was meant or all there are.
pub(super) fn unknown<'a>(
    key: &str,
    seen: String,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Problem {
    let known: Vec<_> = known.collect();
    let expected = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => {
            let known: Vec<_> = known.iter().map(|name| format!("{name:?}")).collect();
            match known.as_slice() {
                [] => "there is none".to_owned(),
                [only] => format!("expected {only}"),
                several => format!("expected one of {}", several.join(", ")),
            }
        }
    };
    Problem::new(key, seen, expected)
}
