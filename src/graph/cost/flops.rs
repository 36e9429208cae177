//! Operations of one node. The conventions are those of the [module](super).

use crate::graph::{Normalization, Op};
use crate::types::Shape;

/// Operations of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) enum Work {
    Known(u64),
    /// A shape is not known, or there is no rule for the operator.
    Unknown,
}

/// Operations an element, where the statistics of a normalisation are computed: mean 1, deviation 1, square 1, variance
/// 1, scaling 1, weight and bias 2.
const NORMALISATION: u64 = 7;

/// Maximum, subtraction, exponential, sum, division.
const SOFTMAX: u64 = 5;

/// Returns the operations of an operator on tensors of these shapes.
pub(in crate::graph) fn work(op: &Op, inputs: &[Option<Shape>], outputs: &[Option<Shape>]) -> Work {
    let shapes = Shapes { inputs, outputs };
    let count = match op {
        Op::Conv(_) => shapes.convolution(),
        Op::MatMul => shapes.matmul(),
        Op::Gemm { transpose_a, .. } => shapes.gemm(*transpose_a),
        Op::Pool(pool) => shapes.out(1).map(|out| times(out, elements(&pool.kernel))),
        Op::GlobalPool(_) | Op::Reduce { .. } | Op::ArgExtreme { .. } => shapes.of_input(0),
        Op::Normalization(Normalization::Batch { .. }) => shapes.out(2),
        Op::Normalization(_) => shapes.out(NORMALISATION),
        Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::FlatSoftmax { .. } => shapes.out(SOFTMAX),
        Op::Unary(_) | Op::Binary(_) | Op::Where => shapes.out(1),
        Op::Variadic(_) => shapes.out((inputs.len() as u64).saturating_sub(1)),
        Op::Clip => shapes.out(2),
        _ if moves(op) => Some(0),
        _ => None,
    };
    count.map_or(Work::Unknown, Work::Known)
}

/// Tells whether an operator only moves, views or converts elements.
fn moves(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape { .. }
            | Op::Flatten { .. }
            | Op::Transpose { .. }
            | Op::Squeeze
            | Op::Unsqueeze
            | Op::Concat { .. }
            | Op::Split { .. }
            | Op::Slice
            | Op::Gather { .. }
            | Op::Expand
            | Op::Pad(_)
            | Op::Shape { .. }
            | Op::Cast { .. }
            | Op::ConstantOfShape { .. }
            | Op::Identity
    )
}

struct Shapes<'a> {
    inputs: &'a [Option<Shape>],
    outputs: &'a [Option<Shape>],
}

impl Shapes<'_> {
    fn input(&self, place: usize) -> Option<&[usize]> {
        self.inputs.get(place)?.as_deref()
    }

    /// `each` operations for every element of the first output.
    fn out(&self, each: u64) -> Option<u64> {
        Some(times(elements(self.outputs.first()?.as_ref()?), each))
    }

    /// One operation for every element of an input.
    fn of_input(&self, place: usize) -> Option<u64> {
        Some(elements(self.input(place)?))
    }

    /// Every element of the output is a product over the window and the channels of its group, plus the bias.
    fn convolution(&self) -> Option<u64> {
        let window = elements(self.input(1)?.get(1..)?);
        let bias = u64::from(self.input(2).is_some());
        self.out(times(2, window).saturating_add(bias))
    }

    fn matmul(&self) -> Option<u64> {
        let inner = *self.input(0)?.last()? as u64;
        self.out(times(2, inner))
    }

    fn gemm(&self, transpose_a: bool) -> Option<u64> {
        let inner = *self.input(0)?.get(usize::from(!transpose_a))? as u64;
        let addend = u64::from(self.input(2).is_some());
        self.out(times(2, inner).saturating_add(addend))
    }
}

fn elements(shape: &[usize]) -> u64 {
    shape
        .iter()
        .fold(1, |count, &size| times(count, size as u64))
}

fn times(left: u64, right: u64) -> u64 {
    left.saturating_mul(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Conv, PoolKind, Unary};

    fn count(op: &Op, inputs: &[&[usize]], output: &[usize]) -> Work {
        let inputs: Vec<_> = inputs.iter().map(|shape| Some(shape.to_vec())).collect();
        work(op, &inputs, &[Some(output.to_vec())])
    }

    #[test]
    fn products_count_two_operations_for_a_multiply_add() {
        let matmul = count(&Op::MatMul, &[&[7, 2, 3], &[3, 5]], &[7, 2, 5]);
        assert_eq!(matmul, Work::Known(2 * 7 * 2 * 3 * 5));
        let gemm = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: true,
            transpose_b: false,
        };
        let known = count(&gemm, &[&[3, 2], &[3, 5], &[5]], &[2, 5]);
        assert_eq!(known, Work::Known(2 * 2 * 3 * 5 + 2 * 5));
        // The first convolution of ResNet-50 without bias: 118 million multiply-adds.
        let conv = Op::Conv(Conv {
            groups: 1,
            ..Conv::default()
        });
        let known = count(
            &conv,
            &[&[1, 3, 224, 224], &[64, 3, 7, 7]],
            &[1, 64, 112, 112],
        );
        assert_eq!(known, Work::Known(2 * 118_013_952));
    }

    #[test]
    fn groups_of_a_convolution_see_only_their_channels() {
        let conv = Op::Conv(Conv {
            groups: 8,
            ..Conv::default()
        });
        let known = count(&conv, &[&[1, 8, 4, 4], &[8, 1, 3, 3], &[8]], &[1, 8, 2, 2]);
        assert_eq!(known, Work::Known(8 * 4 * (2 * 9 + 1)));
    }

    #[test]
    fn moving_elements_is_no_work_and_an_unknown_shape_no_guess() {
        assert_eq!(count(&Op::Identity, &[&[5]], &[5]), Work::Known(0));
        assert_eq!(count(&Op::Unary(Unary::Exp), &[&[5]], &[5]), Work::Known(5));
        let pool = Op::GlobalPool(PoolKind::Average);
        assert_eq!(
            count(&pool, &[&[1, 2, 3, 3]], &[1, 2, 1, 1]),
            Work::Known(18)
        );
        assert_eq!(work(&Op::MatMul, &[None, None], &[None]), Work::Unknown);
        let huge = count(&Op::MatMul, &[&[usize::MAX, 9], &[9, 9]], &[usize::MAX, 9]);
        assert_eq!(huge, Work::Known(u64::MAX));
    }
}
