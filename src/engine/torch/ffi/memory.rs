//! Tensors crossing between libtorch and the rest of the program without a copy of their elements.
//!
//! Elements are copied only where memory is not aligned to [`MEMORY_ALIGNMENT`] (a kernel may choose another order of
//! summation then, and results would depend on how a tensor arrived), where a result is a strided view of something
//! larger, and where somebody asks for the bytes of a result whose channels are innermost. Such a result keeps its order
//! on the way to another session of libtorch: two rearrangements at every cut would cost as much as all else of a hop.

#![expect(unsafe_code, reason = "foreign memory enters and leaves libtorch here")]

use std::alloc::{Layout, handle_alloc_error};
use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::types::{AlignedBytes, HostMemory, MEMORY_ALIGNMENT, Tensor};

use super::super::cause::Cause;
use super::super::dtype::{dtype_of, scalar_type};
use super::bindings::{
    blockflow_data, blockflow_is_channels_last, blockflow_sole_owner, blockflow_view, take_message,
};

/// Makes a libtorch tensor over the memory of `tensor`, in whichever order a session of libtorch left its elements. It
/// must only be read.
pub(crate) fn view_as_left(tensor: &Tensor) -> Result<tch::Tensor, Cause> {
    let memory: &dyn Any = &**tensor.memory();
    match memory.downcast_ref::<TorchMemory>() {
        Some(memory) if tensor.covers_memory() && memory.is_of(tensor) => {
            Ok(memory.tensor.handle())
        }
        _ => view(tensor),
    }
}

/// Makes a row-major libtorch tensor over the memory of `tensor`. It must only be read.
pub(crate) fn view(tensor: &Tensor) -> Result<tch::Tensor, Cause> {
    let scalar_type = scalar_type(tensor.dtype())?;
    let bytes = tensor.bytes();
    if !bytes.is_empty() && bytes.as_ptr().align_offset(MEMORY_ALIGNMENT) != 0 {
        let copy: Arc<dyn HostMemory> = Arc::new(AlignedBytes::copy_of(bytes));
        return view_of(&copy, copy.bytes(), tensor.shape(), scalar_type);
    }
    view_of(tensor.memory(), bytes, tensor.shape(), scalar_type)
}

/// `bytes` lie in `owner` and are exactly the elements of a tensor of `shape` and `scalar_type`.
fn view_of(
    owner: &Arc<dyn HostMemory>,
    bytes: &[u8],
    shape: &[usize],
    scalar_type: i8,
) -> Result<tch::Tensor, Cause> {
    let sizes: Vec<i64> = shape
        .iter()
        .map(|&size| i64::try_from(size).map_err(|_| Cause::new("a dimension is too large")))
        .collect::<Result<_, _>>()?;
    let owner = Box::into_raw(Box::new(owner.clone()));
    let mut error = std::ptr::null_mut();
    // SAFETY: `bytes` is memory that `owner` keeps valid and in place until `release` drops it, which happens after
    // the last tensor that sees it is gone (the storage's deleter); it holds the elements that `sizes` and the scalar
    // type claim, which `types::Tensor` has checked, and its address is aligned (or it is empty). `sizes` outlives the
    // call. The memory is not written to: `is_sole_owner` denies it to in-place kernels. The shim consumes `owner` on
    // every path, so it is released exactly once.
    let tensor = unsafe {
        blockflow_view(
            bytes.as_ptr().cast_mut().cast(),
            sizes.as_ptr(),
            sizes.len(),
            scalar_type,
            owner.cast(),
            release,
            &raw mut error,
        )
    };
    if tensor.is_null() {
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        return Err(Cause::new(
            unsafe { take_message(error) }.unwrap_or_default(),
        ));
    }
    // SAFETY: a new `at::Tensor` on the heap that nobody else frees, as `tch` makes them.
    Ok(unsafe { tch::Tensor::from_ptr(tensor) })
}

/// Drops the owner of viewed memory, on whichever thread drops the last tensor.
extern "C" fn release(owner: *mut c_void) {
    // SAFETY: `owner` is the `Box` that `view_of` turned into a pointer of this type, and libtorch calls the deleter
    // of a storage once. `Arc<dyn HostMemory>` is `Send`, so any thread may drop it.
    drop(unsafe { Box::from_raw(owner.cast::<Arc<dyn HostMemory>>()) });
}

/// Tells whether nothing but this handle can see the tensor's elements, so that it may be written to.
pub(crate) fn is_sole_owner(tensor: &tch::Tensor) -> bool {
    // SAFETY: the pointer is that of a live `at::Tensor`, and the shim only reads it.
    unsafe { blockflow_sole_owner(tensor.as_ptr(), release) }
}

/// Tells whether the channels lie innermost in memory, and not also in the order of the dimensions.
pub(crate) fn is_channels_last(tensor: &tch::Tensor) -> bool {
    // SAFETY: the pointer is that of a live `at::Tensor`, and the shim only reads it.
    unsafe { blockflow_is_channels_last(tensor.as_ptr()) }
}

/// Turns a result into a tensor of this program. The caller gives up writing to it.
pub(crate) fn export(tensor: tch::Tensor) -> Result<Tensor, Cause> {
    let kind = tensor.f_kind()?;
    let dtype = dtype_of(kind).ok_or_else(|| Cause::new(format!("result has type {kind:?}")))?;
    let shape: Vec<usize> = tensor
        .size()
        .into_iter()
        .map(|size| usize::try_from(size).map_err(|_| Cause::new("result has a negative size")))
        .collect::<Result<_, _>>()?;
    let ordered = if is_channels_last(&tensor) {
        tensor
    } else {
        tensor.f_contiguous()?
    };
    let mut memory = TorchMemory::new(ordered)?;
    if memory.length > 0 && memory.data.align_offset(MEMORY_ALIGNMENT) != 0 {
        let unaligned = memory.tensor.handle();
        let mut copy = unaligned.f_empty_like()?;
        copy.f_copy_(&unaligned)?;
        memory = TorchMemory::new(copy)?;
    }
    let memory: Arc<dyn HostMemory> = if memory.length > 0 {
        Arc::new(memory)
    } else {
        Arc::new(AlignedBytes::zeroed(0))
    };
    Tensor::new(dtype, shape, memory).map_err(|error| Cause::new(error.to_string()))
}

/// Memory of a dense CPU tensor of libtorch.
struct TorchMemory {
    tensor: SharedTensor,
    data: *const u8,
    length: usize,
    /// The elements in row-major order, once somebody asked for them, where that is not how they lie.
    row_major: OnceLock<Box<Self>>,
}

// SAFETY: `data` points into the storage that `tensor` keeps alive, which any thread may free and, as nobody writes to
// it any more, any thread may read.
unsafe impl Send for TorchMemory {}
// SAFETY: as above; all methods only read.
unsafe impl Sync for TorchMemory {}

impl TorchMemory {
    fn new(tensor: tch::Tensor) -> Result<Self, Cause> {
        let (data, length) = elements(&tensor)?;
        Ok(Self {
            tensor: SharedTensor::new(tensor),
            data,
            length,
            row_major: OnceLock::new(),
        })
    }

    /// Tells whether `tensor`, which lies in this memory, has the shape and dtype of the tensor that left it.
    fn is_of(&self, tensor: &Tensor) -> bool {
        let shape = self.tensor.0.size();
        let shape = shape.iter().map(|&size| usize::try_from(size).ok());
        shape.eq(tensor.shape().iter().map(|&size| Some(size)))
            && self.tensor.0.f_kind().ok().and_then(dtype_of) == Some(tensor.dtype())
    }

    fn dense(&self) -> &[u8] {
        if self.length == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: `data` is the first of `length` bytes of the dense storage that `self.tensor` keeps alive at one
        // address, initialised by the kernel that computed it. Nobody writes to them while this lives: `export`
        // took the tensor over, and in-place kernels ask `is_sole_owner`, which is false while `self.tensor` lives.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }

    fn rearranged(&self) -> Result<Box<Self>, Cause> {
        Ok(Box::new(Self::new(self.tensor.0.f_contiguous()?)?))
    }
}

impl HostMemory for TorchMemory {
    fn bytes(&self) -> &[u8] {
        if !is_channels_last(&self.tensor.0) {
            return self.dense();
        }
        let row_major = self.row_major.get_or_init(|| {
            // Rearranging what is dense fails for want of memory only.
            self.rearranged().unwrap_or_else(|_| {
                handle_alloc_error(Layout::array::<u8>(self.length).unwrap_or(Layout::new::<u8>()))
            })
        });
        row_major.dense()
    }

    fn byte_count(&self) -> usize {
        self.length
    }
}

/// Returns the first byte of a dense tensor, and their number.
fn elements(tensor: &tch::Tensor) -> Result<(*const u8, usize), Cause> {
    let mut data = std::ptr::null();
    let mut length = 0;
    let mut error = std::ptr::null_mut();
    // SAFETY: a live tensor, and three places to write to.
    if !unsafe {
        blockflow_data(
            tensor.as_ptr(),
            &raw mut data,
            &raw mut length,
            &raw mut error,
        )
    } {
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        return Err(Cause::new(
            unsafe { take_message(error) }.unwrap_or_default(),
        ));
    }
    Ok((data.cast(), length))
}

impl fmt::Debug for TorchMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TorchMemory")
            .field("tensor", &self.tensor)
            .field("length", &self.length)
            .finish()
    }
}

/// A tensor that threads share because nobody writes to it.
pub(crate) struct SharedTensor(tch::Tensor);

// SAFETY: `tch::Tensor` lacks `Sync` because its methods may write. Through a `&SharedTensor` one can only read
// metadata and copy the handle, which counts references atomically; elements are never written, since in-place
// kernels ask `is_sole_owner` first, and that is false while this handle and the copy live.
unsafe impl Sync for SharedTensor {}

impl SharedTensor {
    pub(crate) fn new(tensor: tch::Tensor) -> Self {
        Self(tensor)
    }

    /// Returns another handle on the same elements, for reading.
    pub(crate) fn handle(&self) -> tch::Tensor {
        self.0.shallow_clone()
    }
}

impl fmt::Debug for SharedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", self.0.f_kind().ok(), self.0.size())
    }
}
