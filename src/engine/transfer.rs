//! Tensors on their way between devices: copied once, and counted.

use crate::telemetry::metrics::BlockMetrics;
use crate::types::{Device, Parts, Remote, Room, Rooms, Tensor, room_or_heap};

use super::sim::SimDevice;
use super::{EngineError, torch};

/// Returns tensors on a device; those of another are copied.
pub(super) fn bring(
    tensors: &[Tensor],
    device: Device,
    metrics: &BlockMetrics,
) -> Result<Vec<Tensor>, EngineError> {
    let brought = tensors.iter().map(|tensor| {
        if tensor.device() == device {
            return Ok(tensor.clone());
        }
        metrics.bytes_copied.add(tensor.byte_count() as u64);
        match readable(tensor)? {
            here if device == Device::Cpu && !tensor.is_readable() => Ok(here),
            here => Ok(copy(&here, device)),
        }
    });
    brought.collect()
}

/// Returns the bytes of a tensor that do not lie on a device.
pub(super) fn bytes_elsewhere(tensor: &Tensor, device: Device) -> u64 {
    let remote = tensor.as_remote();
    if let Some(parts) = remote.as_ref().and_then(Remote::downcast::<Parts>) {
        let parts = parts.tensors().iter();
        return parts.map(|part| bytes_elsewhere(part, device)).sum();
    }
    match tensor.device() == device {
        true => 0,
        false => tensor.byte_count() as u64,
    }
}

/// Returns a tensor in memory that the host can read.
fn readable(tensor: &Tensor) -> Result<Tensor, EngineError> {
    match tensor.is_readable() {
        true => Ok(tensor.clone()),
        false => torch::to_host(tensor),
    }
}

/// Returns the outputs of a run on a simulated device: those that leave the process are copied to where there is room for
/// them, the others stay.
pub(super) fn leave(
    outputs: Vec<Tensor>,
    device: Device,
    rooms: &dyn Rooms,
    metrics: &BlockMetrics,
) -> Result<Vec<Tensor>, EngineError> {
    let left = outputs.into_iter().enumerate().map(|(place, output)| {
        if !rooms.takes(place) {
            return Ok(output.on(device));
        }
        let bytes = output.bytes();
        transfer(device, bytes.len() as u64);
        metrics.bytes_copied.add(bytes.len() as u64);
        let mut room = room_or_heap(rooms, place, bytes.len());
        room.as_mut_slice().copy_from_slice(bytes);
        let shape = output.shape().to_vec();
        Ok(Tensor::new(output.dtype(), shape, room.into_memory())?)
    });
    left.collect()
}

/// Returns a copy of a tensor in memory of the host; `None`: it is there.
pub fn to_host(tensor: &Tensor) -> Result<Option<Tensor>, EngineError> {
    match tensor.device() {
        Device::Cpu => Ok(None),
        Device::Sim(_) if tensor.is_readable() => Ok(Some(copy(tensor, Device::Cpu))),
        Device::Sim(_) | Device::Cuda(_) => readable(tensor).map(Some),
    }
}

/// As [`to_host`], where the host cannot read a tensor; it is written to room there of as many bytes.
pub fn to_room(tensor: &Tensor, room: Box<dyn Room>) -> Result<Option<Tensor>, EngineError> {
    match tensor.is_readable() {
        true => to_host(tensor),
        false => torch::to_room(tensor, room).map(Some),
    }
}

fn copy(tensor: &Tensor, device: Device) -> Tensor {
    let bytes = tensor.byte_count() as u64;
    // From one device to another over the links of both, one after the other.
    for end in [tensor.device(), device] {
        transfer(end, bytes);
    }
    tensor.copied().on(device)
}

fn transfer(device: Device, bytes: u64) {
    if let Some(sim) = SimDevice::of(device) {
        sim.transfer(bytes);
    }
}
