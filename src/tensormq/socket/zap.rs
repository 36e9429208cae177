//! Who is let in on encrypted sockets: a thread that answers libzmq's questions (ZAP 1.0, ZeroMQ RFC 27).
//!
//! Only a CURVE key that the keyring has an owner for is let in. Should this thread end, libzmq lets everybody connect; a
//! consumer looks at the key once more when it is greeted, so that no stranger gets further than that.
//! The owner's key is the user id of every message of that connection. Refusals are counted; of those in a row one is
//! logged every few seconds.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::telemetry::metrics;
use crate::tensormq::LinkError;
use crate::types::PublicKey;

use super::io::{failed, patient};
use super::ring::Ring;

/// Where libzmq asks.
const ADDRESS: &str = "inproc://zeromq.zap.01";
const VERSION: &[u8] = b"1.0";
pub(super) const DOMAIN: &str = "blockflow";
/// How often refusals are logged at most.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// How often sockets are woken that want to try again.
const TRY_AGAIN_MS: i64 = 500;

/// Starts the thread. It ends when it hears anything on the socket that is returned, or when that is closed.
pub(super) fn start(context: &zmq::Context, ring: Arc<Ring>) -> Result<zmq::Socket, LinkError> {
    let name = "inproc://zap-end";
    let zap = context.socket(zmq::REP).map_err(failed)?;
    zap.set_linger(0).map_err(failed)?;
    zap.bind(ADDRESS).map_err(failed)?;
    let end = context.socket(zmq::PAIR).map_err(failed)?;
    end.bind(name).map_err(failed)?;
    let ends = context.socket(zmq::PAIR).map_err(failed)?;
    ends.connect(name).map_err(failed)?;
    thread::Builder::new()
        .name("blockflow-zap".into())
        .spawn(move || {
            if let Err(error) = (Door {
                ring,
                refusals: Refusals::default(),
            })
            .keep(&zap, &end)
            {
                // Whoever connects from now on is turned away when it says hello.
                warn!(%error, "no host is let in any more");
            }
        })
        .map_err(|error| LinkError::Socket(error.to_string()))?;
    Ok(ends)
}

struct Door {
    ring: Arc<Ring>,
    refusals: Refusals,
}

impl Door {
    fn keep(&mut self, zap: &zmq::Socket, end: &zmq::Socket) -> zmq::Result<()> {
        loop {
            let mut items = [zap.as_poll_item(zmq::POLLIN), end.as_poll_item(zmq::POLLIN)];
            patient(|| zmq::poll(&mut items, TRY_AGAIN_MS))?;
            if items[1].is_readable() {
                return Ok(());
            }
            let asked = items[0].is_readable();
            self.ring.wake_the_patient();
            if asked {
                let question = patient(|| zap.recv_multipart(zmq::DONTWAIT))?;
                let answer = self.answer(&question);
                patient(|| zap.send_multipart(&answer, zmq::DONTWAIT))?;
            }
        }
    }

    /// Answers version, request id, domain, address, identity, mechanism, credentials.
    fn answer(&mut self, question: &[Vec<u8>]) -> [Vec<u8>; 6] {
        let part = |index: usize| question.get(index).map(Vec::as_slice).unwrap_or_default();
        let [version, request, domain, address, _, mechanism] = [0, 1, 2, 3, 4, 5].map(part);
        let sound = question.len() == 7
            && version == VERSION
            && domain == DOMAIN.as_bytes()
            && mechanism == b"CURVE";
        let key = <[u8; PublicKey::BYTES]>::try_from(part(6)).ok();
        let key = key.filter(|_| sound).map(PublicKey);
        let ring = self.ring.current();
        let owner = key.and_then(|key| Some((key, ring.owner(&key)?)));
        let (status, text, user) = match owner {
            Some((key, host)) => {
                debug!(host, "let in");
                ("200", "OK", key.to_string())
            }
            None => {
                self.refusals.note(&String::from_utf8_lossy(address), key);
                ("400", "unknown key", String::new())
            }
        };
        let [version, request] = [VERSION, request].map(<[u8]>::to_vec);
        [
            version,
            request,
            status.into(),
            text.into(),
            user.into(),
            Vec::new(),
        ]
    }
}

/// Refusals since the last one that was logged.
#[derive(Default)]
struct Refusals {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Refusals {
    fn note(&mut self, address: &str, key: Option<PublicKey>) {
        metrics::links().strangers.add(1);
        self.unlogged += 1;
        if self.logged.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        warn!(
            address,
            key = key.map(tracing::field::display),
            refused = self.unlogged,
            "a stranger was refused: no host of the configuration has its key"
        );
        self.logged = Some(Instant::now());
        self.unlogged = 0;
    }
}
