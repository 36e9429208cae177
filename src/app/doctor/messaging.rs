//! libzmq and its encryption, and the secret key of this host.

use crate::tensormq::{Library, library};
use crate::types::PublicKey;

use super::Finding;
use super::needs::Needs;
use crate::app::{key_file, read_key};

/// What was seen of messaging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) library: Library,
    /// Public key that goes with this host's secret one, or why there is none.
    pub(super) key: Result<PublicKey, String>,
}

/// First version that can derive a public key from a secret one.
const VERSION_NEEDED: (u32, u32) = (4, 2);

pub(super) fn look() -> Seen {
    let key = key_file(None).and_then(|path| read_key(&path));
    Seen {
        library: library(),
        key: key
            .map(|pair| pair.public())
            .map_err(|error| error.to_string()),
    }
}

pub(super) fn judge(seen: &Seen, needs: &Needs) -> Vec<Finding> {
    let (major, minor, patch) = seen.library.version;
    let found = format!("{major}.{minor}.{patch}");
    let library = if (major, minor) < VERSION_NEEDED {
        let found = format!("{found}, which is too old");
        Finding::missing(
            "libzmq",
            found,
            "sudo apt install libzmq5, of version 4.2 or newer",
        )
        .for_keys(&needs.any_link())
    } else {
        Finding::ok("libzmq", found)
    };
    let curve = if seen.library.curve {
        Finding::ok("CURVE", "libzmq can encrypt links between hosts")
    } else {
        Finding::missing(
            "CURVE",
            "libzmq is built without it: links between hosts cannot be encrypted",
            "sudo apt install libzmq3-dev in place of the libzmq that is found now",
        )
        .for_keys(&needs.keys)
    };
    let mut findings = vec![library, curve];
    if !needs.keys.is_empty() {
        findings.push(key(seen, needs));
    }
    findings
}

fn key(seen: &Seen, needs: &Needs) -> Finding {
    const CHECK: &str = "secret key";
    match &seen.key {
        Err(cause) => Finding::missing(
            CHECK,
            cause.clone(),
            "blockflow keys new, and give others what it prints; `run --key-file` names another file",
        )
        .for_keys(&needs.keys),
        Ok(public) => {
            let owner = needs.hosts.iter().find(|host| host.keys.contains(public));
            match owner {
                Some(host) => Finding::ok(CHECK, format!("is that of host {:?}", host.name)),
                None => Finding::missing(
                    CHECK,
                    format!("goes with {public}, which is no key of a host of the configuration"),
                    format!("add key = \"{public}\" to this host's section of the configuration, on every host"),
                )
                .for_keys(&needs.keys),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;
    use crate::tensormq::KeyPair;
    use crate::types::HostSpec;

    fn seen(key: Result<PublicKey, String>) -> Seen {
        Seen {
            library: Library {
                version: (4, 3, 5),
                curve: true,
            },
            key,
        }
    }

    fn keyed(key: PublicKey) -> Needs {
        let host = HostSpec {
            keys: vec![key],
            ..HostSpec::local()
        };
        Needs {
            keys: vec!["hosts.localhost.key".into()],
            hosts: vec![host],
            ..Needs::default()
        }
    }

    fn public() -> PublicKey {
        KeyPair::generate().expect("CURVE is there").public()
    }

    #[test]
    fn keys_are_looked_at_only_where_hosts_have_them() {
        let findings = judge(&seen(Err("none".into())), &Needs::default());
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|one| one.status == Status::Ok));
    }

    #[test]
    fn the_secret_key_has_to_be_that_of_a_host() {
        let (ours, other) = (public(), public());
        for (key, status) in [
            (Ok(ours), Status::Ok),
            (Ok(other), Status::Missing),
            (Err("there is no secret key".to_owned()), Status::Missing),
        ] {
            let findings = judge(&seen(key), &keyed(ours));
            assert_eq!(findings[2].status, status);
            assert_eq!(findings[2].needed_by.is_empty(), status == Status::Ok);
        }
    }

    #[test]
    fn a_library_without_encryption_or_of_old_is_missing_to_whom_needs_it() {
        let mut seen = seen(Err("none".into()));
        seen.library = Library {
            version: (4, 1, 6),
            curve: false,
        };
        let findings = judge(&seen, &keyed(public()));
        assert_eq!(findings[0].status, Status::Missing);
        assert_eq!(findings[1].status, Status::Missing);
        assert_eq!(findings[1].needed_by, ["hosts.localhost.key"]);
    }
}
