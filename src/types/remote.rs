//! Memory that the host cannot read.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{Device, Tensor};

/// Memory of a device that the host cannot read, and that nobody writes any more. What it is, and when it holds what it is to
/// hold, its engine knows, which finds its own again by its type.
///
/// Who wants the bytes on the host has them copied there, which is never done unasked.
pub trait RemoteMemory: Any + Send + Sync + fmt::Debug {
    fn device(&self) -> Device;

    /// Returns the number of bytes, which lie in row-major order.
    fn byte_count(&self) -> usize;
}

/// Where the elements of a tensor lie that the host cannot read.
#[derive(Debug)]
pub struct Remote<'a> {
    pub memory: &'a Arc<dyn RemoteMemory>,
    /// Bytes of the memory that are the elements.
    pub range: Range<usize>,
}

/// Tensors that are one along the first dimension for whoever puts them together, which takes their device.
#[derive(Debug)]
pub struct Parts {
    tensors: Vec<Tensor>,
    device: Device,
    bytes: usize,
}

impl Parts {
    /// `device` is one that a tensor lies on.
    pub(super) fn new(tensors: Vec<Tensor>, device: Device) -> Self {
        let bytes = tensors.iter().map(Tensor::byte_count).sum();
        Self {
            tensors,
            device,
            bytes,
        }
    }

    /// Returns the parts in their order, some of which may lie on the host.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }
}

impl RemoteMemory for Parts {
    fn device(&self) -> Device {
        self.device
    }

    fn byte_count(&self) -> usize {
        self.bytes
    }
}

impl Remote<'_> {
    /// Returns the memory, if it is of that type.
    pub fn downcast<M: RemoteMemory>(&self) -> Option<&M> {
        let any: &dyn Any = self.memory.as_ref();
        any.downcast_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DType, Shape, TensorError};

    #[derive(Debug)]
    struct Far(usize);

    impl RemoteMemory for Far {
        fn device(&self) -> Device {
            Device::Cuda(3)
        }

        fn byte_count(&self) -> usize {
            self.0
        }
    }

    fn far(shape: Shape) -> Tensor {
        let bytes = shape.iter().product::<usize>() * 4;
        Tensor::remote(DType::F32, shape, Arc::new(Far(bytes))).expect("as many bytes")
    }

    #[test]
    fn a_remote_tensor_is_described_and_cut_without_being_read() {
        let tensor = far(vec![6, 5]);
        assert_eq!(tensor.device(), Device::Cuda(3));
        assert!(!tensor.is_readable());
        let rows = tensor.slice_rows(2..4).expect("there are six");
        assert_eq!(rows.shape(), [2, 5]);
        let remote = rows.as_remote().expect("it is remote");
        assert_eq!(remote.range, 40..80);
        assert_eq!(remote.downcast::<Far>().expect("its own").0, 120);
        assert!(remote.downcast::<Parts>().is_none());
    }

    #[test]
    fn remote_memory_that_does_not_hold_the_elements_is_refused() {
        let made = Tensor::remote(DType::F32, vec![2, 2], Arc::new(Far(15)));
        assert!(matches!(made, Err(TensorError::Length { seen: 15, .. })));
        let strings = Tensor::remote(DType::Bytes, vec![1], Arc::new(Far(4)));
        assert!(strings.is_err());
    }

    #[test]
    fn a_batch_of_which_a_part_is_remote_is_left_to_be_put_together_there() {
        let here = Tensor::copy_of(DType::F32, vec![1, 2], &[0; 8]).expect("as many bytes");
        let there = far(vec![3, 2]);
        let joined = Tensor::join_rows(&[&here, &there]).expect("they fit");
        assert_eq!(joined.shape(), [4, 2]);
        assert_eq!(joined.device(), Device::Cuda(3));
        let remote = joined.as_remote().expect("it is remote");
        let parts = remote.downcast::<Parts>().expect("parts").tensors();
        assert_eq!(parts.len(), 2);
        assert!(parts[0].is_readable() && !parts[1].is_readable());
        let odd = far(vec![1, 3]);
        assert!(Tensor::join_rows(&[&here, &odd]).is_err());
        let alone = Tensor::join_rows(&[&there]).expect("it is one");
        assert!(
            alone
                .as_remote()
                .expect("it is remote")
                .downcast::<Far>()
                .is_some()
        );
    }

    #[test]
    #[should_panic(expected = "cuda:3")]
    fn reading_what_the_host_cannot_read_is_a_mistake_of_the_program() {
        let _ = far(vec![1]).bytes();
    }
}
