//! The producer's end of one link: a DEALER, its connections, its credits, and what waits for them.
//!
//! ```text
//!             made: hello             welcome
//! Connecting ─────────────▶ Greeted ───────────▶ Up ──┐
//!      ▲                       │ refusal          │    │ refusal
//!      │ broken                ▼                  │    │
//!      ├─────────────────── Refused ◀─────────────┼────┘
//!      └──────────────────────────────────────────┘ broken: what was in transit may be lost
//! ```
//!
//! Within a process a link begins as greeted and does not break. Invariants: envelopes are sent only while the link is up,
//! those with tensors only for a credit; what waits survives a broken connection, credits and sequence numbers do not;
//! an answer counts only if it names the present connection.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tracing::{info, warn};

use crate::tensormq::envelope::{Body, encode_each};
use crate::tensormq::frame::{self, GRANT, REFUSAL, WELCOME};
use crate::tensormq::greeting::{Hello, NAME_BYTES_MAX, Refusal, Welcome};
use crate::tensormq::lending::Lending;
use crate::tensormq::outgoing::Outgoing;
use crate::tensormq::socket::{Connection, Context, Edges, Rekeyed, Socket};
use crate::tensormq::wire::Encoder;
use crate::tensormq::{Arena, Envelope, Form, Grant, LinkError, Moved, Party};
use crate::types::{Encodings, Endpoint, RequestId, Tensor};

/// Messages in the pipe to the consumer. Credits bound those with tensors.
pub(super) const HIGH_WATER_MARK: i32 = 1 << 14;
/// Cancellations that wait behind a full pipe or for a connection; further ones are dropped.
const CANCELLATIONS_MAX: usize = 1 << 14;
/// Messages of other kinds without tensors that wait so; the oldest are dropped for further ones.
const URGENT_MAX: usize = 1 << 15;
/// Failures that are remembered as perhaps in transit.
const FAILURES_AT_RISK_MAX: usize = 1024;

/// How a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Nobody answers at the consumer's address, or nobody yet.
    Connecting,
    /// The producer has said hello.
    Greeted,
    /// Envelopes can be sent.
    Up {
        /// Of the consumer's process.
        incarnation: u64,
    },
    /// The consumer does not let this producer in; it is asked again on the next connection.
    Refused { reason: String },
}

/// A consumer whose connection broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostPeer {
    /// Of the consumer's process; if it is another when the link is up again, whatever it held is lost too.
    pub incarnation: u64,
    /// Requests whose envelopes may have been in transit, oldest first. Each that was is among them.
    pub at_risk: Vec<RequestId>,
    pub cause: String,
}

/// What [`Outbound::poll`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "a lost peer is reported once"]
pub struct Polled {
    /// Something arrived, changed or could be sent: poll again before waiting for an edge.
    pub progress: bool,
    pub lost: Option<LostPeer>,
}

/// Sends envelopes to one consumer.
#[derive(Debug)]
pub struct Outbound {
    pub(super) socket: Socket,
    party: Party,
    pub(super) endpoint: Endpoint,
    name: String,
    pub(super) state: LinkState,
    /// Number of the present connection, from 1.
    connection: u32,
    /// The hello of this connection has been sent.
    greeted: bool,
    pub(super) sequence: u64,
    pub(super) window: u32,
    pub(super) credits: u32,
    /// Bounded by its owner, who launches nothing while [`Outbound::backlog`] is not zero.
    pub(super) waiting: VecDeque<Envelope>,
    /// Messages without tensors; they overtake what waits for credit.
    pub(super) urgent: VecDeque<Envelope>,
    /// The newest tensor envelopes of this connection, at most as many as the window: sequence numbers and requests.
    pub(super) sent: VecDeque<(u64, RequestId)>,
    /// Requests of the newest other messages of this connection that a request depends on.
    pub(super) failed: VecDeque<RequestId>,
    /// Why the last attempt to connect failed.
    failure: Option<String>,
    /// The last attempt to connect was denied, and no other has been made since.
    denied: bool,
    pub(super) lending: Lending,
    encoder: Encoder,
    /// Why the consumer did not let this producer in last, until it does.
    refusal: Option<String>,
    pub(super) moved: Moved,
    /// Messages without tensors that were dropped, as too many waited.
    dropped: u64,
}

impl Outbound {
    /// Connects under a name that is unique among the producers of that consumer. The consumer need not be there yet.
    pub fn connect(context: &Context, endpoint: &Endpoint, name: &str) -> Result<Self, LinkError> {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(LinkError::NameLength {
                name: name.to_owned(),
                max: NAME_BYTES_MAX,
            });
        }
        let mut link = Self {
            socket: context.connect(endpoint, HIGH_WATER_MARK)?,
            party: context.party(),
            endpoint: endpoint.clone(),
            name: name.to_owned(),
            state: LinkState::Connecting,
            connection: 0,
            greeted: false,
            sequence: 0,
            window: 0,
            credits: 0,
            waiting: VecDeque::new(),
            urgent: VecDeque::new(),
            sent: VecDeque::new(),
            failed: VecDeque::new(),
            failure: None,
            denied: false,
            lending: Lending::default(),
            encoder: Encoder::default(),
            refusal: None,
            moved: Moved::default(),
            dropped: 0,
        };
        if !link.socket.is_watched() {
            link.greet()?;
        }
        Ok(link)
    }

    /// Sends tensors in slots of this arena where the carrier is ipc and the consumer can map it.
    #[must_use]
    pub fn with_arena(mut self, arena: &Arena) -> Self {
        if matches!(self.endpoint, Endpoint::Ipc(_)) {
            self.lending.set_arena(arena.clone());
        }
        self
    }

    /// Encodes from now on the payloads of edges that are among these where the carrier is tcp. A pause of trials ends.
    pub fn set_encodings(&mut self, encodings: &Arc<Encodings>) {
        if matches!(self.endpoint, Endpoint::Tcp { .. }) {
            self.encoder = Encoder::new(encodings.clone());
        }
    }

    /// Sends as soon as the link and its credits allow: now, or from a later [`Outbound::flush`]. Never blocks.
    pub fn send(&mut self, mut envelope: Envelope) -> Result<(), LinkError> {
        match &mut envelope.body {
            Body::Tensors(tensors) => {
                // Now rather than when it is sent: the producer's other links send the same tensors now.
                self.lending.place(tensors, &mut self.moved);
                self.waiting.push_back(envelope);
            }
            // A peer that takes nothing any more would have them pile up; its requests end by their deadlines anyway.
            Body::Cancel if self.urgent.len() >= CANCELLATIONS_MAX => {}
            body => {
                if let Body::State(state) = body {
                    // Only the newest counts.
                    self.urgent.retain(|waiting| {
                        !matches!(&waiting.body, Body::State(old)
                            if (old.block, old.instance) == (state.block, state.instance))
                    });
                }
                if self.urgent.len() >= URGENT_MAX {
                    self.urgent.pop_front();
                    self.dropped += 1;
                    if self.dropped.is_power_of_two() {
                        let (link, producer, dropped) = (&self.endpoint, &self.name, self.dropped);
                        warn!(%link, producer, dropped, "too many messages wait, the oldest are dropped");
                    }
                }
                self.urgent.push_back(envelope);
            }
        }
        self.flush().map(drop)
    }

    /// Sends what waits, as far as the link, its credits and the socket allow. Tells whether anything was sent.
    pub fn flush(&mut self) -> Result<bool, LinkError> {
        let mut progress = self.greet_if_due()?;
        if !matches!(self.state, LinkState::Up { .. }) {
            return Ok(progress);
        }
        while let Some(mut envelope) = self.urgent.pop_front() {
            let sent = self.transmit(&mut envelope);
            if !matches!(sent, Ok(true)) {
                self.urgent.push_front(envelope);
                return sent.map(|_| progress);
            }
            progress = true;
            if matches!(envelope.body, Body::Failure(_) | Body::Lost(_)) {
                remember(
                    &mut self.failed,
                    envelope.address.request,
                    FAILURES_AT_RISK_MAX,
                );
            }
        }
        while self.credits > 0
            && let Some(mut envelope) = self.waiting.pop_front()
        {
            let sent = self.transmit(&mut envelope);
            if !matches!(sent, Ok(true)) {
                // It waits also where it failed, as whoever asks what has not been sent is to hear of it.
                self.waiting.push_front(envelope);
                return sent.map(|_| progress);
            }
            progress = true;
            self.credits -= 1;
            let sent = (self.sequence - 1, envelope.address.request);
            remember(&mut self.sent, sent, self.window as usize);
        }
        Ok(progress)
    }

    /// Looks at what has become of the connection, takes what has arrived and sends what that allows.
    pub fn poll(&mut self) -> Result<Polled, LinkError> {
        let mut polled = Polled::default();
        if self.socket.rekey()? == Rekeyed::Reconnected {
            polled.progress = true;
            let cause = format!("the connection to {} is made anew", self.endpoint);
            let refused = matches!(self.state, LinkState::Refused { .. });
            if !refused {
                polled.lost = self.lose(LinkState::Connecting, cause);
            }
            if polled.lost.is_some() {
                return Ok(polled);
            }
        }
        while let Some(change) = self.socket.next_change()? {
            polled.progress = true;
            match change {
                Connection::Made => {
                    self.socket.settle();
                    self.denied = false;
                    polled.lost = self.lose(LinkState::Connecting, self.broken());
                    self.greet()?;
                }
                Connection::Failed(cause) => {
                    if self.failure.as_ref() != Some(&cause) {
                        warn!(link = %self.endpoint, producer = self.name, cause, "no connection");
                    }
                    self.failure = Some(cause);
                    self.socket.try_next_key()?;
                }
                Connection::Denied(cause) => {
                    self.denied = true;
                    polled.lost = self.refuse(cause);
                    self.socket.try_again();
                }
                // The attempt that was denied, which is known.
                Connection::Broken if self.denied => {}
                Connection::Broken => {
                    // Should libzmq, after something that is no ZMTP, not do so by itself.
                    self.socket.try_again();
                    polled.lost = self.lose(LinkState::Connecting, self.broken());
                }
            }
            if polled.lost.is_some() {
                return Ok(polled);
            }
        }
        while let Some(frame) = self.socket.try_receive_frame()? {
            polled.progress = true;
            let refused = self.take(&frame);
            let refused = refused.unwrap_or_else(|error| {
                Some(format!("the consumer's answer makes no sense: {error}"))
            });
            if let Some(reason) = refused {
                polled.lost = self.refuse(reason);
                // The connection lives, so nobody else would ask again.
                self.socket.try_again();
                if polled.lost.is_some() {
                    return Ok(polled);
                }
            }
        }
        polled.progress |= self.flush()?;
        Ok(polled)
    }

    /// Tells whether something of a request waits here and has not been sent.
    pub fn holds(&self, request: RequestId) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|envelope| envelope.address.request == request)
    }

    /// Drops what waits of a request that is of no interest any more.
    pub fn forget(&mut self, request: RequestId) {
        self.waiting
            .retain(|envelope| envelope.address.request != request);
    }

    /// Returns the edges to wait for: drain the link, then wait for the next. Must be called within a tokio runtime.
    pub fn edges(&self) -> Result<Edges, LinkError> {
        self.socket.edges()
    }

    /// Begins anew on a connection that has just been made.
    pub(super) fn greet(&mut self) -> Result<(), LinkError> {
        self.connection = self.connection.checked_add(1).unwrap_or(1);
        self.greeted = false;
        self.state = LinkState::Greeted;
        self.greet_if_due().map(drop)
    }

    fn greet_if_due(&mut self) -> Result<bool, LinkError> {
        if self.greeted || self.state != LinkState::Greeted {
            return Ok(false);
        }
        let hello = Hello {
            party: self.party,
            connection: self.connection,
            name: self.name.clone(),
            arena: self.lending.announcement(),
            pool: self.lending.pool_card(),
        };
        self.greeted = self.socket.send(&hello.encode(), Vec::new())?;
        Ok(self.greeted)
    }

    /// Takes an answer of the consumer; returns the reason if it is a refusal.
    fn take(&mut self, frame: &[u8]) -> Result<Option<String>, LinkError> {
        // Of any version.
        if let Ok(refusal) = Refusal::decode(frame) {
            let meant = [0, self.connection].contains(&refusal.connection);
            return Ok(meant.then_some(refusal.reason));
        }
        match frame::kind(frame)? {
            WELCOME => {
                let welcome = Welcome::decode(frame)?;
                if welcome.connection == self.connection && self.state == LinkState::Greeted {
                    self.welcomed(welcome);
                }
            }
            GRANT => {
                let grant = Grant::decode(frame)?;
                if grant.connection == self.connection && self.peer().is_some() {
                    let credits = self.credits.saturating_add(grant.credits);
                    self.credits = credits.min(self.window);
                    self.lending.take_back(&grant.returned);
                }
            }
            REFUSAL => return Refusal::decode(frame).map(|_| None),
            kind => frame::expect_kind(kind, GRANT)?,
        }
        Ok(None)
    }

    fn welcomed(&mut self, welcome: Welcome) {
        let incarnation = welcome.incarnation;
        self.state = LinkState::Up { incarnation };
        let held = welcome.held.as_deref();
        let mapped = [held.is_some(), welcome.pool];
        self.lending
            .welcomed(incarnation, mapped, held.unwrap_or_default());
        self.window = welcome.window;
        self.credits = welcome.credits.min(welcome.window);
        self.failure = None;
        self.refusal = None;
        self.sequence = 1;
        self.sent.clear();
        self.failed.clear();
        if self.connection > 1 {
            info!(link = %self.endpoint, producer = self.name, "connected again");
        }
    }

    fn refuse(&mut self, reason: String) -> Option<LostPeer> {
        let known = self.refusal.as_ref() == Some(&reason);
        if !known {
            self.refusal = Some(reason.clone());
            warn!(link = %self.endpoint, producer = self.name, reason, "refused");
        }
        let cause = reason.clone();
        self.lose(LinkState::Refused { reason }, cause)
    }

    fn broken(&self) -> String {
        format!("the connection to {} broke", self.endpoint)
    }

    /// Returns the requests of envelopes that may not have arrived: transit keeps the order, and holds only what no credit has
    /// come back for.
    pub(super) fn in_transit(&self) -> impl Iterator<Item = RequestId> {
        let max = self.window.saturating_sub(self.credits) as usize;
        let skipped = self.sent.len().saturating_sub(max);
        self.sent.iter().skip(skipped).map(|(_, request)| *request)
    }

    /// Ends being up, if the link is; returns what that costs.
    fn lose(&mut self, next: LinkState, cause: String) -> Option<LostPeer> {
        let state = std::mem::replace(&mut self.state, next);
        let in_transit: Vec<_> = self.in_transit().collect();
        self.credits = 0;
        let LinkState::Up { incarnation } = state else {
            return None;
        };
        self.sent.clear();
        let mut seen = BTreeSet::new();
        let at_risk = in_transit
            .into_iter()
            .chain(self.failed.drain(..))
            .filter(|&request| seen.insert(request))
            .collect();
        Some(LostPeer {
            incarnation,
            at_risk,
            cause,
        })
    }

    fn transmit(&mut self, envelope: &mut Envelope) -> Result<bool, LinkError> {
        let tensors: &mut [(u16, Tensor)] = match &mut envelope.body {
            Body::Tensors(tensors) => tensors,
            _ => &mut [],
        };
        let mut shown = Vec::new();
        if self.socket.form() != Form::Handle {
            let Some(all) = self.lending.show(tensors, &mut self.moved)? else {
                return Ok(false);
            };
            shown = all;
        }
        self.lending.place(tensors, &mut self.moved);
        // Encoded again if it cannot be sent now, which takes a connection that has just been lost.
        let outgoing = Outgoing::of(
            envelope,
            &shown,
            self.socket.form(),
            &self.lending,
            &mut self.encoder,
        );
        let header = encode_each(envelope, self.sequence, |index| outgoing.forms[index])?;
        let sent = self.socket.send(&header, outgoing.frames)?;
        if sent {
            self.sequence += 1;
            self.moved += outgoing.moved;
            self.lending.sent(envelope, &outgoing.forms, &shown);
        }
        Ok(sent)
    }
}

fn remember<T>(newest: &mut VecDeque<T>, one: T, max: usize) {
    if newest.len() >= max {
        newest.pop_front();
    }
    newest.push_back(one);
}
