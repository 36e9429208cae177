//! The secret key of this host in its file, and the keys of all hosts as links use them.
//!
//! The file is one line of Z85 among lines that begin with `#`; nobody but its owner may read it, and what is in it is never
//! shown or passed on: each process reads it for itself.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::plan::Plan;
use crate::tensormq::{Context, HostKeys, KeyPair, Keyring, LinkError, Party};
use crate::types::{HostSpec, PublicKey};

/// Bytes of a key file at most.
const FILE_BYTES_MAX: u64 = 4096;
const HEADING: &str =
    "# Secret key of a BlockFlow host. Whoever has it passes for this host: keep it here.\n";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "neither XDG_CONFIG_HOME nor HOME says where the secret key is: pass --key-file with its path"
    )]
    NoPlace,
    #[error("cannot {action} the secret key {path}: {cause}", path = path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    #[error(
        "there is no secret key {path}: run `blockflow keys new` on this host, and give others what it prints",
        path = path.display()
    )]
    Missing { path: PathBuf },
    #[error(
        "there is a secret key {path} already: pass another --key-file, or remove it first",
        path = path.display()
    )]
    Exists { path: PathBuf },
    #[error(
        "others than its owner can get at the secret key {path} (mode {mode:o}): run chmod 600 on it, and make another if somebody may have read it",
        path = path.display()
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("{path} is no secret key: expected a regular file with 40 characters of Z85", path = path.display())]
    Unsound { path: PathBuf },
    #[error(
        "the secret key {path} goes with {own}, which is no key of host {host:?} in the configuration: add it to hosts.{host}.key, or pass the right --key-file",
        path = path.display()
    )]
    NotOurs {
        path: PathBuf,
        own: PublicKey,
        host: String,
    },
    #[error(
        "hosts of the configuration are not those that were started: only keys can be replaced while it runs"
    )]
    OtherHosts,
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Returns where the secret key of this host is, if nobody says otherwise.
pub fn key_file(given: Option<&Path>) -> Result<PathBuf, KeyError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let configured = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let directory = configured.or_else(|| Some(variable("HOME")?.join(".config")));
    let directory = directory.ok_or(KeyError::NoPlace)?;
    Ok(directory.join("blockflow").join("key"))
}

/// Makes keys and writes the secret one to a file that is not there yet. Returns the public key.
pub fn make_key(path: &Path) -> Result<PublicKey, KeyError> {
    let wrong = |cause: io::Error| KeyError::File {
        action: "write",
        path: path.to_owned(),
        cause,
    };
    let pair = KeyPair::generate()?;
    if let Some(directory) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(directory).map_err(wrong)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyError::Exists {
                path: path.to_owned(),
            });
        }
        opened => opened.map_err(wrong)?,
    };
    let text = format!("{HEADING}{}\n", pair.secret_text());
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|cause| {
        // Half a key is of no use.
        let _ = fs::remove_file(path);
        wrong(cause)
    })?;
    Ok(pair.public())
}

/// Reads the keys of this host from the file of its secret one.
pub fn read_key(path: &Path) -> Result<KeyPair, KeyError> {
    let wrong = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => KeyError::Missing {
            path: path.to_owned(),
        },
        _ => KeyError::File {
            action: "read",
            path: path.to_owned(),
            cause,
        },
    };
    let unsound = || KeyError::Unsound {
        path: path.to_owned(),
    };
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path).map_err(wrong)?.is_file() {
        return Err(unsound());
    }
    let file = File::open(path).map_err(wrong)?;
    let mode = file.metadata().map_err(wrong)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(wrong)?;
    let text = String::from_utf8(bytes).map_err(|_| unsound())?;
    // No `#` begins a key that another line could be: one with it has 40 characters all the same.
    let mut lines = text.lines().map(str::trim).filter(|line| {
        !line.is_empty() && (!line.starts_with('#') || line.len() == PublicKey::CHARACTERS)
    });
    match (lines.next().and_then(KeyPair::of_secret), lines.next()) {
        (Some(pair), None) => Ok(pair),
        _ => Err(unsound()),
    }
}

/// The keys that the links of a process use, and how to replace them.
#[derive(Debug)]
pub(super) struct Locks {
    context: Context,
    host: String,
    file: PathBuf,
    hosts: Vec<HostKeys>,
}

impl Locks {
    /// Returns a context for the links of a host, and its locks where the configuration has keys and other hosts.
    pub(super) fn open(
        plan: &Plan,
        host: &str,
        file: Option<&Path>,
        party: Party,
    ) -> Result<(Context, Option<Self>), KeyError> {
        let alone = plan.hosts.len() < 2;
        if alone || plan.hosts.iter().all(|host| host.keys.is_empty()) {
            return Ok((Context::new(party), None));
        }
        let hosts = plan.hosts.iter().map(|host| {
            let first = u32::from(host.port);
            let count = u32::try_from(plan.receivers_on(&host.name)).unwrap_or(u32::MAX);
            HostKeys {
                host: host.name.clone(),
                address: host.address,
                ports: first..first.saturating_add(count),
                keys: host.keys.clone(),
            }
        });
        let hosts: Vec<_> = hosts.collect();
        let file = key_file(file)?;
        let context = Context::secured(party, keyring(&hosts, host, &file)?)?;
        let locks = Self {
            context: context.clone(),
            host: host.to_owned(),
            file,
            hosts,
        };
        Ok((context, Some(locks)))
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the secret key again and takes the public keys of `hosts`, which have to be the same hosts. What cannot be used
    /// changes nothing.
    pub(super) fn renew(&mut self, hosts: &[HostSpec]) -> Result<(), KeyError> {
        let mut renewed = self.hosts.clone();
        if renewed.len() != hosts.len() {
            return Err(KeyError::OtherHosts);
        }
        for (known, told) in renewed.iter_mut().zip(hosts) {
            let same = known.host == told.name
                && known.address == told.address
                && known.ports.start == u32::from(told.port)
                && !told.keys.is_empty();
            if !same {
                return Err(KeyError::OtherHosts);
            }
            known.keys.clone_from(&told.keys);
        }
        self.context
            .rekey(keyring(&renewed, &self.host, &self.file)?);
        self.hosts = renewed;
        Ok(())
    }
}

fn keyring(hosts: &[HostKeys], host: &str, file: &Path) -> Result<Keyring, KeyError> {
    let own = read_key(file)?;
    let mut ours = hosts.iter().filter(|known| known.host == host);
    if !ours.any(|known| known.keys.contains(&own.public())) {
        return Err(KeyError::NotOurs {
            path: file.to_owned(),
            own: own.public(),
            host: host.to_owned(),
        });
    }
    Ok(Keyring {
        own,
        hosts: hosts.to_vec(),
    })
}
