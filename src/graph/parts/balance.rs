//! Equal shares of a graph along its chain of cut points.

use crate::graph::cost::{Cost, Costs};
use crate::graph::{Graph, GraphError, ValueId};

use super::CutPoint;

/// Operations that a core computes in the time in which it moves one byte to or from memory. Shares are weighed by
/// operations plus bytes times this, so that a layer of few operations and many weights counts for what it is.
const FLOPS_PER_BYTE: u64 = 8;

impl Graph {
    /// Returns the tensors that cut the graph into a chain of `parts` so that the heaviest part is as light as can be;
    /// among such cuts, those that the fewest bytes cross.
    ///
    /// Only tensors that nothing else crosses beside are considered. A part weighs its operations, and the bytes of its
    /// weights and of the tensors it takes and gives.
    ///
    /// # Errors
    /// If there are not as many points to cut at.
    pub fn balanced_cuts(&self, costs: &Costs, parts: usize) -> Result<Vec<ValueId>, GraphError> {
        let points = self.cut_points(costs);
        let cuts = parts.saturating_sub(1);
        if cuts > points.len() {
            return Err(GraphError::TooFewCuts {
                path: self.path.clone(),
                parts,
                most: points.len() + 1,
            });
        }
        let chain = Chain::of(costs.total(self), costs, &points);
        let chosen = chain.choose(cuts);
        Ok(chosen
            .into_iter()
            .map(|place| points[place].value)
            .collect())
    }
}

/// A chain of stretches between boundaries: boundary 0 is the beginning, the last one the end.
struct Chain {
    before: Vec<Cost>,
    after: Vec<Cost>,
    bytes: Vec<u64>,
    total: Cost,
}

/// How good the best cuts up to a boundary are: the heaviest part, then the bytes that cross.
type Weight = (u64, u64);

impl Chain {
    fn of(total: Cost, costs: &Costs, points: &[CutPoint]) -> Self {
        let none = Cost::default();
        let inner = |side: fn(&CutPoint) -> Cost| points.iter().map(side);
        Self {
            before: [none]
                .into_iter()
                .chain(inner(|point| point.before))
                .chain([total])
                .collect(),
            after: [total]
                .into_iter()
                .chain(inner(|point| point.after))
                .chain([none])
                .collect(),
            bytes: [0]
                .into_iter()
                .chain(
                    points
                        .iter()
                        .map(|point| costs.bytes(point.value).unwrap_or(0)),
                )
                .chain([0])
                .collect(),
            total,
        }
    }

    /// Weighs the part between two boundaries.
    fn weight(&self, from: usize, to: usize) -> u64 {
        let outside = |sum: fn(&Cost) -> u64| {
            sum(&self.total)
                .saturating_sub(sum(&self.before[from]).saturating_add(sum(&self.after[to])))
        };
        let bytes = outside(|cost| cost.weight_bytes) + self.bytes[from] + self.bytes[to];
        outside(|cost| cost.flops).saturating_add(bytes.saturating_mul(FLOPS_PER_BYTE))
    }

    /// Returns the points, counted from 0, at which `cuts` cuts make the best chain.
    fn choose(&self, cuts: usize) -> Vec<usize> {
        let end = self.bytes.len() - 1;
        // best[k][b]: the best chain up to boundary b with k cuts before it, and where its last cut is.
        let mut best: Vec<Vec<Option<(Weight, usize)>>> = Vec::with_capacity(cuts + 1);
        best.push(
            (0..=end)
                .map(|to| (to > 0).then(|| ((self.weight(0, to), 0), 0)))
                .collect(),
        );
        for count in 1..=cuts {
            let row = (0..=end).map(|to| {
                let ways = (count..to).filter_map(|cut| {
                    let ((heaviest, crossing), _) = best[count - 1][cut]?;
                    let weight = heaviest.max(self.weight(cut, to));
                    Some(((weight, crossing + self.bytes[cut]), cut))
                });
                ways.min()
            });
            let row = row.collect();
            best.push(row);
        }
        let mut chosen = Vec::with_capacity(cuts);
        let mut at = end;
        for row in best[1..].iter().rev() {
            let Some((_, cut)) = row[at] else { break };
            chosen.push(cut - 1);
            at = cut;
        }
        chosen.reverse();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(flops: &[u64], bytes: &[u64]) -> Chain {
        let sum = |part: &[u64]| Cost {
            flops: part.iter().sum(),
            ..Cost::default()
        };
        Chain {
            before: (0..=flops.len())
                .map(|place| sum(&flops[..place]))
                .collect(),
            after: (0..=flops.len())
                .map(|place| sum(&flops[place..]))
                .collect(),
            bytes: [&[0], bytes, &[0]].concat(),
            total: sum(flops),
        }
    }

    #[test]
    fn the_heaviest_part_is_as_light_as_can_be() {
        let even = chain(&[10, 10, 10, 10, 10, 10], &[0; 5]);
        assert_eq!(even.choose(2), [1, 3]);
        assert_eq!(even.choose(0), Vec::<usize>::new());
        let heavy_tail = chain(&[1, 1, 1, 1, 100], &[0; 4]);
        assert_eq!(heavy_tail.choose(1), [3]);
        assert_eq!(heavy_tail.choose(4), [0, 1, 2, 3]);
    }

    #[test]
    fn of_equally_light_parts_the_narrowest_cut_wins() {
        let chain = chain(&[1000, 0, 0, 1000], &[3, 1, 2]);
        assert_eq!(chain.choose(1), [1]);
    }
}
