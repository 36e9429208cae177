//! Tensors of libtorch on a device as tensors of this program, and back.

use std::fmt;
use std::sync::Arc;

use crate::engine::cuda::{Event, Stream};
use crate::types::{DType, Device, Parts, RemoteMemory, Shape, Tensor};

use super::super::super::cause::Cause;
use super::super::super::dtype::dtype_of;
use super::super::memory::SharedTensor;
use super::TransferError;
use super::allocator::record;
use super::call::device_of;
use super::copies::{across, upload};
use super::place::elements;

/// Memory of a row-major tensor on a CUDA device.
pub(crate) struct CudaMemory {
    pub(super) tensor: SharedTensor,
    device: Device,
    length: usize,
    /// After which the elements are computed.
    pub(super) ready: Arc<Event>,
    /// The address of the stream in which they are, and in which nobody has to wait for the event.
    stream: usize,
}

impl CudaMemory {
    /// Memory that a stream is to fill until an event.
    pub(super) fn new(
        tensor: SharedTensor,
        length: usize,
        ready: Arc<Event>,
        stream: &Stream,
    ) -> Self {
        Self {
            tensor,
            device: device_of(stream),
            length,
            ready,
            stream: stream.address(),
        }
    }
}

impl RemoteMemory for CudaMemory {
    fn device(&self) -> Device {
        self.device
    }

    fn byte_count(&self) -> usize {
        self.length
    }
}

/// Turns results of a run in a stream into tensors of this program, which hold once all is done that the stream was given
/// until now. The caller gives up writing to them.
pub(crate) fn leave(
    results: Vec<tch::Tensor>,
    stream: &Stream,
) -> Result<Vec<Tensor>, TransferError> {
    let results = results.iter().map(tch::Tensor::f_contiguous);
    let results: Vec<_> = results.collect::<Result<_, _>>()?;
    let ready = Arc::new(stream.record()?);
    let leave = |result: tch::Tensor| {
        let (_, length) = elements(&result)?;
        let kind = result.f_kind()?;
        let dtype =
            dtype_of(kind).ok_or_else(|| Cause::new(format!("result has type {kind:?}")))?;
        let shape = shape_of(&result)?;
        let memory = CudaMemory::new(SharedTensor::new(result), length, ready.clone(), stream);
        Ok(described(dtype, shape, Arc::new(memory))?)
    };
    results.into_iter().map(leave).collect()
}

/// Returns a tensor as one of libtorch on the device of a stream, in which it may be read from now on, by nobody but the
/// stream's work. What lies elsewhere is copied in `copies`, a stream of the same device.
pub(crate) fn take_in(
    tensor: &Tensor,
    stream: &Stream,
    copies: &Stream,
) -> Result<tch::Tensor, TransferError> {
    let Some(remote) = tensor.as_remote() else {
        return upload(tensor, stream, copies);
    };
    if let Some(parts) = remote.downcast::<Parts>() {
        let parts = parts.tensors().iter();
        let parts = parts.map(|part| take_in(part, stream, copies));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let whole = tch::Tensor::f_cat(&parts, 0)?;
        return rows(whole, tensor, remote.range.start);
    }
    let Some(memory) = remote.downcast::<CudaMemory>() else {
        let device = tensor.device();
        return Err(Cause::new(format!(
            "{tensor:?} is memory of {device} that is not libtorch's"
        ))
        .into());
    };
    let here = if memory.device == device_of(stream) {
        if memory.stream != stream.address() {
            stream.wait(&memory.ready)?;
            record(&memory.tensor.handle(), stream)?;
        }
        memory.tensor.handle()
    } else {
        across(memory, stream, copies)?
    };
    rows(here, tensor, remote.range.start)
}

/// Returns the rows of a whole that a tensor of ours stands for.
fn rows(whole: tch::Tensor, tensor: &Tensor, start: usize) -> Result<tch::Tensor, TransferError> {
    let (Some(all), count) = (whole.size().first().copied(), tensor.rows()) else {
        return Ok(whole);
    };
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if all == count {
        return Ok(whole);
    }
    let row = tensor.byte_count().checked_div(tensor.rows()).unwrap_or(0);
    let first = start.checked_div(row).unwrap_or(0);
    Ok(whole.f_narrow(0, i64::try_from(first).unwrap_or(i64::MAX), count)?)
}

pub(super) fn shape_of(tensor: &tch::Tensor) -> Result<Shape, Cause> {
    let sizes = tensor.size().into_iter();
    let sizes = sizes.map(usize::try_from);
    let sizes = sizes.collect::<Result<_, _>>();
    sizes.map_err(|_| Cause::new("result has a negative size"))
}

fn described(dtype: DType, shape: Shape, memory: Arc<CudaMemory>) -> Result<Tensor, Cause> {
    let made = Tensor::remote(dtype, shape, memory);
    made.map_err(|error| Cause::new(error.to_string()))
}

impl fmt::Debug for CudaMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CudaMemory")
            .field("tensor", &self.tensor)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
