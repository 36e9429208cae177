//! What fails on the way.

use crate::engine::cuda::CudaError;

use super::super::super::cause::Cause;

/// Why a tensor did not get where it was to go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error(transparent)]
    Cuda(#[from] CudaError),
    #[error("{0}")]
    Torch(Cause),
}

impl From<Cause> for TransferError {
    fn from(cause: Cause) -> Self {
        Self::Torch(cause)
    }
}

impl From<tch::TchError> for TransferError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}
