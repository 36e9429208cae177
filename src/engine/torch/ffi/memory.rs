//! Tensors crossing between libtorch and the rest of the program without a copy of their elements.
//!
//! Elements are copied only where memory is not aligned to [`MEMORY_ALIGNMENT`] (a kernel may choose another order of
//! summation then, and results would depend on how a tensor arrived), where a result is a strided view of something
//! larger, and where somebody asks for the row-major bytes of a result whose channels are innermost. Such a result keeps its
//! order on the way to another session of libtorch, in whatever process that is: two rearrangements at every cut would cost
//! as much as all else of a hop.

#![expect(unsafe_code, reason = "foreign memory enters and leaves libtorch here")]

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

use crate::types::{AlignedBytes, HostMemory, MEMORY_ALIGNMENT, Order, Tensor};

use super::super::cause::Cause;
use super::super::dtype::{dtype_of, scalar_type};
use super::begin;
use super::bindings::{
    blockflow_data, blockflow_is_channels_last, blockflow_sole_owner, blockflow_view, take_message,
};
use super::lent::memory_of;

/// Makes a libtorch tensor over the memory of `tensor`, channels innermost if they lie so, else row-major. It must only be
/// read.
pub(crate) fn view_as_left(tensor: &Tensor) -> Result<tch::Tensor, Cause> {
    match tensor.stored() {
        (bytes, Some(order)) if is_of_libtorch(order) => view_aligned(tensor, bytes, Some(order)),
        _ => view(tensor),
    }
}

/// Makes a row-major libtorch tensor over the memory of `tensor`. It must only be read.
pub(crate) fn view(tensor: &Tensor) -> Result<tch::Tensor, Cause> {
    view_aligned(tensor, tensor.bytes(), None)
}

/// Tells whether an order is one that results leave a session in.
fn is_of_libtorch(order: &Order) -> bool {
    [4, 5].contains(&order.rank()) && Order::channels_last(order.rank()).as_ref() == Some(order)
}

/// Makes a view of `bytes`, which are those of `tensor` in some order, or of a copy where they are not aligned.
fn view_aligned(
    tensor: &Tensor,
    bytes: &[u8],
    order: Option<&Order>,
) -> Result<tch::Tensor, Cause> {
    if !bytes.is_empty() && bytes.as_ptr().align_offset(MEMORY_ALIGNMENT) != 0 {
        let copy: Arc<dyn HostMemory> = Arc::new(AlignedBytes::copy_of(bytes));
        return view_of(&copy, copy.bytes(), tensor, order);
    }
    view_of(tensor.memory(), bytes, tensor, order)
}

/// `bytes` lie in `owner` and are exactly the elements of `tensor`, in an order of its rank.
fn view_of(
    owner: &Arc<dyn HostMemory>,
    bytes: &[u8],
    tensor: &Tensor,
    order: Option<&Order>,
) -> Result<tch::Tensor, Cause> {
    begin();
    let scalar_type = scalar_type(tensor.dtype())?;
    let signed = |sizes: &[usize]| -> Result<Vec<i64>, Cause> {
        let signed = sizes.iter().map(|&size| i64::try_from(size));
        let signed = signed.collect::<Result<_, _>>();
        signed.map_err(|_| Cause::new("a dimension is too large"))
    };
    let sizes = signed(tensor.shape())?;
    let strides = order.map(|order| signed(&order.strides(tensor.shape())));
    let strides = strides.transpose()?;
    let owner = Box::into_raw(Box::new(owner.clone()));
    let mut error = std::ptr::null_mut();
    // SAFETY: `bytes` is memory that `owner` keeps valid and in place until `release` drops it, which happens after
    // the last tensor that sees it is gone (the storage's deleter); it holds the elements that `sizes` and the scalar
    // type claim, which `types::Tensor` has checked, densely in the order that `strides` says (null: row-major), and its
    // address is aligned (or it is empty). `sizes` and `strides`, which has as many, outlive the call. The memory is not written to: `is_sole_owner` denies it to in-place kernels. The shim consumes `owner` on
    // every path, so it is released exactly once.
    let tensor = unsafe {
        blockflow_view(
            bytes.as_ptr().cast_mut().cast(),
            sizes.as_ptr(),
            strides.as_ref().map_or(std::ptr::null(), Vec::as_ptr),
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
    let order = is_channels_last(&tensor)
        .then(|| Order::channels_last(shape.len()))
        .flatten();
    let ordered = if order.is_some() {
        tensor
    } else {
        tensor.f_contiguous()?
    };
    let put = |memory| {
        let tensor = match order.clone() {
            Some(order) => Tensor::in_order(dtype, shape.clone(), order, memory),
            None => Tensor::new(dtype, shape.clone(), memory),
        };
        tensor.map_err(|error| Cause::new(error.to_string()))
    };
    // No handle of libtorch is kept here, so another one of the same memory would pass for its only one: results are exported
    // after the last kernel of a run.
    if let Some(memory) = memory_of(&ordered) {
        return put(memory);
    }
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
    put(memory)
}

/// Memory of a dense CPU tensor of libtorch.
struct TorchMemory {
    tensor: SharedTensor,
    data: *const u8,
    length: usize,
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
        })
    }
}

impl HostMemory for TorchMemory {
    fn bytes(&self) -> &[u8] {
        if self.length == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: `data` is the first of `length` bytes of the dense storage that `self.tensor` keeps alive at one
        // address, initialised by the kernel that computed it. Nobody writes to them while this lives: `export`
        // took the tensor over, and in-place kernels ask `is_sole_owner`, which is false while `self.tensor` lives.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
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
