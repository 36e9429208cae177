//! Who may take part in links between hosts.
//!
//! A host has a secret key, which no other has and which leaves its file for nowhere, and a public key, which every other
//! host knows from the configuration. A producer speaks only to a consumer that has the secret key of the host it looks
//! for, a consumer lets in only producers whose key some host of the configuration has.
//!
//! A host may have several public keys while one takes the place of another. A producer that does not know which of them its
//! consumer has tries one after the other.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use crate::types::{Endpoint, PublicKey};

/// A secret key and the public key that goes with it. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    pub(super) public: PublicKey,
    pub(super) secret: [u8; PublicKey::BYTES],
}

/// Keys of one host, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeys {
    pub host: String,
    pub address: IpAddr,
    pub ports: Range<u32>,
    /// One, or several while one takes the place of another.
    pub keys: Vec<PublicKey>,
}

/// The own keys of a host, and those of every host of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    pub own: KeyPair,
    pub hosts: Vec<HostKeys>,
}

impl KeyPair {
    pub fn public(&self) -> PublicKey {
        self.public
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Returns the host that a key is of; nobody else is let in.
    pub fn owner(&self, key: &PublicKey) -> Option<&str> {
        let mut hosts = self.hosts.iter();
        let owner = hosts.find(|host| host.keys.contains(key))?;
        Some(&owner.host)
    }

    /// Returns the keys that whoever listens at an endpoint may have.
    pub(super) fn keys_at(&self, endpoint: &Endpoint) -> &[PublicKey] {
        let Endpoint::Tcp { host, port } = endpoint else {
            return &[];
        };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(address) = address.parse::<IpAddr>() else {
            return &[];
        };
        let mut hosts = self.hosts.iter();
        let there =
            hosts.find(|known| known.address == address && known.ports.contains(&u32::from(*port)));
        there.map_or(&[], |known| known.keys.as_slice())
    }
}
