//! What was served before, until nobody has it any more.
//!
//! Whoever begins a request takes the pointer to what is served, adds the request to what is in flight there, and lets the
//! pointer go at the answer or before. So what was replaced is over once this pointer is the last one and nothing is in
//! flight; nobody can take it again. `tests/it/epoch_switch.rs` has every order of these steps checked.

use super::sync::Arc;

/// Something that was taken out of sight, and may be in use.
#[derive(Debug)]
pub(super) struct Leaving<T>(Arc<T>);

impl<T> Leaving<T> {
    pub(super) fn new(replaced: Arc<T>) -> Self {
        Self(replaced)
    }

    /// Returns it if nobody else has it. What others did with it before is seen then, which a count of the pointers
    /// would not promise.
    pub(super) fn alone(&mut self) -> Option<&mut T> {
        Arc::get_mut(&mut self.0)
    }
}
