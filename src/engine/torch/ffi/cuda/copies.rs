//! Copies between the host and a device, and between devices.

#![expect(unsafe_code, reason = "has devices copy memory by themselves")]

use std::any::Any;
use std::sync::Arc;

use crate::engine::cuda::{PinnedBlock, Stream, is_registered, keep_until, let_go_after};
use crate::types::{AlignedBytes, DType, HostMemory, Room, Tensor};

use super::super::super::cause::Cause;
use super::super::super::dtype::{dtype_of, scalar_type};
use super::super::bindings::blockflow_cuda_empty;
use super::super::memory::SharedTensor;
use super::allocator::record;
use super::call::{ordinal, shim_tensor};
use super::memory::{CudaMemory, shape_of, take_in};
use super::place::elements;
use super::{InStream, TransferError};

/// Copies what the host holds to the device of a stream, which waits for that.
pub(super) fn upload(
    tensor: &Tensor,
    stream: &Stream,
    copies: &Stream,
) -> Result<tch::Tensor, TransferError> {
    let bytes = tensor.bytes();
    let made = fresh(tensor.dtype(), tensor.shape(), copies)?;
    let (address, length) = elements(&made)?;
    if length == 0 {
        return Ok(made);
    }
    if length != bytes.len() {
        let cause = format!(
            "{tensor:?} has {} bytes, libtorch takes {length}",
            bytes.len()
        );
        return Err(Cause::new(cause).into());
    }
    let event = copies.event()?;
    let memory = tensor.memory().clone();
    let owner: &dyn Any = memory.as_ref();
    let pinned = owner.is::<PinnedBlock>();
    let block = match pinned || is_registered(bytes) {
        // Brought here before, as from another device, or shared by another process: it lies as it should.
        true => None,
        false => copies.context().pinned().take(length),
    };
    let (begun, waited);
    if let Some(mut block) = block {
        block.as_mut_slice().copy_from_slice(bytes);
        // SAFETY: `made` is `length` bytes of this device, which the allocator gives to nobody else before this stream is done
        // with them, and nobody else has it yet. The block is given to nobody else before the event.
        begun = unsafe { copies.copy_in(address, block.as_slice()) };
        waited = event.record(copies).and_then(|()| stream.wait(&event));
        block.hold_until(event);
    } else {
        // SAFETY: as above; `bytes` stay until the event, as their owner does, whatever memory they are.
        begun = unsafe { copies.copy_in(address, bytes) };
        waited = event.record(copies).and_then(|()| stream.wait(&event));
        match pinned {
            true => keep_until(event, Box::new(memory)),
            // It may be another process's, in whole or in part, which is told when this one has done with it.
            false => let_go_after(Arc::new(event), Box::new(memory)),
        }
    }
    begun.and(waited)?;
    record(&made, stream)?;
    Ok(made)
}

/// Copies memory of another CUDA device to that of a stream, which waits for that.
pub(super) fn across(
    memory: &CudaMemory,
    stream: &Stream,
    copies: &Stream,
) -> Result<tch::Tensor, TransferError> {
    let source = memory.tensor.handle();
    let kind = source.f_kind()?;
    let dtype = dtype_of(kind).ok_or_else(|| Cause::new(format!("input has type {kind:?}")))?;
    let made = fresh(dtype, &shape_of(&source)?, copies)?;
    let (from, length) = elements(&source)?;
    let (to, _) = elements(&made)?;
    if length > 0 {
        copies.wait(&memory.ready)?;
        let event = copies.event()?;
        // SAFETY: both are `length` bytes of their devices, and nobody has `made` yet. The source stays until the event: the
        // allocator of its device is not told of streams of another, so its handle is kept until then.
        unsafe { copies.copy_across(to, (memory.ready.context(), from), length)? };
        let waited = event.record(copies).and_then(|()| stream.wait(&event));
        keep_until(event, Box::new(SharedTensor::new(source)));
        waited?;
        record(&made, stream)?;
    }
    Ok(made)
}

/// Copies a tensor of a CUDA device to the host, after all that it is computed from. Waits for that, and for nothing else.
pub(crate) fn download(tensor: &Tensor, copies: &Stream) -> Result<Tensor, TransferError> {
    let taken = taken_for(tensor, copies)?;
    let length = tensor.byte_count();
    let memory: Arc<dyn HostMemory> = match copies.context().pinned().take(length) {
        Some(mut block) => {
            fetch(&taken, block.as_mut_slice(), copies)?;
            Arc::new(block)
        }
        None => {
            let mut bytes = AlignedBytes::zeroed(length);
            fetch(&taken, bytes.as_mut_slice(), copies)?;
            Arc::new(bytes)
        }
    };
    let made = Tensor::new(tensor.dtype(), tensor.shape().to_vec(), memory);
    made.map_err(|error| Cause::new(error.to_string()).into())
}

/// Copies a tensor of a CUDA device into room on the host, after all that it is computed from. Waits for that, and for nothing
/// else.
pub(crate) fn download_into(
    tensor: &Tensor,
    mut room: Box<dyn Room>,
    copies: &Stream,
) -> Result<Tensor, TransferError> {
    let taken = taken_for(tensor, copies)?;
    fetch(&taken, room.as_mut_slice(), copies)?;
    let made = Tensor::new(tensor.dtype(), tensor.shape().to_vec(), room.into_memory());
    made.map_err(|error| Cause::new(error.to_string()).into())
}

/// Returns a row-major tensor that may be read in a stream.
pub(super) fn taken_for(tensor: &Tensor, copies: &Stream) -> Result<tch::Tensor, TransferError> {
    let _current = InStream::enter(copies)?;
    Ok(take_in(tensor, copies, copies)?.f_contiguous()?)
}

/// Copies all elements to the host and waits for them.
fn fetch(taken: &tch::Tensor, to: &mut [u8], copies: &Stream) -> Result<(), TransferError> {
    let (address, length) = elements(taken)?;
    if length != to.len() {
        let cause = format!("{length} bytes of a device for {} of the host", to.len());
        return Err(Cause::new(cause).into());
    }
    if length > 0 {
        let done = copies.event()?;
        // SAFETY: `taken` is `length` bytes of this device that nobody writes to any more. Both sides are borrowed until the
        // copy is done, which is waited for, or the device is lost.
        let begun = unsafe { copies.copy_out(to, address) };
        done.record(copies)?;
        done.wait()?;
        begun?;
    }
    Ok(())
}

/// Returns a tensor that nobody has and whose memory is that of a stream.
pub(super) fn fresh(
    dtype: DType,
    shape: &[usize],
    stream: &Stream,
) -> Result<tch::Tensor, TransferError> {
    let _current = InStream::enter(stream)?;
    let sizes = shape.iter().map(|&size| i64::try_from(size));
    let sizes = sizes.collect::<Result<Vec<_>, _>>();
    let sizes = sizes.map_err(|_| Cause::new("a dimension is too large"))?;
    let scalar_type = scalar_type(dtype)?;
    let made = shim_tensor(|error| {
        // SAFETY: as many sizes as told, which outlive the call.
        unsafe {
            blockflow_cuda_empty(
                ordinal(stream),
                sizes.as_ptr(),
                sizes.len(),
                scalar_type,
                error,
            )
        }
    });
    Ok(made?)
}
