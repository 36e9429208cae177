//! A graph that computes in 16-bit floats what it may, and in FP32 what it must.
//!
//! Every FP32 value can be there in two forms, and is converted where a node wants one that is not there: once, however
//! many want it. So neighbours that compute alike exchange values as they are. Inputs and outputs of the graph keep
//! their dtypes. Weights are converted here, not in a run; a number that is too large for FP16 becomes the largest one,
//! as masks are often the least FP32.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use half::{bf16, f16};

use super::draft::Draft;
use super::roles::{Role, role};
use crate::graph::{
    Container, Digest, Graph, Initializer, Node, NodeId, Op, Value, ValueId, ValueOrigin,
};
use crate::types::{AlignedBytes, DType, Tensor};

impl Graph {
    /// Returns a graph that computes in `to`, FP16 or BF16, where this one computes in FP32, but for operators whose
    /// results would suffer: `roles.rs` lists them.
    pub fn in_precision(&self, to: DType) -> Self {
        let mut narrowing = Narrowing::new(self, to, narrow);
        narrowing.run();
        Draft::of(&narrowing.graph).finish()
    }

    /// Returns of each weight that [`Graph::in_precision`] leaves, once, a digest and the number of its bytes. One
    /// weight at a time is converted for it.
    pub fn weights_in(&self, to: DType) -> BTreeMap<Digest, u64> {
        let weights = self.forms_in(to).into_iter().map(|(weight, is_narrow)| {
            let converted = is_narrow.then(|| narrow(&weight.tensor, to)).flatten();
            let tensor = converted.unwrap_or_else(|| weight.tensor.clone());
            let bytes = tensor.byte_count() as u64;
            (Initializer { tensor }.digest(), bytes)
        });
        weights.collect()
    }

    /// Returns the bytes of all of them, for which none is read. Weights that are equal count as often as they are there.
    pub fn weight_bytes_in(&self, to: DType) -> u64 {
        let bytes = self.forms_in(to).into_iter().map(|(weight, is_narrow)| {
            let bytes = weight.tensor.byte_count() as u64;
            if is_narrow { bytes / 2 } else { bytes }
        });
        bytes.sum()
    }

    /// Returns the weights that are computed with, each with whether it is so narrow; both forms of one that is in both.
    fn forms_in(&self, to: DType) -> Vec<(Arc<Initializer>, bool)> {
        // Nothing is converted yet.
        let mut narrowing = Narrowing::new(self, to, |tensor, _| Some(tensor.clone()));
        narrowing.run();
        let narrowed: HashSet<ValueId> = narrowing.narrow.values().copied().collect();
        let graph = &narrowing.graph;
        let read = graph.nodes.iter().flat_map(|node| node.inputs.iter());
        let read: HashSet<ValueId> = read.flatten().chain(&graph.outputs).copied().collect();
        let mut met = HashSet::new();
        let weights = read
            .into_iter()
            .filter_map(|id| match &graph.value(id).origin {
                ValueOrigin::Initializer(weight) => Some((weight.clone(), narrowed.contains(&id))),
                ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
            });
        weights
            .filter(|(weight, is_narrow)| met.insert((weight.tensor.bytes().as_ptr(), *is_narrow)))
            .collect()
    }
}

/// Converts an FP32 tensor; `None` for another one.
type Convert = fn(&Tensor, DType) -> Option<Tensor>;

/// A graph on the way: values of the whole keep their ids.
struct Narrowing<'a> {
    whole: &'a Graph,
    graph: Graph,
    to: DType,
    convert: Convert,
    /// Values that are there as the whole has them.
    wide: Vec<bool>,
    /// The narrow form of a value, where there is one.
    narrow: HashMap<ValueId, ValueId>,
    /// Values that are computed narrow.
    computed: HashSet<ValueId>,
    /// What was made of a weight, which several values may share.
    converted: HashMap<*const Initializer, Arc<Initializer>>,
    names: HashSet<String>,
}

impl<'a> Narrowing<'a> {
    fn new(whole: &'a Graph, to: DType, convert: Convert) -> Self {
        let is_there = |value: &Value| !matches!(value.origin, ValueOrigin::Node(..));
        Self {
            graph: Graph {
                nodes: Vec::with_capacity(whole.nodes.len()),
                ..whole.clone()
            },
            to,
            convert,
            wide: whole.values.iter().map(is_there).collect(),
            narrow: HashMap::new(),
            computed: HashSet::new(),
            converted: HashMap::new(),
            names: whole
                .values
                .iter()
                .map(|value| value.name.clone())
                .collect(),
            whole,
        }
    }

    fn run(&mut self) {
        let whole = self.whole;
        for node in &whole.nodes {
            self.add(node);
        }
        for &output in &whole.outputs {
            self.widened(output);
        }
    }

    fn add(&mut self, node: &Node) {
        let narrow = self.narrow_places(node);
        let inputs = node.inputs.iter().enumerate();
        let inputs = inputs.map(|(place, input)| {
            input.map(|id| match narrow.contains(&place) {
                true => self.narrowed(id),
                false => self.widened(id),
            })
        });
        let inputs = inputs.collect();
        let outputs = node.outputs.iter().map(|output| {
            output.map(|id| match !narrow.is_empty() && self.is_f32(id) {
                true => {
                    self.computed.insert(id);
                    self.beside(id)
                }
                false => {
                    self.wide[id.0 as usize] = true;
                    id
                }
            })
        });
        let outputs = outputs.collect();
        self.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs,
        });
    }

    /// Returns the places of the inputs that a node is to have narrow; none where it stays as it is.
    fn narrow_places(&self, node: &Node) -> Vec<usize> {
        let role = role(self.whole, node);
        let mut values = node.inputs.iter().chain(&node.outputs).flatten();
        let is_plain = |id: &ValueId| {
            let value = self.whole.value(*id);
            value.container == Container::Tensor && value.dtype.is_some()
        };
        if role == Role::Wide || !values.all(is_plain) {
            return Vec::new();
        }
        let is_data = |place: usize| match role {
            Role::Narrow | Role::Promotes | Role::Follows(None) => true,
            Role::Follows(Some(data)) | Role::Picks(data) => data.contains(&place),
            Role::Wide => false,
        };
        let inputs = node.inputs.iter().enumerate();
        let inputs = inputs.filter_map(|(place, input)| Some((place, (*input)?)));
        let data: Vec<_> = inputs
            .filter(|&(place, id)| is_data(place) && self.is_float(id))
            .collect();
        // One of another type decides for all of them.
        if !data.iter().all(|&(_, id)| self.is_f32(id)) {
            return Vec::new();
        }
        let mut computed = data
            .iter()
            .filter(|&&(_, id)| !self.is_weight(id))
            .peekable();
        let is_narrow = match role {
            Role::Narrow => true,
            Role::Picks(_) if computed.peek().is_none() => true,
            Role::Promotes => {
                computed.peek().is_some() && computed.all(|(_, id)| self.computed.contains(id))
            }
            _ => computed.any(|(_, id)| self.computed.contains(id)),
        };
        match is_narrow {
            true => data.into_iter().map(|(place, _)| place).collect(),
            false => Vec::new(),
        }
    }

    fn is_f32(&self, id: ValueId) -> bool {
        self.whole.value(id).dtype == Some(DType::F32)
    }

    fn is_float(&self, id: ValueId) -> bool {
        let dtype = self.whole.value(id).dtype;
        dtype.is_some_and(|dtype| dtype.is_float() || dtype.is_narrow_float())
    }

    fn is_weight(&self, id: ValueId) -> bool {
        matches!(self.whole.value(id).origin, ValueOrigin::Initializer(_))
    }

    /// Returns a value as the whole has it.
    fn widened(&mut self, id: ValueId) -> ValueId {
        if !self.wide[id.0 as usize]
            && let Some(&narrow) = self.narrow.get(&id)
        {
            self.cast(narrow, id, DType::F32);
            self.wide[id.0 as usize] = true;
        }
        id
    }

    /// Returns the narrow form of an FP32 value.
    fn narrowed(&mut self, id: ValueId) -> ValueId {
        if let Some(&narrow) = self.narrow.get(&id) {
            return narrow;
        }
        if let ValueOrigin::Initializer(initializer) = &self.whole.value(id).origin {
            let (to, convert) = (self.to, self.convert);
            let known = self.converted.get(&Arc::as_ptr(initializer)).cloned();
            let made = || {
                Some(Arc::new(Initializer {
                    tensor: convert(&initializer.tensor, to)?,
                }))
            };
            if let Some(weight) = known.or_else(made) {
                self.converted
                    .insert(Arc::as_ptr(initializer), weight.clone());
                let narrow = self.beside(id);
                self.graph.values[narrow.0 as usize].origin = ValueOrigin::Initializer(weight);
                return narrow;
            }
        }
        let narrow = self.beside(id);
        self.cast(id, narrow, self.to);
        narrow
    }

    /// Adds the narrow form of a value, which somebody is to compute.
    fn beside(&mut self, id: ValueId) -> ValueId {
        let value = self.whole.value(id);
        let base = format!("{}.{}", value.name, self.to.name());
        let mut name = base.clone();
        let mut count = 1_u32;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{base}#{count}");
        }
        let narrow = ValueId(place(self.graph.values.len()));
        self.graph.values.push(Value {
            name,
            dtype: Some(self.to),
            ..value.clone()
        });
        self.narrow.insert(id, narrow);
        narrow
    }

    fn cast(&mut self, from: ValueId, to: ValueId, dtype: DType) {
        self.push(Node {
            name: self.graph.value(to).name.clone(),
            op: Op::Cast { to: dtype },
            inputs: vec![Some(from)],
            outputs: vec![Some(to)],
        });
    }

    fn push(&mut self, node: Node) {
        let id = NodeId(place(self.graph.nodes.len()));
        for (output, value) in node.outputs.iter().enumerate() {
            if let Some(value) = value {
                self.graph.values[value.0 as usize].origin = ValueOrigin::Node(id, output);
            }
        }
        self.graph.nodes.push(node);
    }
}

fn place(count: usize) -> u32 {
    u32::try_from(count).expect("each node and value of a graph of bounded size gives few more")
}

/// Rounds FP32 to nearest, ties to even. What is finite stays so.
fn narrow(tensor: &Tensor, to: DType) -> Option<Tensor> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    let round: fn(f32) -> [u8; 2] = match to {
        DType::F16 => |number| {
            let near = f16::from_f32(number);
            let largest = || f16::MAX.to_f32().copysign(number);
            match near.is_infinite() && number.is_finite() {
                true => f16::from_f32(largest()).to_le_bytes(),
                false => near.to_le_bytes(),
            }
        },
        DType::BF16 => |number| {
            let near = bf16::from_f32(number);
            let largest = || bf16::MAX.to_f32().copysign(number);
            match near.is_infinite() && number.is_finite() {
                true => bf16::from_f32(largest()).to_le_bytes(),
                false => near.to_le_bytes(),
            }
        },
        _ => return None,
    };
    let (elements, _) = tensor.bytes().as_chunks::<4>();
    let bytes: Vec<u8> = elements
        .iter()
        .flat_map(|element| round(f32::from_le_bytes(*element)))
        .collect();
    let memory = Arc::new(AlignedBytes::copy_of(&bytes));
    Tensor::new(to, tensor.shape().to_vec(), memory).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(numbers: &[f32], to: DType) -> Vec<f32> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|one| one.to_le_bytes()).collect();
        let tensor = Tensor::copy_of(DType::F32, vec![numbers.len()], &bytes).expect("a tensor");
        let tensor = narrow(&tensor, to).expect("a dtype of 16 bits");
        let (pairs, _) = tensor.bytes().as_chunks::<2>();
        let wide = |pair: &[u8; 2]| match to {
            DType::F16 => f16::from_le_bytes(*pair).to_f32(),
            _ => bf16::from_le_bytes(*pair).to_f32(),
        };
        pairs.iter().map(wide).collect()
    }

    #[test]
    fn numbers_are_rounded_and_what_is_finite_stays_so() {
        let infinity = f32::INFINITY;
        let seen = rounded(
            &[1.0 + 1.0 / 1024.0, 1e6, f32::MIN, -infinity, 65519.0],
            DType::F16,
        );
        assert_eq!(
            seen,
            [1.0 + 1.0 / 1024.0, 65504.0, -65504.0, -infinity, 65504.0]
        );
        let largest = bf16::MAX.to_f32();
        let seen = rounded(
            &[1.0 + 1.0 / 1024.0, 257.0, f32::MAX, infinity],
            DType::BF16,
        );
        assert_eq!(seen, [1.0, 256.0, largest, infinity]);
        assert!(rounded(&[f32::NAN], DType::BF16)[0].is_nan());
        let exact = Tensor::copy_of(DType::I32, vec![1], &[0; 4]).expect("a tensor");
        assert!(narrow(&exact, DType::F16).is_none());
    }
}
