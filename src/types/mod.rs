//! The nouns every room shares: ids, dtypes, shapes, tensors, specifications, failures.
//!
//! Nothing here does I/O, starts a thread or knows a library of the rooms above. Invariant: a [`Tensor`] is
//! immutable and its storage holds at least the bytes its dtype, shape and offset claim.

mod device;
mod dtype;
mod encoding;
mod endpoint;
mod failure;
mod fault;
mod ids;
mod key;
mod lock;
mod memory;
mod nearest;
mod order;
mod passes;
mod pool;
mod precision;
mod problem;
mod proof;
mod remote;
mod rooms;
mod shape;
mod signature;
mod spec;
mod tensor;
mod trial;

pub use device::{
    Device, DeviceChoice, DeviceFault, DeviceParseError, DeviceSpec, Due, FaultPoint, FaultSpec,
};
pub use dtype::{DType, DTypeParseError};
pub use encoding::{Compress, Encoding, Encodings, Narrow};
pub use endpoint::{Endpoint, EndpointParseError};
pub use failure::{Failure, FailureKind, panic_message, with_causes};
pub use fault::FaultKind;
pub use ids::{Epoch, PipelineId, RequestId, StepId};
pub use key::{KeyParseError, PublicKey, decode_key, encode_key};
pub use lock::lock;
pub use memory::{AlignedBytes, DeviceMemory, HostMemory, MEMORY_ALIGNMENT};
pub use nearest::nearest;
pub use order::{Order, Ordered};
pub use passes::{Optimize, Pass, PassParseError, Passes};
pub use pool::{
    DevicePool, Mapped, POOL_EVENTS_MAX, PoolCard, PoolError, PoolOpener, PoolPlace, PoolView,
};
pub use precision::{CudaSpec, Precision, StreamPriority};
pub use problem::{Problem, Unsound};
pub use proof::{GoldenCase, GoldenSpec, ProofSpec, Tolerance};
pub use remote::{Parts, Remote, RemoteMemory};
pub use rooms::{Heap, Room, Rooms, room_or_heap};
pub use shape::{
    Dim, RANK_MAX, Shape, ShapeError, ShapeSpec, TENSORS_MAX, byte_count, element_count,
};
pub use signature::{Bindings, Signature, SignatureError, TensorSpec};
pub use spec::{
    BatchSpec, BlockSpec, EdgeSpec, EngineChoice, FlowSpec, GraphEngine, GraphSpec, HostSpec,
    ImageLayout, ImageSpec, LimitsSpec, LogFormat, LogSpec, MockFailure, MockSpec, ModelFormat,
    PipelineSpec, RestartSpec, ServerSpec, SourceSpec, Spec, StuckSpec, WireSpec,
};
pub use tensor::{Tensor, TensorError};
pub use trial::{CanarySpec, ReloadSpec, ShadowSpec};
