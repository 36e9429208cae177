//! Decisions over time as pure state machines: joining, batching, admission, restarts.
