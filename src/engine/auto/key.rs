//! What the choice of an engine depends on.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::engine::{onnxruntime, torch};
use crate::graph::Graph;
use crate::types::{Pass, Passes, Signature, TensorSpec};

/// A block, how it is to run, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// Digest of the graph without the elements of its weights.
    pub(super) structure: String,
    /// Dtypes and shapes of the inputs.
    pub(super) inputs: String,
    pub(super) threads: usize,
    /// Passes that rewrite the graph.
    pub(super) passes: String,
    pub(super) onnxruntime: String,
    pub(super) libtorch: String,
    pub(super) processor: String,
}

impl Key {
    pub(super) fn of(graph: &Graph, signature: &Signature, threads: usize, passes: Passes) -> Self {
        let input = |spec: &TensorSpec| format!("{}{}", spec.dtype, spec.shape);
        let inputs: Vec<String> = signature.inputs.iter().map(input).collect();
        let passes = Pass::ALL.into_iter().filter(|&pass| passes.has(pass));
        let passes: Vec<&str> = passes.map(Pass::name).collect();
        Self {
            structure: graph.structure_hash().to_string(),
            inputs: inputs.join(", "),
            threads: threads.max(1),
            passes: passes.join(" "),
            onnxruntime: onnxruntime::version().to_owned(),
            libtorch: torch::version().to_owned(),
            processor: processor().to_owned(),
        }
    }
}

/// Returns the model of the processor, as far as Linux tells it.
fn processor() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| name_in(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()))
}

/// Reads the first processor: a name on x86, numbers of its maker on Arm.
fn name_in(list: &str) -> String {
    const FIELDS: [&str; 4] = ["model name", "CPU implementer", "CPU part", "CPU variant"];
    let first = list.lines().take_while(|line| !line.is_empty());
    let fields = first.filter_map(|line| line.split_once(':'));
    let known = fields.filter(|(name, _)| FIELDS.contains(&name.trim()));
    let values: Vec<&str> = known.map(|(_, value)| value.trim()).collect();
    format!("{} {}", std::env::consts::ARCH, values.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_told_apart_by_what_linux_says_of_the_first() {
        let arch = std::env::consts::ARCH;
        for (list, expected) in [
            (
                "processor : 0\nmodel name\t: Xeon: A\n\nmodel name : B\n",
                " Xeon: A",
            ),
            (
                "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n",
                " 0x41 0xd0c",
            ),
            ("", " "),
        ] {
            assert_eq!(name_in(list), format!("{arch}{expected}"));
        }
    }
}
