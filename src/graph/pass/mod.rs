//! Passes: rewritings of a graph that an engine runs faster and whose outputs are those of the graph they are given.
//!
//! [`optimise`](super::Graph::optimise) runs the passes that are on, in the order of [`Pass::ALL`](crate::types::Pass);
//! each takes a graph and returns a new one, which debug builds verify. A pass may assume nothing of the passes before
//! it but that some of what it looks for is written in fewer ways then:
//!
//! | pass | does | exact | gains from |
//! |---|---|---|---|
//! | `fold-constants` | computes what depends on weights alone, up to a number of bytes; nothing random | yes | |
//! | `tidy-layout` | leaves out Identity and what changes no shape; joins transposes, and reshapes | yes | known shapes |
//! | `merge-equal` | computes once what is computed alike; keeps one of equal weights | yes | folding, layout |
//! | `fold-scales` | moves scales and shifts per channel (batch normalisation, Mul, Add, …) into the weights before them | no | |
//! | `fuse-formulas` | LayerNormalization, GELU, SiLU, HardSwish where the model spells them out | no | merging |
//! | `fuse-attention` | softmax(q · kᵀ) · v where the model spells it out | no | layout |
//! | `fuse-linear` | Gemm and MatMul with constant weights become [`Linear`](super::Op::Linear) | yes | folding |
//! | `fuse-bias` | an Add after a `Linear` becomes its bias | no | linear |
//! | `fuse-activations` | addends and activations join the Conv or `Linear` before them | yes | all before |
//! | `drop-dead` | leaves out what no output needs; the others do so with what they replace | yes | |
//!
//! # Why some are exact
//!
//! A split model has to give what the whole gives, to the last bit (REQ-4), and the segments of a split model are
//! optimised each on its own, after the cut: the tensors to cut at are named in the model, and a graph that has been
//! rewritten no longer has all of them. So what is joined in the whole may be separate in the split. A pass is exact if
//! that cannot be seen:
//!
//! - what rewrites one operator by itself, looking only at weights, does the same on either side of a cut
//!   (`fuse-linear`); so does computing with weights, which is done by the engine's own kernels (`fold-constants`);
//! - what moves, drops or shares values computes nothing (`tidy-layout`, `merge-equal`, `drop-dead`);
//! - what joins several operators is exact if the kernel of the result does the same arithmetic, which
//!   [`op::fused`](super::Activation) demands of activations and addends (`fuse-activations`).
//!
//! All this supposes that strides of a tensor do not decide how a kernel rounds, for a tensor that crosses a cut is laid
//! out anew; and that nobody cuts at a tensor that depends on weights alone, which would be data behind the cut.
//!
//! Folding a batch normalisation into a convolution is not exact: cut between the two, neither half can do it. Such
//! passes are on only at the level `fast`. There, a model cut at a tensor that the fused graph still has gives what the
//! whole gives; cut inside a group, the group stays as the model has it, and the last bits may differ.
//!
//! # Other numbers
//!
//! After all passes a graph may be taken to 16-bit floats ([`in_precision`](super::Graph::in_precision)): constants are
//! computed and operators joined in FP32 first, so that they round once. That is not exact, nor meant to be.
//!
//! # Traps that every pass minds
//!
//! A value that is an output of the graph, or is read twice, is never fused away. Shapes are compared only where known:
//! equal symbols are equal sizes, two unknown sizes are not. Inputs of the graph keep their number and order, outputs
//! also their names.

mod activations;
mod attention;
mod bias;
mod constants;
mod draft;
mod equal;
mod formulas;
mod gates;
mod layer_norm;
mod layout;
mod linear;
mod numbers;
mod optimise;
mod pattern;
mod precision;
mod roles;
mod scales;
mod scores;

pub use optimise::Evaluate;
