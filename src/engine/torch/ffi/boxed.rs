//! Operators of libtorch called by name, also those that `tch` lacks.
//!
//! All that can be looked up or converted is, when a [`Call`] is bound; a run only fills in tensors.

#![expect(unsafe_code, reason = "owns calls of the C++ shim and passes tensors")]

use std::ffi::{CString, c_char, c_void};
use std::fmt;
use std::ptr::null;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::types::DType;

use super::super::cause::Cause;
use super::super::dtype::scalar_type;
use super::bindings::{
    RawCall, RawResult, RawValue, blockflow_call_complete, blockflow_call_free, blockflow_call_new,
    blockflow_call_run, blockflow_call_set, blockflow_call_set_named, take_message,
};

/// An operator whose arguments are not bound yet.
pub(crate) struct Operator {
    call: *mut RawCall,
    label: Box<str>,
}

/// An operator with its arguments: constant ones in place, and holes for the tensors of a run. Threads may run it at
/// the same time.
pub(crate) struct Call(Operator);

// SAFETY: any thread may free a call: what it refers to counts its references atomically.
unsafe impl Send for Call {}
// SAFETY: a run only reads the call, and copies what it hands to the operator; the tensors that it holds are not written
// to, since arguments that an operator writes to are holes.
unsafe impl Sync for Call {}

/// Which argument of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    At(usize),
    Named(&'a str),
}

/// One argument. Optional ones take the value itself; left out, an argument has the default of the schema.
#[derive(Debug)]
pub(crate) enum Argument<'a> {
    None,
    Tensor(&'a Tensor),
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    DType(DType),
    Cpu,
    Layout(Layout),
    Format(MemoryFormat),
    List(Vec<Argument<'a>>),
    /// The tensor that a run passes at this index, or nothing where it passes none. Also possible in a list.
    Input(usize),
    /// The tensor that a run passes to be written to.
    Written,
}

/// How elements are found; the numbers are those of libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Strided = 0,
}

/// The order of dimensions in memory; the numbers are those of libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryFormat {
    Contiguous = 0,
    Preserve = 1,
    ChannelsLast = 2,
    ChannelsLast3d = 3,
}

/// What an operator returns.
#[derive(Debug)]
pub(crate) enum Returned {
    Tensor(Tensor),
    Tensors(Vec<Tensor>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nothing,
}

impl<'a> Argument<'a> {
    pub(crate) fn ints(list: &[i64]) -> Self {
        Self::List(list.iter().copied().map(Self::Int).collect())
    }

    pub(crate) fn optional(tensor: Option<&'a Tensor>) -> Self {
        tensor.map_or(Self::None, Self::Tensor)
    }
}

impl Operator {
    /// Looks an operator up, as `("aten::add", "Tensor")`; the overload of most is the empty one.
    pub(crate) fn find(name: &str, overload: &str) -> Result<Self, Cause> {
        let label = if overload.is_empty() {
            name.to_owned()
        } else {
            format!("{name}.{overload}")
        };
        let (c_name, c_overload) = (c_string(name)?, c_string(overload)?);
        let mut error = std::ptr::null_mut();
        // SAFETY: NUL-terminated strings that outlive the call, and a place to write to.
        let call =
            unsafe { blockflow_call_new(c_name.as_ptr(), c_overload.as_ptr(), &raw mut error) };
        if call.is_null() {
            // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
            return Err(unsafe { failure(&label, error) });
        }
        let label = label.into_boxed_str();
        Ok(Self { call, label })
    }

    /// Puts the arguments in place.
    pub(crate) fn bind(self, arguments: &[(Place<'_>, Argument<'_>)]) -> Result<Call, Cause> {
        for (place, argument) in arguments {
            self.set(*place, argument)?;
        }
        let mut error = std::ptr::null_mut();
        // SAFETY: a live call that nobody else sees, and a place to write to.
        let done = unsafe { blockflow_call_complete(self.call, &raw mut error) };
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        unsafe { self.checked(done, error) }?;
        Ok(Call(self))
    }

    /// Puts the arguments in place, in the order of the schema.
    pub(crate) fn bind_all(self, arguments: Vec<Argument<'_>>) -> Result<Call, Cause> {
        let placed: Vec<_> = arguments
            .into_iter()
            .enumerate()
            .map(|(place, argument)| (Place::At(place), argument))
            .collect();
        self.bind(&placed)
    }

    fn set(&self, place: Place<'_>, argument: &Argument<'_>) -> Result<(), Cause> {
        let mut items = Vec::new();
        let value = raw(argument, &mut items)?;
        let mut error = std::ptr::null_mut();
        let done = match place {
            // SAFETY: a live call that nobody else sees; a value whose tensors, texts and items, which are `items`,
            // outlive the call; and a place to write to.
            Place::At(place) => unsafe {
                blockflow_call_set(self.call, place, &raw const value, &raw mut error)
            },
            Place::Named(name) => {
                let name = c_string(name)?;
                // SAFETY: as above, and a NUL-terminated string that outlives the call.
                unsafe {
                    blockflow_call_set_named(
                        self.call,
                        name.as_ptr(),
                        &raw const value,
                        &raw mut error,
                    )
                }
            }
        };
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        unsafe { self.checked(done, error) }
    }

    /// # Safety
    /// As that of [`take_message`].
    unsafe fn checked(&self, done: bool, error: *mut c_char) -> Result<(), Cause> {
        if done {
            return Ok(());
        }
        // SAFETY: by the caller's promise.
        Err(unsafe { failure(&self.label, error) })
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // SAFETY: from `blockflow_call_new`, not freed before.
        unsafe { blockflow_call_free(self.call) };
    }
}

impl Call {
    /// Runs the operator on the tensors that its holes name.
    pub(crate) fn run(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Returned>, Cause> {
        self.call(std::ptr::null_mut(), inputs)
    }

    /// As [`Call::run`], for an operator that returns one tensor.
    pub(crate) fn tensor(&self, inputs: &[Option<&Tensor>]) -> Result<Tensor, Cause> {
        self.one(self.run(inputs)?)
    }

    /// Runs an operator that writes to `written`. Returns its result, another handle on it.
    pub(crate) fn tensor_in_place(
        &self,
        written: &mut Tensor,
        inputs: &[Option<&Tensor>],
    ) -> Result<Tensor, Cause> {
        self.one(self.call(written.as_mut_ptr(), inputs)?)
    }

    fn one(&self, mut results: Vec<Returned>) -> Result<Tensor, Cause> {
        match (results.pop(), results.is_empty()) {
            (Some(Returned::Tensor(tensor)), true) => Ok(tensor),
            _ => Err(Cause::new(format!(
                "{}: returns something else than one tensor",
                self.0.label
            ))),
        }
    }

    fn call(
        &self,
        written: *mut C_tensor,
        inputs: &[Option<&Tensor>],
    ) -> Result<Vec<Returned>, Cause> {
        let inputs: Vec<*const C_tensor> = inputs
            .iter()
            .map(|input| input.map_or(null(), Tensor::as_ptr))
            .collect();
        let mut results = Results::default();
        let mut error = std::ptr::null_mut();
        // SAFETY: a live call; `written`, which is null or borrowed mutably by the caller; live tensors or nulls, as
        // many as stated, which the operator only reads; `results`, which `emit` gets back during this call and no
        // longer; and a place to write to.
        let done = unsafe {
            blockflow_call_run(
                self.0.call,
                written,
                inputs.as_ptr(),
                inputs.len(),
                (&raw mut results).cast(),
                emit,
                &raw mut error,
            )
        };
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        unsafe { self.0.checked(done, error) }?;
        Ok(results.list)
    }
}

#[derive(Default)]
struct Results {
    list: Vec<Returned>,
    /// How many of the tensors to come belong to the list that is last.
    open: usize,
}

const NONE: i32 = 0;
const TENSOR: i32 = 1;
const INT: i32 = 2;
const FLOAT: i32 = 3;
const BOOL: i32 = 4;
const TEXT: i32 = 5;
const CPU: i32 = 6;
const LIST: i32 = 7;
const HOLE: i32 = 8;
const WRITTEN: i32 = 9;

extern "C" fn emit(to: *mut c_void, result: *const RawResult) {
    // SAFETY: `Call::call` passes a pointer to its `Results`, which nothing else uses meanwhile.
    let results = unsafe { &mut *to.cast::<Results>() };
    // SAFETY: the shim passes a result that lives during this call.
    let result = unsafe { &*result };
    let returned = match result.kind {
        TENSOR if !result.tensor.is_null() => {
            // SAFETY: a new `at::Tensor` on the heap, ours.
            Returned::Tensor(unsafe { Tensor::from_ptr(result.tensor) })
        }
        INT => Returned::Int(result.integer),
        FLOAT => Returned::Float(result.real),
        BOOL => Returned::Bool(result.integer != 0),
        LIST => {
            results.open = usize::try_from(result.integer).unwrap_or(0);
            Returned::Tensors(Vec::new())
        }
        _ => Returned::Nothing,
    };
    match (results.open.checked_sub(1), results.list.last_mut()) {
        (Some(rest), Some(Returned::Tensors(list))) if result.kind != LIST => {
            results.open = rest;
            list.push(match returned {
                Returned::Tensor(tensor) => tensor,
                _ => Tensor::new(),
            });
        }
        _ => results.list.push(returned),
    }
}

/// Writes an argument the way the shim reads it. The items of a list are put into `items`, which has to outlive the value.
fn raw(argument: &Argument<'_>, items: &mut Vec<RawValue>) -> Result<RawValue, Cause> {
    let mut value = RawValue {
        kind: NONE,
        integer: 0,
        real: 0.0,
        tensor: null(),
        text: null(),
        length: 0,
        items: null(),
    };
    match argument {
        Argument::None => {}
        Argument::Tensor(tensor) => {
            value.kind = TENSOR;
            value.tensor = tensor.as_ptr();
        }
        Argument::Int(number) => (value.kind, value.integer) = (INT, *number),
        Argument::Float(number) => (value.kind, value.real) = (FLOAT, *number),
        Argument::Bool(truth) => (value.kind, value.integer) = (BOOL, i64::from(*truth)),
        Argument::Text(text) => {
            value.kind = TEXT;
            value.text = text.as_ptr().cast();
            value.length = text.len();
        }
        Argument::DType(dtype) => {
            (value.kind, value.integer) = (INT, i64::from(scalar_type(*dtype)?));
        }
        Argument::Cpu => value.kind = CPU,
        Argument::Layout(layout) => (value.kind, value.integer) = (INT, *layout as i64),
        Argument::Format(format) => (value.kind, value.integer) = (INT, *format as i64),
        Argument::Input(input) => {
            value.kind = HOLE;
            value.integer = i64::try_from(*input).map_err(|error| Cause::new(error.to_string()))?;
        }
        Argument::Written => value.kind = WRITTEN,
        Argument::List(list) => {
            if list.iter().any(|item| matches!(item, Argument::List(_))) {
                return Err(Cause::new("lists of lists are not supported"));
            }
            let mut none = Vec::new();
            *items = list
                .iter()
                .map(|item| raw(item, &mut none))
                .collect::<Result<_, _>>()?;
            value.kind = LIST;
            value.length = items.len();
            value.items = items.as_ptr();
        }
    }
    Ok(value)
}

/// Names the operator in the message of a failure.
///
/// # Safety
/// As that of [`take_message`].
unsafe fn failure(label: &str, error: *mut c_char) -> Cause {
    // SAFETY: by the caller's promise.
    let message = unsafe { take_message(error) }.unwrap_or_default();
    Cause::new(format!("{label}: {message}"))
}

fn c_string(text: &str) -> Result<CString, Cause> {
    CString::new(text).map_err(|_| Cause::new(format!("{text:?} is no name of an operator")))
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Operator").field(&self.label).finish()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.0.label).finish()
    }
}
