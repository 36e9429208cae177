//! Operations of recurrent layers.

use crate::graph::{Cell, Recurrent};

use super::shapes::{Shapes, elements, times};

/// What a hidden element takes in a step beside the products: activations of the gates, then how they are put together.
const fn cell(cell: Cell) -> u64 {
    match cell {
        Cell::Rnn => 1,
        // Three activations; r ∘ h; (1 − z) ∘ n + z ∘ h.
        Cell::Gru { .. } => 3 + 1 + 4,
        // Four activations and that of the state; f ∘ c + i ∘ g; o ∘ c.
        Cell::Lstm { .. } => 5 + 3 + 1,
    }
}

/// In every step, for every row and direction: two products with the weights of all gates, their sum, both biases, and the
/// cell (Hochreiter and Schmidhuber, 1997; Cho et al., 2014, with the gates of ONNX).
pub(super) fn recurrent(op: &Recurrent, shapes: &Shapes<'_>) -> Option<u64> {
    let &[_, _, input] = shapes.input(0)? else {
        return None;
    };
    let steps = elements(shapes.input(0)?.get(..2)?);
    let &[directions, _, hidden] = shapes.input(2)? else {
        return None;
    };
    let gates = times(op.cell.gates() as u64, hidden as u64);
    let products = times(2, (input as u64).saturating_add(hidden as u64));
    let biases = if shapes.has(3) { 2 } else { 0 };
    let peepholes = if shapes.has(7) { 6 } else { 0 };
    let step = times(gates, products.saturating_add(1 + biases))
        .saturating_add(times(hidden as u64, cell(op.cell) + peepholes));
    Some(times(times(steps, directions as u64), step))
}
