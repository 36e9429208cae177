//! Operations of one node. The conventions are those of the [module](super).

use crate::graph::{Combine, Index, Normalization, Op, Quantised};

use super::shapes::{Shapes, elements, times};
use super::{attention, recurrent, sampling, signal};

/// Operations an element, where the statistics of a normalisation are computed: mean 1, deviation 1, square 1, variance
/// 1, scaling 1, weight and bias 2.
const NORMALISATION: u64 = 7;

/// Maximum, subtraction, exponential, sum, division.
pub(super) const SOFTMAX: u64 = 5;

/// Division, rounding and zero point of an element that is quantised; difference and product of one that is read.
const QUANTISATION: u64 = 3;
const READING: u64 = 2;

/// Returns the operations of an operator on tensors of these shapes; `None` if one that matters is not known, or there is
/// no rule, as what the operator computes depends on its data. Bodies are counted by who knows them.
pub(super) fn work(op: &Op, shapes: &Shapes<'_>) -> Option<u64> {
    match op {
        Op::Conv(_) => shapes.convolution(1, 2),
        Op::FusedConv(op) => {
            let after = u64::from(op.activation.is_some()) + u64::from(shapes.has(3));
            Some(shapes.convolution(1, 2)?.saturating_add(shapes.out(after)?))
        }
        Op::ConvTranspose(_) => shapes.transposed_convolution(),
        Op::DeformConv(_) => sampling::deform_conv(shapes),
        Op::MatMul => shapes.product(0, 0),
        Op::Linear { activation } => {
            let after = u64::from(shapes.has(2)) + u64::from(activation.is_some());
            shapes.product(0, after)
        }
        Op::Gemm { transpose_a, .. } => shapes.gemm(*transpose_a),
        Op::Einsum(equation) => shapes.einsum(equation),
        Op::Det => shapes.determinants(),
        Op::Attention(op) => attention::attention(op, shapes),
        Op::ScaledDotProduct(_) => attention::scaled_dot_product(shapes),
        Op::LinearAttention(op) => attention::linear_attention(*op, shapes),
        // Of two products and a sum.
        Op::RotaryEmbedding(_) => shapes.out(3),
        Op::CausalConv { silu } => {
            let window = elements(shapes.input(1)?.get(1..)?);
            let after = u64::from(shapes.has(2)) + if *silu { 2 } else { 0 };
            shapes.out(times(2, window).saturating_add(after))
        }
        Op::Recurrent(op) => recurrent::recurrent(op, shapes),
        Op::Resize(op) => sampling::resize(op, shapes),
        Op::GridSample(op) => sampling::grid_sample(*op, shapes),
        Op::RoiAlign(op) => sampling::roi_align(op, shapes),
        // Of a row of a matrix with coordinates and a one.
        Op::AffineGrid { .. } => {
            let dims = *shapes.output(0)?.last()? as u64;
            shapes.out(times(2, dims + 1))
        }
        Op::Pool(pool) => shapes.out(elements(&pool.kernel)),
        Op::GlobalPool(_) | Op::Reduce { .. } | Op::ArgExtreme { .. } | Op::Hardmax { .. } => {
            shapes.of_input(0)
        }
        Op::Cumulative { .. } | Op::Col2Im(_) => shapes.of_input(0),
        Op::TopK { .. } | Op::Unique { .. } => shapes.sorted(),
        Op::NegativeLogLikelihoodLoss { .. } => Some(times(2, shapes.of_input(1)?)),
        Op::Normalization(Normalization::Batch { .. }) => shapes.out(2),
        Op::Normalization(Normalization::LocalResponse { size, .. }) => {
            // Squares and their sum over the window; then scale, bias, power, division.
            shapes.out(times(2, *size as u64).saturating_add(4))
        }
        Op::Normalization(_) => shapes.out(NORMALISATION),
        Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::FlatSoftmax { .. } => shapes.out(SOFTMAX),
        Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Random(_) => shapes.out(1),
        Op::Variadic(_) => shapes.out((shapes.inputs.len() as u64).saturating_sub(1)),
        Op::Clip | Op::Dropout { .. } | Op::Range => shapes.out(2),
        Op::Quantised(op) => quantised(op, shapes),
        Op::Signal(op) => signal::signal(op, shapes),
        Op::Index(Index::ScatterElements { combine, .. } | Index::ScatterNd { combine })
            if *combine != Combine::Replace =>
        {
            shapes.of_input(2)
        }
        // No arithmetic on elements.
        Op::Narrow(_) | Op::MaxUnpool(_) | Op::Text(_) | Op::LabelEncoder => Some(0),
        op if op.only_moves() => Some(0),
        _ => None,
    }
}

fn quantised(op: &Quantised, shapes: &Shapes<'_>) -> Option<u64> {
    match op {
        Quantised::Quantize { .. } => shapes.out(QUANTISATION),
        Quantised::Dequantize { .. } => shapes.out(READING),
        // Both extremes are searched first.
        Quantised::DynamicQuantize => shapes.out(QUANTISATION + 2),
        Quantised::MatMul => shapes.product(0, QUANTISATION),
        Quantised::MatMulInteger => shapes.product(0, 0),
        Quantised::Conv(_) => {
            let products = shapes.convolution(3, 8)?;
            Some(products.saturating_add(shapes.out(QUANTISATION)?))
        }
        // Its inputs behind the weight are zero points.
        Quantised::ConvInteger(_) => shapes.convolution(1, usize::MAX),
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "in a test an unexpected error is a failure"
)]
mod tests {
    use super::*;
    use crate::graph::{
        Attention, Cell, Conv, Coordinates, Direction, Equation, Heads, Interpolation,
        LinearAttention, PoolKind, Recurrent, Resize, Scores, Unary,
    };

    /// An empty shape stands for an absent input.
    fn count(op: &Op, inputs: &[&[usize]], output: &[usize]) -> Option<u64> {
        let known = |shape: &&[usize]| Some(shape.to_vec()).filter(|shape| !shape.is_empty());
        let inputs: Vec<_> = inputs.iter().map(known).collect();
        let outputs = [Some(output.to_vec())];
        work(
            op,
            &Shapes {
                inputs: &inputs,
                outputs: &outputs,
            },
        )
    }

    #[test]
    fn products_count_two_operations_for_a_multiply_add() {
        let matmul = count(&Op::MatMul, &[&[7, 2, 3], &[3, 5]], &[7, 2, 5]);
        assert_eq!(matmul, Some(2 * 7 * 2 * 3 * 5));
        let gemm = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: true,
            transpose_b: false,
        };
        let known = count(&gemm, &[&[3, 2], &[3, 5], &[5]], &[2, 5]);
        assert_eq!(known, Some(2 * 2 * 3 * 5 + 2 * 5));
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
        assert_eq!(known, Some(2 * 118_013_952));
    }

    #[test]
    fn groups_of_a_convolution_see_only_their_channels() {
        let conv = Op::Conv(Conv {
            groups: 8,
            ..Conv::default()
        });
        let known = count(&conv, &[&[1, 8, 4, 4], &[8, 1, 3, 3], &[8]], &[1, 8, 2, 2]);
        assert_eq!(known, Some(8 * 4 * (2 * 9 + 1)));
    }

    #[test]
    fn moving_elements_is_no_work_and_an_unknown_shape_no_guess() {
        assert_eq!(count(&Op::Identity, &[&[5]], &[5]), Some(0));
        assert_eq!(count(&Op::Unary(Unary::Exp), &[&[5]], &[5]), Some(5));
        let pool = Op::GlobalPool(PoolKind::Average);
        assert_eq!(count(&pool, &[&[1, 2, 3, 3]], &[1, 2, 1, 1]), Some(18));
        assert_eq!(count(&Op::MatMul, &[&[], &[]], &[2]), None);
        let huge = count(&Op::MatMul, &[&[usize::MAX, 9], &[9, 9]], &[usize::MAX, 9]);
        assert_eq!(huge, Some(u64::MAX));
    }

    #[test]
    fn layers_count_by_the_formulas_of_their_papers() {
        let lstm = |hidden, direction| {
            Op::Recurrent(Recurrent {
                cell: Cell::Lstm {
                    input_forget: false,
                },
                direction,
                activations: Vec::new(),
                clip: None,
                batch_first: false,
                hidden_size: hidden,
            })
        };
        // 3 steps of 2 rows, 5 features, 4 hidden: products with 16 × 5 and 16 × 4 weights.
        let shapes: [&[usize]; 4] = [&[3, 2, 5], &[1, 16, 5], &[1, 16, 4], &[1, 32]];
        let step = 16 * (2 * (5 + 4) + 1 + 2) + 4 * 9;
        let known = count(&lstm(Some(4), Direction::Forward), &shapes, &[3, 1, 2, 4]);
        assert_eq!(known, Some(3 * 2 * step));
        let shapes: [&[usize]; 3] = [&[3, 2, 5], &[2, 16, 5], &[2, 16, 4]];
        let known = count(&lstm(None, Direction::Both), &shapes, &[3, 2, 2, 4]);
        assert_eq!(known, Some(2 * 3 * 2 * (step - 2 * 16)));

        let attention = |heads| {
            Op::Attention(Attention {
                heads,
                causal: false,
                scale: None,
                softcap: None,
                scores: Scores::Scaled,
                softmax_dtype: None,
            })
        };
        let expected = 2 * 3 * 4 * 6 * (2 * (8 + 8) + 5 + 1);
        let four: [&[usize]; 3] = [&[2, 3, 4, 8], &[2, 3, 6, 8], &[2, 3, 6, 8]];
        assert_eq!(
            count(&attention(None), &four, &[2, 3, 4, 8]),
            Some(expected)
        );
        let heads = Some(Heads {
            query: 3,
            key_value: 1,
        });
        let past: [&[usize]; 6] = [
            &[2, 4, 24],
            &[2, 4, 8],
            &[2, 4, 8],
            &[],
            &[2, 1, 2, 8],
            &[2, 1, 2, 8],
        ];
        assert_eq!(count(&attention(heads), &past, &[2, 4, 24]), Some(expected));

        let linear = Op::LinearAttention(LinearAttention {
            heads: Heads {
                query: 4,
                key_value: 2,
            },
            scale: None,
            gated: true,
            delta: false,
        });
        let inputs: [&[usize]; 3] = [&[1, 7, 12], &[1, 7, 6], &[1, 7, 10]];
        let known = count(&linear, &inputs, &[1, 7, 20]);
        assert_eq!(known, Some(7 * (2 * 3 * 15 + 4 * (2 * 15 + 5))));
    }

    #[test]
    fn what_is_read_between_elements_counts_for_each_that_is_read() {
        let resize = |interpolation, antialias| {
            Op::Resize(Resize {
                interpolation,
                coordinates: Coordinates::HalfPixel,
                scales: Vec::new(),
                axes: None,
                aspect: crate::graph::Aspect::Stretch,
                exclude_outside: false,
                antialias,
                extrapolation: 0.0,
            })
        };
        let cubic = Interpolation::Cubic { coefficient: -0.75 };
        for (interpolation, antialias, input, each) in [
            (Interpolation::Linear, false, [1, 3, 4, 4], 2 * 4),
            (Interpolation::Linear, true, [1, 3, 16, 4], 2 * 2 * 2 * 2),
            (cubic, false, [1, 3, 8, 4], 2 * 4),
            (
                Interpolation::Nearest(crate::graph::Rounding::Floor),
                false,
                [1, 3, 4, 4],
                0,
            ),
        ] {
            let known = count(&resize(interpolation, antialias), &[&input], &[1, 3, 8, 8]);
            assert_eq!(known, Some(3 * 64 * each), "{interpolation:?} {antialias}");
        }
    }

    #[test]
    fn an_equation_counts_every_value_of_its_letters() {
        let of = |text: &str| Op::Einsum(Equation::parse(text).unwrap());
        let shapes: [&[usize]; 2] = [&[7, 2, 3], &[7, 3, 5]];
        let matmul = count(&of("bij,bjk->bik"), &shapes, &[7, 2, 5]);
        assert_eq!(matmul, Some(2 * 7 * 2 * 3 * 5));
        assert_eq!(count(&of("...ij,...jk"), &shapes, &[7, 2, 5]), matmul);
        assert_eq!(count(&of("bij->bji"), &[&[7, 2, 3]], &[7, 3, 2]), Some(0));
        assert_eq!(count(&of("bij->b"), &[&[7, 2, 3]], &[7]), Some(42));
    }
}
