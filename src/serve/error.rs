//! Why the server itself cannot run. What a single request gets is a [`super::rejection::Rejection`].

use std::io;
use std::net::SocketAddr;

/// The server could not be started or broke down.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {}", advice(.address, .cause))]
    Bind {
        address: SocketAddr,
        #[source]
        cause: io::Error,
    },
    #[error("the HTTP server broke down: {cause}")]
    Run {
        #[source]
        cause: io::Error,
    },
}

fn advice(address: &SocketAddr, cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {} is already in use; stop the program that uses it or choose another address under server.http",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has this address; choose 127.0.0.1 or 0.0.0.0 under server.http".into()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege; choose a higher port under server.http".into()
        }
        _ => cause.to_string(),
    }
}
