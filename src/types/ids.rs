//! Identifiers. Each is unique within one gateway (requests) or one plan (the others).

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// One admitted request; never reused within a process.
    RequestId(u64)
}
id! {
    /// One applied configuration.
    Epoch(u32)
}
id! {
    /// Index of a pipeline in the plan of an epoch.
    PipelineId(u16)
}
id! {
    /// Index of a step in its pipeline.
    StepId(u16)
}

impl StepId {
    /// The address of the gateway; no pipeline has as many steps.
    pub const GATEWAY: Self = Self(u16::MAX);
}
