//! Which libzmq this is.

/// What is known of libzmq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Library {
    pub version: (u32, u32, u32),
    /// Whether it can encrypt.
    pub curve: bool,
}

/// Asks libzmq what it is.
pub fn library() -> Library {
    let (major, minor, patch) = zmq::version();
    let part = |number: i32| u32::try_from(number).unwrap_or_default();
    Library {
        version: (part(major), part(minor), part(patch)),
        curve: zmq::has("curve").unwrap_or(false),
    }
}
