//! What a session captured: the runs that its device does by itself.
//!
//! A captured run reads and writes memory of its own. So inputs are copied there on the session's stream before each replay,
//! and outputs are copied out after it: what a reader was given stays as it is, however often the session runs meanwhile. All
//! graphs of a session share the memory between inputs and outputs, since they run one after the other.
//!
//! What the host computes in a run follows from sizes alone in a graph that can be captured, so that it is the same in every
//! replay.

use crate::engine::cuda::Stream;
use crate::graph::{Graph, Index, Node, Op, Quantised, ValueOrigin};
use crate::types::{EagerReason, Shape, Signature, Tensor, TensorSpec};

use super::super::cause::Cause;
use super::super::ffi::cuda::{Graph as Captured, InStream, is_on_host, leave, noting, with_noted};
use super::cuda_session::Failed;
use super::datum::Datum;
use super::frame::Frame;
use super::sites::Sites;

/// Why runs of a graph cannot be captured, as far as the graph tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) why: EagerReason,
    pub(super) cause: String,
}

/// The captured runs of one session.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    runs: Vec<Run>,
    /// Bytes of the memory that the graphs share.
    shared: u64,
}

/// A run on inputs of certain shapes. The graph goes before what it reads and writes.
#[derive(Debug)]
struct Run {
    graph: Captured,
    shapes: Vec<Shape>,
    /// Those that are used.
    inputs: Vec<Option<tch::Tensor>>,
    outputs: Vec<Output>,
    /// What was shared before it.
    before: u64,
    /// What the host computed along, on the device.
    _brought: Vec<tch::Tensor>,
}

/// An output of a run, where it is.
#[derive(Debug)]
pub(super) enum Output {
    Host(Tensor),
    Device(tch::Tensor),
}

impl Obstacle {
    /// Looks for what keeps the runs of a graph from being captured.
    pub(super) fn of(graph: &Graph, sites: &Sites) -> Option<Self> {
        let mut nodes = graph.nodes.iter().enumerate();
        nodes.find_map(|(place, node)| {
            let (why, what) = obstacle(graph, sites, (place, node))?;
            let (name, op) = (&node.name, node.op.name());
            let cause = format!("operator {name:?} ({op}) {what}");
            Some(Self { why, cause })
        })
    }
}

fn obstacle(
    graph: &Graph,
    sites: &Sites,
    (place, node): (usize, &Node),
) -> Option<(EagerReason, &'static str)> {
    if draws(node) {
        return Some((EagerReason::Random, "draws numbers"));
    }
    let data = sites.data(place);
    let sized_by_data = match &node.op {
        Op::Index(Index::NonZero) => true,
        Op::Aten(op) => has_sizes_of_data(&op.name),
        _ => false,
    };
    if sized_by_data && !data.is_empty() {
        return Some((EagerReason::DataSizes, "gives as much as the data says"));
    }
    if checks_numbers(node) && !data.is_empty() {
        let what = "has the host look at numbers before its kernels";
        return Some((EagerReason::HostBetween, what));
    }
    let indices = matches!(node.op, Op::Gather { .. }) && data.contains(&1);
    let is_read = |(input, value): (usize, &Option<_>)| {
        value.is_some_and(|id| {
            let is_weight = matches!(graph.value(id).origin, ValueOrigin::Initializer(_));
            !data.contains(&input) && sites.is_on_device(id) && !is_weight
        })
    };
    let reads = node.inputs.iter().enumerate().any(is_read)
        && !matches!(node.op, Op::Shape { .. } | Op::Size);
    (indices || reads).then_some((
        EagerReason::HostBetween,
        "has the host read numbers from the device",
    ))
}

/// Tells whether the host waits for numbers in each run, or hands some over: indices that it has checked, and how large
/// quantised numbers are.
fn checks_numbers(node: &Node) -> bool {
    match &node.op {
        Op::Index(index) => !matches!(index, Index::NonZero | Index::Tile | Index::Trilu { .. }),
        Op::Quantised(
            Quantised::Quantize { scaling, .. } | Quantised::Dequantize { scaling, .. },
        ) => scaling.block > 0,
        Op::Quantised(_) => true,
        // The lengths of sequences.
        Op::Recurrent(_) => node.inputs.get(4).copied().flatten().is_some(),
        _ => false,
    }
}

/// Tells whether an operator may draw numbers.
pub(super) fn draws(node: &Node) -> bool {
    const STEMS: [&str; 8] = [
        "bernoulli",
        "cauchy",
        "exponential",
        "multinomial",
        "poisson",
        "rand",
        "uniform",
        "rrelu",
    ];
    match &node.op {
        // Without a third input it is not told to train.
        Op::Dropout { .. } => node.inputs.get(2).copied().flatten().is_some(),
        Op::Aten(op) => {
            let bare = bare(&op.name);
            STEMS.iter().any(|stem| bare.contains(stem)) || bare == "normal"
        }
        op => !op.is_repeatable(),
    }
}

/// Returns the name of an operator of ATen without where it is from and which of its forms it is.
fn bare(name: &str) -> &str {
    let bare = name.strip_prefix("aten::").unwrap_or(name);
    bare.split('.').next().unwrap_or(bare)
}

/// Tells whether results of an operator of ATen have sizes that follow from the elements of its inputs, or are numbers of them.
fn has_sizes_of_data(name: &str) -> bool {
    const BARE: [&str; 8] = [
        "nonzero",
        "argwhere",
        "masked_select",
        "repeat_interleave",
        "item",
        "_local_scalar_dense",
        "equal",
        "is_nonzero",
    ];
    let bare = bare(name);
    BARE.contains(&bare) || bare.contains("unique")
}

impl Graphs {
    /// Returns the place of the run on inputs of these shapes.
    pub(super) fn find(&self, inputs: &[Tensor]) -> Option<usize> {
        self.runs.iter().position(|run| {
            let mut shapes = run.shapes.iter().zip(inputs);
            run.shapes.len() == inputs.len()
                && shapes.all(|(shape, input)| shape[..] == *input.shape())
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Captures a run on inputs of these shapes and replays it once. Returns the bytes that this takes. Waits for the stream
    /// before it and after it.
    pub(super) fn capture(
        &mut self,
        (frame, signature): (&mut Frame, &Signature),
        (inputs, taken): (&[Tensor], &[Datum]),
        (stream, current): (&Stream, &InStream<'_>),
    ) -> Result<u64, Failed> {
        let mut own = Vec::new();
        for datum in taken {
            own.push(match datum {
                Datum::Tensor(given) => Some(copied(given)?),
                _ => None,
            });
        }
        let given = || {
            let data = own.iter().map(|own| match own {
                Some(own) => Datum::Tensor(own.shallow_clone()),
                None => Datum::Nothing,
            });
            data.collect::<Vec<_>>()
        };
        // With the memory that it will have, so that nothing is left to be set up.
        let (warmed, brought) = noting(|| frame.run(given()));
        drop(warmed.map_err(Failed::Engine)?);
        stream.record()?.wait()?;
        let beside = self.runs.first().map(|run| &run.graph);
        let (graph, outputs) = Captured::capture(current, beside, || {
            let outputs = with_noted(&brought, || frame.run(given()));
            let outputs = outputs
                .map_err(Failed::Engine)?
                .into_iter()
                .zip(&signature.outputs);
            let outputs = outputs.map(|(datum, spec)| match Output::of(datum, spec)? {
                Output::Device(tensor) => {
                    Ok(Output::Device(tensor.f_contiguous().map_err(Cause::from)?))
                }
                host @ Output::Host(_) => Ok(host),
            });
            outputs.collect::<Result<Vec<_>, Failed>>()
        })?;
        graph.replay(current)?;
        stream.record()?.wait()?;
        let shared = graph.memory()?;
        let apart = own.iter().flatten().chain(&brought).map(bytes_of);
        let bytes = shared.saturating_sub(self.shared) + apart.sum::<u64>();
        let before = std::mem::replace(&mut self.shared, shared);
        self.runs.push(Run {
            graph,
            shapes: inputs.iter().map(|input| input.shape().to_vec()).collect(),
            inputs: own,
            outputs,
            before,
            _brought: brought,
        });
        Ok(bytes)
    }

    /// Gives up the run that was captured last.
    pub(super) fn forget(&mut self) {
        if let Some(run) = self.runs.pop() {
            self.shared = run.before;
        }
    }

    /// Replays a run on other inputs. One that cannot be is given up; where there is no memory for what comes out, it stays.
    pub(super) fn replay(
        &mut self,
        place: usize,
        taken: &[Datum],
        (stream, current): (&Stream, &InStream<'_>),
    ) -> Result<Vec<Tensor>, Failed> {
        let Some(run) = self.runs.get_mut(place) else {
            return Err(Cause::new("there is no such graph").into());
        };
        run.take(taken)?;
        if let Err(cause) = run.graph.replay(current) {
            self.runs.remove(place);
            if self.runs.is_empty() {
                self.shared = 0;
            }
            return Err(cause.into());
        }
        Output::leave(run.outputs()?, stream)
    }
}

impl Run {
    /// Copies inputs to where they are read.
    fn take(&mut self, taken: &[Datum]) -> Result<(), Cause> {
        for (own, given) in self.inputs.iter_mut().zip(taken) {
            if let (Some(own), Datum::Tensor(given)) = (own, given) {
                own.f_copy_(given)?;
            }
        }
        Ok(())
    }

    /// Copies outputs from where they are written.
    fn outputs(&self) -> Result<Vec<Output>, Failed> {
        let outputs = self.outputs.iter().map(|output| match output {
            Output::Host(tensor) => Ok(Output::Host(tensor.clone())),
            Output::Device(tensor) => Ok(Output::Device(copied(tensor)?)),
        });
        outputs.collect()
    }
}

impl Output {
    /// Takes what a run gave as an output.
    pub(super) fn of(datum: Datum, spec: &TensorSpec) -> Result<Self, Failed> {
        match datum {
            Datum::Tensor(tensor) if !is_on_host(&tensor) => Ok(Self::Device(tensor)),
            other => Ok(Self::Host(other.export(spec.dtype)?)),
        }
    }

    /// Hands outputs out, those on the device as of now in the stream.
    pub(super) fn leave(outputs: Vec<Self>, stream: &Stream) -> Result<Vec<Tensor>, Failed> {
        let mut here = Vec::new();
        let mut there = Vec::new();
        for output in outputs {
            match output {
                Self::Host(tensor) => here.push(Some(tensor)),
                Self::Device(tensor) => {
                    here.push(None);
                    there.push(tensor);
                }
            }
        }
        let mut there = leave(there, stream)?.into_iter();
        let outputs = here.into_iter();
        let outputs = outputs.map(|output| output.or_else(|| there.next()));
        let outputs: Option<Vec<_>> = outputs.collect();
        outputs.ok_or_else(|| Cause::new("an output is missing").into())
    }
}

/// Returns a tensor of the same elements in memory of its own, from the thread's stream on.
fn copied(tensor: &tch::Tensor) -> Result<tch::Tensor, Cause> {
    let mut copied = tensor.f_empty_like()?;
    copied.f_copy_(tensor)?;
    Ok(copied)
}

fn bytes_of(tensor: &tch::Tensor) -> u64 {
    (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
}
