//! What the rest of the program asks of libtorch's CUDA half.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::engine::EngineError;
use crate::engine::cuda::{Context, Priority, Stream};
use crate::types::{Device, Room, Tensor};

use super::aten::Failed;
use super::ffi::{InferenceMode, NoTorchCuda, begin, cuda};

thread_local! {
    /// In which this thread has tensors copied to the host, for each device: another's copies are not waited for.
    static COPIES: RefCell<BTreeMap<u16, Stream>> = const { RefCell::new(BTreeMap::new()) };
}

/// Tells whether libtorch computes on CUDA devices in this process. The first time, this settles it.
pub fn cuda_available() -> Result<(), NoTorchCuda> {
    begin().clone()
}

/// Returns a tensor of a CUDA device in memory of the host. Waits for what it is computed from, and for nothing else.
pub fn to_host(tensor: &Tensor) -> Result<Tensor, EngineError> {
    let Device::Cuda(ordinal) = tensor.device() else {
        return Ok(tensor.clone());
    };
    from_device(ordinal, |stream| Ok(cuda::download(tensor, stream)?))
}

/// As [`to_host`], into room of as many bytes.
pub fn to_room(tensor: &Tensor, room: Box<dyn Room>) -> Result<Tensor, EngineError> {
    let Device::Cuda(ordinal) = tensor.device() else {
        return Ok(tensor.clone());
    };
    from_device(ordinal, |stream| {
        Ok(cuda::download_into(tensor, room, stream)?)
    })
}

/// Calls with a stream of this thread for copies from a device.
fn from_device(
    ordinal: u16,
    copy: impl FnOnce(&Stream) -> Result<Tensor, Failed>,
) -> Result<Tensor, EngineError> {
    COPIES.with_borrow_mut(|copies| {
        let fetched = fetch(copies, ordinal, copy);
        fetched.map_err(|failed| failed.on(ordinal, copies.get(&ordinal)))
    })
}

fn fetch(
    copies: &mut BTreeMap<u16, Stream>,
    ordinal: u16,
    copy: impl FnOnce(&Stream) -> Result<Tensor, Failed>,
) -> Result<Tensor, Failed> {
    let _mode = InferenceMode::enter()?;
    let stream = match copies.remove(&ordinal) {
        Some(stream) => stream,
        None => Stream::new(&Context::of(ordinal)?, Priority::Normal)?,
    };
    let stream = copies.entry(ordinal).or_insert(stream);
    copy(stream)
}
