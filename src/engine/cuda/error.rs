//! What the driver says when something fails.

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

use super::{CudaVersion, Presence};

/// Failure of a call of the driver, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    #[error("{0}")]
    NotAvailable(Presence),
    #[error(
        "the NVIDIA driver is made for CUDA {seen}, and CUDA {needed} is needed: install a newer driver"
    )]
    DriverTooOld {
        seen: CudaVersion,
        needed: CudaVersion,
    },
    #[error("there is no device {ordinal}: {found}")]
    NoSuchDevice { ordinal: u16, found: Presence },
    #[error("{call} failed: {text} ({code})")]
    Driver {
        call: &'static str,
        /// A number of `CUresult`.
        code: u32,
        text: String,
    },
    #[error("the handle comes from this process, which has the memory or event itself")]
    OwnHandle,
    #[error("the device does not copy by itself from memory that this process only reads")]
    ReadOnly,
    #[error("{wanted} bytes were asked for, of {length} from byte {start} on")]
    OutOfRange {
        start: usize,
        wanted: usize,
        length: usize,
    },
}

/// After these every call of the process on the device fails: they are documented to leave the process in an inconsistent
/// state, so that it must be ended.
const STICKY: [CUresult; 16] = [
    CUresult::CUDA_ERROR_ECC_UNCORRECTABLE,
    CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE,
    CUresult::CUDA_ERROR_CONTAINED,
    CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
    CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
    CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED,
    CUresult::CUDA_ERROR_ASSERT,
    CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR,
    CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION,
    CUresult::CUDA_ERROR_MISALIGNED_ADDRESS,
    CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE,
    CUresult::CUDA_ERROR_INVALID_PC,
    CUresult::CUDA_ERROR_LAUNCH_FAILED,
    CUresult::CUDA_ERROR_TENSOR_MEMORY_LEAK,
    CUresult::CUDA_ERROR_MPS_CLIENT_TERMINATED,
    CUresult::CUDA_ERROR_EXTERNAL_DEVICE,
];

impl CudaError {
    /// Tells whether the device fails in every call from now on, until the process is another one.
    pub fn is_sticky(&self) -> bool {
        STICKY.iter().any(|sticky| self.is(*sticky))
    }

    /// Tells whether the device had too little memory, and is else as before.
    pub fn is_out_of_memory(&self) -> bool {
        self.is(CUresult::CUDA_ERROR_OUT_OF_MEMORY)
    }

    fn is(&self, result: CUresult) -> bool {
        matches!(self, Self::Driver { code, .. } if *code == result as u32)
    }
}

/// Checks that so many bytes from `start` on are among those of a memory of `length`.
pub(super) fn within(length: usize, start: usize, wanted: usize) -> Result<(), CudaError> {
    match start.checked_add(wanted) {
        Some(end) if end <= length => Ok(()),
        _ => Err(CudaError::OutOfRange {
            start,
            wanted,
            length,
        }),
    }
}

/// Names the call that a result is of.
pub(super) fn checked<T>(
    call: &'static str,
    result: Result<T, DriverError>,
) -> Result<T, CudaError> {
    result.map_err(|error| {
        // The driver is there, or there were no result; only one that is too old to have the function would be a pity.
        let text = error
            .error_string()
            .map(|text| text.to_string_lossy().into_owned());
        CudaError::Driver {
            call,
            code: error.0 as u32,
            text: text.unwrap_or_else(|_| format!("{:?}", error.0)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(code: u32) -> CudaError {
        CudaError::Driver {
            call: "cuEventQuery",
            code,
            text: String::new(),
        }
    }

    #[test]
    fn what_ends_a_process_is_told_from_what_ends_a_call() {
        for sticky in [
            214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911,
        ] {
            assert!(driver(sticky).is_sticky(), "{sticky}");
        }
        // Invalid value, out of memory, no device, not ready, launch out of resources, peer access, not supported, capture.
        for passing in [
            0, 1, 2, 100, 201, 400, 600, 701, 704, 720, 801, 900, 909, 999,
        ] {
            assert!(!driver(passing).is_sticky(), "{passing}");
        }
        assert!(driver(2).is_out_of_memory());
        assert!(!driver(700).is_out_of_memory());
        assert!(!CudaError::NotAvailable(Presence::NoDriver).is_sticky());
    }

    #[test]
    fn an_error_names_the_call_the_reason_and_the_code() {
        let error = CudaError::Driver {
            call: "cuMemAlloc",
            code: 2,
            text: "out of memory".into(),
        };
        assert_eq!(error.to_string(), "cuMemAlloc failed: out of memory (2)");
    }
}
