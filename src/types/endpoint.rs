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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoints() -> impl Strategy<Value = Endpoint> {
        prop_oneof![
            "[a-z0-9/_:-]{1,20}".prop_map(Endpoint::Inproc),
            "/[a-z0-9/_ :-]{1,20}".prop_map(|path| Endpoint::Ipc(PathBuf::from(path))),
            ("[a-z0-9.-]{1,12}|\\[::1\\]", any::<u16>())
                .prop_map(|(host, port)| Endpoint::Tcp { host, port }),
        ]
    }

    proptest! {
        #[test]
        fn an_endpoint_parses_as_it_prints(endpoint in endpoints()) {
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_what_was_seen() {
        for text in [
            "",
            "inproc://",
            "a",
            "udp://a:1",
            "tcp://:1",
            "tcp://a",
            "tcp://a:65536",
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            assert_eq!(error.seen, text);
        }
    }
}
