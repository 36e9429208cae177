//! The boxes that no better box covers.

use tch::Tensor;

use super::super::cause::Cause;
use super::args::{Args, Kernel, number, signed};
use super::elements::Floats;

/// A box by its corners, the first one the lower in both coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    fn of(numbers: [f32; 4], center_point_box: bool) -> Self {
        if center_point_box {
            let [x, y, width, height] = numbers;
            let (half_width, half_height) = (width / 2.0, height / 2.0);
            return Self {
                low: [x - half_width, y - half_height],
                high: [x + half_width, y + half_height],
            };
        }
        let [a, b, c, d] = numbers;
        Self {
            low: [a.min(c), b.min(d)],
            high: [a.max(c), b.max(d)],
        }
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Tells whether the part that both cover, of what either covers, is more than `threshold`.
    fn overlaps(&self, other: &Self, threshold: f32) -> bool {
        let side = |axis: usize| {
            (self.high[axis].min(other.high[axis]) - self.low[axis].max(other.low[axis])).max(0.0)
        };
        let both = side(0) * side(1);
        let either = self.area() + other.area() - both;
        self.area() > 0.0 && other.area() > 0.0 && either > 0.0 && both / either > threshold
    }
}

/// `test_nonmaxsuppression_center_point_box_format`, `_flipped_coordinates`, `_identical_boxes`,
/// `_iou_threshold_boundary`, `_limit_output_size`, `_single_box`, `_suppress_by_IOU`,
/// `_suppress_by_IOU_and_scores`, `_two_batches`, `_two_classes`
pub(super) fn non_max_suppression(center_point_box: bool) -> Kernel {
    Box::new(move |args| {
        let (boxes, scores) = (args.tensor(0)?, args.tensor(1)?);
        let (box_shape, score_shape) = (boxes.size(), scores.size());
        let ([batch, count, 4], [items, classes, scored]) = (&box_shape[..], &score_shape[..])
        else {
            return Err(unfit(&box_shape, &score_shape));
        };
        if batch != items || count != scored {
            return Err(unfit(&box_shape, &score_shape));
        }
        let most = match args.optional(2)? {
            Some(most) => number(most)?.to_f64(),
            None => 0.0,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast saturates; more boxes than there are will not be found"
        )]
        let most = most as usize;
        let overlap = threshold(args, 3)?.unwrap_or(0.0);
        let least = threshold(args, 4)?;
        let (boxes, scores) = (Floats::of(boxes)?, Floats::of(scores)?);
        let corners: Vec<Corners> = boxes
            .as_slice()
            .as_chunks()
            .0
            .iter()
            .map(|numbers| Corners::of(*numbers, center_point_box))
            .collect();
        let count = usize::try_from(*count).unwrap_or(0);
        let classes_count = usize::try_from(*classes).unwrap_or(0);
        let mut rows: Vec<i64> = Vec::new();
        if count > 0 {
            for (row, scores) in scores.as_slice().chunks_exact(count).enumerate() {
                let (item, class) = (row / classes_count.max(1), row % classes_count.max(1));
                let corners = &corners[item * count..(item + 1) * count];
                for kept in kept(corners, scores, most, overlap, least) {
                    rows.extend([item, class, kept].map(signed));
                }
            }
        }
        Ok(Tensor::f_from_slice(&rows)?.f_reshape([-1, 3])?.into())
    })
}

fn unfit(boxes: &[i64], scores: &[i64]) -> Cause {
    Cause::new(format!("scores {scores:?} do not fit boxes {boxes:?}"))
}

/// Returns a bound; an input without elements is none.
fn threshold(args: &Args<'_>, input: usize) -> Result<Option<f32>, Cause> {
    #[expect(clippy::cast_possible_truncation, reason = "it is FP32 in the model")]
    args.optional(input)?
        .filter(|bound| bound.numel() > 0)
        .map(|bound| Ok(number(bound)?.to_f64() as f32))
        .transpose()
}

/// Returns the boxes of one class that stay, best first; of equal scores, the first.
fn kept(
    corners: &[Corners],
    scores: &[f32],
    most: usize,
    overlap: f32,
    least: Option<f32>,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len())
        .filter(|&place| least.is_none_or(|least| scores[place] > least))
        .collect();
    order.sort_by(|&left, &right| scores[right].total_cmp(&scores[left]));
    let mut kept: Vec<usize> = Vec::new();
    for candidate in order {
        if kept.len() >= most {
            break;
        }
        let covered = kept
            .iter()
            .any(|&other| corners[candidate].overlaps(&corners[other], overlap));
        if !covered {
            kept.push(candidate);
        }
    }
    kept
}
