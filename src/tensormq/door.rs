//! What a consumer knows of its sockets and of who sends to them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::PublicKey;

use super::shm::Ledger;
use super::socket::Socket;

/// A producer by its name. It lives on when its connection is replaced, so that the envelopes that a consumer holds of it
/// are never more than the window, however often it connects.
#[derive(Debug)]
pub(super) struct Producer {
    pub name: String,
    pub at: Connection,
    /// Sequence number that comes next.
    pub expected: u64,
    /// Tensor envelopes that were received and not released.
    pub held: u32,
    /// Credits to hand back with the next grant.
    pub owed: u32,
    /// What it has lent, if its arena is mapped here.
    pub ledger: Option<Arc<Ledger>>,
}

impl Producer {
    pub(super) fn has_pool(&self) -> bool {
        let ledger = self.ledger.as_ref();
        ledger.is_some_and(|ledger| ledger.has_pool())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Index of the socket.
    pub socket: usize,
    /// What the socket calls it; drawn anew for every connection.
    pub identity: Vec<u8>,
    /// What the producer calls it.
    pub number: u32,
    /// What its host has shown, on a socket where it has to.
    pub key: Option<PublicKey>,
}

#[derive(Debug)]
pub(super) struct Door {
    pub socket: Socket,
    /// Where it listens, if all who come are of this host.
    pub on_host: Option<String>,
    pub by_identity: HashMap<Vec<u8>, usize>,
}
