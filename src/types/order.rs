//! Orders in which the dimensions of a tensor lie in memory, other than row-major.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{AlignedBytes, HostMemory, RANK_MAX, Shape};

/// Side of the square tiles in which elements change places, so that both sides of a tile stay in cache.
const TILE: usize = 32;

/// Dimensions from the outermost in memory to the innermost: a permutation other than row-major.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Order(Vec<u8>);

/// Memory that holds a tensor densely in another order of its dimensions. They are put in row-major order once, when
/// somebody first asks for them so.
pub struct Ordered {
    memory: Arc<dyn HostMemory>,
    shape: Shape,
    order: Order,
    row_major: OnceLock<AlignedBytes>,
}

impl Order {
    /// `None`: not a permutation of at most [`RANK_MAX`] dimensions, or that of row-major.
    pub fn new(dims: impl Into<Vec<u8>>) -> Option<Self> {
        let dims = dims.into();
        let rank = dims.len();
        let row_major = dims.iter().map(|&dim| usize::from(dim)).eq(0..rank);
        if rank > RANK_MAX || row_major {
            return None;
        }
        let mut seen = [false; RANK_MAX];
        let fresh = |&dim: &u8| {
            let dim = usize::from(dim);
            dim < rank && !std::mem::replace(&mut seen[dim], true)
        };
        dims.iter().all(fresh).then_some(Self(dims))
    }

    /// Returns the order in which the second dimension of several lies innermost. `None`: there is nothing to move.
    pub fn channels_last(rank: usize) -> Option<Self> {
        let rank = u8::try_from(rank).ok().filter(|&rank| rank > 2)?;
        Self::new(
            [0].into_iter()
                .chain(2..rank)
                .chain([1])
                .collect::<Vec<_>>(),
        )
    }

    pub fn rank(&self) -> usize {
        self.0.len()
    }

    pub fn dims(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether the first dimension lies outermost, so that some of its rows are a range of the memory of all.
    pub fn keeps_rows(&self) -> bool {
        self.0.first() == Some(&0)
    }

    /// Returns the distance in elements between neighbours along each dimension of a shape of this rank that has elements.
    pub fn strides(&self, shape: &[usize]) -> Vec<usize> {
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for &dim in self.0.iter().rev() {
            strides[usize::from(dim)] = stride;
            stride *= shape[usize::from(dim)];
        }
        strides
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ordered {
    /// `memory` holds the elements of `shape`, which are more than none, and `order` is of its rank.
    pub(super) fn new(memory: Arc<dyn HostMemory>, shape: Shape, order: Order) -> Self {
        Self {
            memory,
            shape,
            order,
            row_major: OnceLock::new(),
        }
    }

    /// Returns the owner of the elements as they lie.
    pub fn memory(&self) -> &Arc<dyn HostMemory> {
        &self.memory
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn order(&self) -> &Order {
        &self.order
    }
}

impl HostMemory for Ordered {
    fn bytes(&self) -> &[u8] {
        self.row_major
            .get_or_init(|| row_major(self.memory.bytes(), &self.shape, &self.order))
            .bytes()
    }

    fn byte_count(&self) -> usize {
        self.memory.byte_count()
    }

    fn ordered(&self) -> Option<&Ordered> {
        Some(self)
    }
}

impl fmt::Debug for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ordered")
            .field("memory", &self.memory)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

/// A dimension: its size, and the distance of neighbours in what is read and in what is written.
#[derive(Clone, Copy)]
struct Along {
    size: usize,
    from: usize,
    to: usize,
}

/// Returns elements in row-major order that lie in another.
fn row_major(bytes: &[u8], shape: &[usize], order: &Order) -> AlignedBytes {
    let count: usize = shape.iter().product();
    let mut target = AlignedBytes::zeroed(bytes.len());
    let Some(size) = bytes.len().checked_div(count) else {
        return target;
    };
    let mut along: Vec<Along> = Vec::new();
    let mut to = count;
    for (&size, from) in shape.iter().zip(order.strides(shape)) {
        to /= size;
        match along.last_mut() {
            _ if size == 1 => {}
            // Neighbours on both sides: one dimension.
            Some(outer) if outer.from == from * size => {
                *outer = Along {
                    size: outer.size * size,
                    from,
                    to,
                };
            }
            _ => along.push(Along { size, from, to }),
        }
    }
    let bytes_to = target.as_mut_slice();
    match size {
        1 => rearrange::<1>(bytes, bytes_to, along),
        2 => rearrange::<2>(bytes, bytes_to, along),
        4 => rearrange::<4>(bytes, bytes_to, along),
        8 => rearrange::<8>(bytes, bytes_to, along),
        _ => {
            let widen = |one: Along| Along {
                size: one.size,
                from: one.from * size,
                to: one.to * size,
            };
            let within = Along {
                size,
                from: 1,
                to: 1,
            };
            let along = along.into_iter().map(widen).chain([within]).collect();
            rearrange::<1>(bytes, bytes_to, along);
        }
    }
    target
}

/// Moves elements of `N` bytes from one order to another; `along` are all dimensions of more than one element.
fn rearrange<const N: usize>(from: &[u8], to: &mut [u8], mut along: Vec<Along>) {
    let (from, _) = from.as_chunks::<N>();
    let (to, _) = to.as_chunks_mut::<N>();
    // Tiles go along the dimension that is read in sequence and the one that is written so.
    let take = |along: &mut Vec<Along>, next: fn(&Along) -> usize| {
        let place = along.iter().position(|one| next(one) == 1);
        place.map(|place| along.remove(place))
    };
    let one = Along {
        size: 1,
        from: 0,
        to: 0,
    };
    let written = take(&mut along, |one| one.to).unwrap_or(one);
    let read = take(&mut along, |one| one.from).unwrap_or(one);
    let mut at = vec![0; along.len()];
    loop {
        let start = |next: fn(&Along) -> usize| -> usize {
            at.iter().zip(&along).map(|(&at, one)| at * next(one)).sum()
        };
        let from = &from[start(|one| one.from)..];
        let to = &mut to[start(|one| one.to)..];
        for rows in (0..read.size).step_by(TILE) {
            for columns in (0..written.size).step_by(TILE) {
                for row in rows..read.size.min(rows + TILE) {
                    for column in columns..written.size.min(columns + TILE) {
                        to[row * read.to + column * written.to] =
                            from[row * read.from + column * written.from];
                    }
                }
            }
        }
        // The next place of the other dimensions, the last of which counts fastest.
        let Some(dim) = (0..at.len()).rev().find(|&dim| {
            at[dim] = (at[dim] + 1) % along[dim].size;
            at[dim] > 0
        }) else {
            return;
        };
        debug_assert!(at[dim] < along[dim].size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The model looks every element up by its indices.
        #[test]
        fn elements_are_those_of_their_indices(
            shape in prop::collection::vec(1_usize..6, 2..5), size in 1_usize..10, seed in any::<u64>()
        ) {
            let mut dims: Vec<u8> = (0..shape.len() as u8).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut dims);
            let Some(order) = Order::new(dims) else {
                return Ok(());
            };
            let count: usize = shape.iter().product();
            let bytes: Vec<u8> = (0..count * size).map(|byte| byte as u8).collect();
            let strides = order.strides(&shape);
            let mut expected: Vec<u8> = Vec::new();
            for index in 0..count {
                let mut rest = index;
                let mut at = 0;
                for (&size, stride) in shape.iter().zip(&strides).rev() {
                    at += rest % size * stride;
                    rest /= size;
                }
                expected.extend(&bytes[at * size..][..size]);
            }
            let seen = row_major(&bytes, &shape, &order);
            prop_assert_eq!(seen.bytes(), expected);
        }

        #[test]
        fn tiles_of_any_size_are_covered(rows in 30_usize..70, columns in 30_usize..70) {
            let order = Order::new([1, 0]).expect("a permutation");
            let bytes: Vec<u8> = (0..rows * columns).map(|byte| byte as u8).collect();
            let turned = row_major(&bytes, &[rows, columns], &order);
            for (index, &byte) in turned.bytes().iter().enumerate() {
                prop_assert_eq!(byte, bytes[index % columns * rows + index / columns]);
            }
        }
    }

    #[test]
    fn only_other_permutations_are_orders() {
        assert_eq!(Order::new([0, 2, 3, 1]), Order::channels_last(4));
        assert_eq!(
            Order::channels_last(5).expect("five dimensions").dims(),
            [0, 2, 3, 4, 1]
        );
        assert!(Order::channels_last(2).is_none() && Order::channels_last(3).is_some());
        for none in [
            &[][..],
            &[0],
            &[1],
            &[0, 1, 2],
            &[0, 0],
            &[1, 2],
            &[2, 1, 255],
            &[1, 0, 1],
        ] {
            assert_eq!(Order::new(none), None, "{none:?}");
        }
        let most = (0..=RANK_MAX as u8).rev().collect::<Vec<_>>();
        assert!(Order::new(&most[1..]).is_some());
        assert_eq!(Order::new(most), None);
    }
}
