//! Addresses that links bind and connect to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A ZeroMQ address. Prints and parses as the URL that libzmq takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Within one process, by name.
    Inproc(String),
    /// Within one host, by socket path.
    Ipc(PathBuf),
    /// Between hosts.
    Tcp { host: String, port: u16 },
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{seen:?} is no endpoint, expected inproc://NAME, ipc://PATH or tcp://HOST:PORT")]
pub struct EndpointParseError {
    pub seen: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inproc(name) => write!(f, "inproc://{name}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || EndpointParseError {
            seen: text.to_owned(),
        };
        let (scheme, rest) = text
            .split_once("://")
            .filter(|(_, rest)| !rest.is_empty())
            .ok_or_else(error)?;
        match scheme {
            "inproc" => Ok(Self::Inproc(rest.to_owned())),
            "ipc" => Ok(Self::Ipc(PathBuf::from(rest))),
            "tcp" => {
                let (host, port) = rest
                    .rsplit_once(':')
                    .filter(|(host, _)| !host.is_empty())
                    .ok_or_else(error)?;
                let port = port.parse().map_err(|_| error())?;
                Ok(Self::Tcp {
                    host: host.to_owned(),
                    port,
                })
            }
            _ => Err(error()),
        }
    }
}
