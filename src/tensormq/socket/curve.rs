//! Making keys, and what a socket needs to encrypt with them.

#![expect(
    unsafe_code,
    reason = "the zmq crate cannot tell the public key of a secret one"
)]

use std::ffi::{CString, c_char, c_int};

use crate::tensormq::{KeyPair, LinkError};
use crate::types::{PublicKey, decode_key, encode_key};

use super::io::failed;
use super::zap;

// SAFETY: so it stands in zmq.h since version 4.2; the zmq-sys crate, which links the library, leaves it out.
unsafe extern "C" {
    fn zmq_curve_public(z85_public_key: *mut c_char, z85_secret_key: *const c_char) -> c_int;
}

impl KeyPair {
    /// Makes keys that nobody has.
    pub fn generate() -> Result<Self, LinkError> {
        let pair = zmq::CurveKeyPair::new().map_err(failed)?;
        Ok(Self {
            public: PublicKey(pair.public_key),
            secret: pair.secret_key,
        })
    }

    /// Reads a secret key from Z85. `None`: it is none.
    pub fn of_secret(text: &str) -> Option<Self> {
        let secret = decode_key(text).ok()?;
        let text = CString::new(text).ok()?;
        let mut public = [0_u8; PublicKey::CHARACTERS + 1];
        // SAFETY: the secret key is a text of 40 characters that ends in a zero, the public key has room for as many.
        let derived =
            unsafe { zmq_curve_public(public.as_mut_ptr().cast::<c_char>(), text.as_ptr()) };
        if derived != 0 {
            return None;
        }
        let public = std::str::from_utf8(&public[..PublicKey::CHARACTERS]).ok()?;
        let public = public.parse().ok()?;
        Some(Self { public, secret })
    }

    /// Writes the secret key in Z85, for its file and nothing else.
    pub fn secret_text(&self) -> String {
        encode_key(&self.secret)
    }
}

/// Makes what a socket binds from now on let in only whom the ZAP thread lets in.
pub(super) fn guard(socket: &zmq::Socket, own: &KeyPair) -> zmq::Result<()> {
    socket.set_curve_server(true)?;
    socket.set_curve_secretkey(&own.secret)?;
    socket.set_zap_domain(zap::DOMAIN)
}

/// Makes what a socket connects to from now on have the secret key of `server`.
pub(super) fn trust(socket: &zmq::Socket, own: &KeyPair, server: &PublicKey) -> zmq::Result<()> {
    socket.set_curve_publickey(&own.public.0)?;
    socket.set_curve_secretkey(&own.secret)?;
    socket.set_curve_serverkey(&server.0)
}
