//! A TorchScript module. `tch::CModule` would do, but leaks the inputs of a run that fails.

#![expect(unsafe_code, reason = "owns C++ objects of the JIT")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use torch_sys::{
    C_tensor, CIValue, CModule_, ati_free, ati_length, ati_tag, ati_tensor, ati_to_tensor,
    ati_to_tensor_list, ati_to_tuple, atm_eval, atm_forward_, atm_free, atm_load_on_device,
    atm_named_parameters,
};

use super::super::cause::Cause;
use super::bindings::{blockflow_set_jit_optimize, checked_as};

/// Device number of the CPU in torch-sys.
const CPU: c_int = -1;

/// A loaded module in evaluation mode. Threads may run it at the same time.
pub(crate) struct Module(*mut CModule_);

// SAFETY: any thread may run or free a module: each run has an interpreter of its own, and the plan that runs share is
// made under a lock. A module that writes to its own buffers mixes the runs of its instances; such elements have a
// fixed place and size, so that what threads race for is their values alone.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// An owned `IValue`.
struct Value(*mut CIValue);

impl Module {
    /// Loads a file onto the CPU.
    pub(crate) fn load(path: &Path) -> Result<Self, Cause> {
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|error| Cause::new(error.to_string()))?;
        // SAFETY: a NUL-terminated path that outlives the call; C++ exceptions become the thread's last error.
        let module = checked(unsafe { atm_load_on_device(path.as_ptr(), CPU) })?;
        let module = Self(module);
        // SAFETY: a live module that no other thread sees yet.
        checked(unsafe { atm_eval(module.0) })?;
        Ok(module)
    }

    /// Returns the bytes of the parameters (buffers are not among them).
    pub(crate) fn parameter_bytes(&self) -> Result<usize, Cause> {
        let mut bytes = 0_usize;
        // SAFETY: `add_bytes` gets back the pointer to `bytes`, which outlives the call, and is called only during it.
        checked(unsafe {
            atm_named_parameters(self.0, std::ptr::from_mut(&mut bytes).cast(), add_bytes);
        })?;
        Ok(bytes)
    }

    /// Runs `forward`. The result is a tensor, or a tuple or list of tensors.
    ///
    /// Every run takes the same plan; the libtorch default would profile the first runs and specialise later ones.
    pub(crate) fn forward(&self, inputs: &[tch::Tensor]) -> Result<Vec<tch::Tensor>, Cause> {
        // SAFETY: a switch of this thread; no preconditions.
        unsafe { blockflow_set_jit_optimize(false) };
        let inputs: Vec<Value> = inputs.iter().map(Value::of).collect::<Result<_, _>>()?;
        let pointers: Vec<*mut CIValue> = inputs.iter().map(|value| value.0).collect();
        let count =
            c_int::try_from(pointers.len()).map_err(|error| Cause::new(error.to_string()))?;
        // SAFETY: a live module and `count` live values, which the call only reads.
        let output = checked(unsafe { atm_forward_(self.0, pointers.as_ptr(), count) })?;
        Value(output).into_tensors()
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: from `atm_load_on_device`, not freed before.
        unsafe { atm_free(self.0) };
    }
}

impl Value {
    fn of(tensor: &tch::Tensor) -> Result<Self, Cause> {
        // SAFETY: a live tensor, of which the value keeps a reference of its own.
        checked(unsafe { ati_tensor(tensor.as_ptr().cast_mut()) }).map(Self)
    }

    fn into_tensors(self) -> Result<Vec<tch::Tensor>, Cause> {
        // SAFETY: a live value.
        match checked(unsafe { ati_tag(self.0) })? {
            1 => Ok(vec![self.to_tensor()?]),
            5 => self.elements()?.iter().map(Self::to_tensor).collect(),
            10 => self.tensor_list(),
            _ => Err(Cause::new(
                "the module returns neither a tensor nor a tuple or list of tensors",
            )),
        }
    }

    fn to_tensor(&self) -> Result<tch::Tensor, Cause> {
        // SAFETY: a live value; one that is no tensor is an exception, so an error here.
        let tensor = checked(unsafe { ati_to_tensor(self.0) })?;
        // SAFETY: a new `at::Tensor` on the heap, ours.
        Ok(unsafe { tch::Tensor::from_ptr(tensor) })
    }

    fn length(&self) -> Result<usize, Cause> {
        // SAFETY: a live value.
        let length = checked(unsafe { ati_length(self.0) })?;
        usize::try_from(length).map_err(|error| Cause::new(error.to_string()))
    }

    fn elements(&self) -> Result<Vec<Self>, Cause> {
        let mut pointers = vec![std::ptr::null_mut::<CIValue>(); self.length()?];
        // SAFETY: a tuple and room for exactly its elements; each written pointer is a new value, ours.
        checked(unsafe { ati_to_tuple(self.0, pointers.as_mut_ptr(), pointers.len() as c_int) })?;
        Ok(pointers.into_iter().map(Self).collect())
    }

    fn tensor_list(&self) -> Result<Vec<tch::Tensor>, Cause> {
        let mut pointers = vec![std::ptr::null_mut::<C_tensor>(); self.length()?];
        // SAFETY: a list of tensors and room for exactly its elements; each written pointer is a new tensor, ours.
        checked(unsafe {
            ati_to_tensor_list(self.0, pointers.as_mut_ptr(), pointers.len() as c_int)
        })?;
        // SAFETY: as above.
        Ok(pointers
            .into_iter()
            .map(|tensor| unsafe { tch::Tensor::from_ptr(tensor) })
            .collect())
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: made by an `ati_` function or `atm_forward_`, not freed before.
        unsafe { ati_free(self.0) };
    }
}

/// As [`checked_as`], with the message as the JIT writes it.
fn checked<T>(result: T) -> Result<T, Cause> {
    checked_as(result, Cause::jit)
}

extern "C" fn add_bytes(data: *mut c_void, _name: *const c_char, tensor: *mut C_tensor) {
    // SAFETY: `tensor` is a new `at::Tensor` that the callback owns.
    let tensor = unsafe { tch::Tensor::from_ptr(tensor) };
    let size = tensor.f_kind().map_or(0, tch::Kind::elt_size_in_bytes);
    // SAFETY: `parameter_bytes` passes a pointer to its `usize` and waits for the call.
    let bytes = unsafe { &mut *data.cast::<usize>() };
    *bytes = bytes.saturating_add(tensor.numel().saturating_mul(size));
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Module")
    }
}
