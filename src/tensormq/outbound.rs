//! The producer's end of one link: a DEALER, its credits, and what waits for them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::{Endpoint, Epoch, PipelineId, RequestId, StepId};

use super::envelope::{Addressed, Body, encode};
use super::socket::{Context, Edges, Socket};
use super::{Envelope, Grant, LinkError};

/// Messages in the pipe to the consumer. Credits bound those with tensors.
const HIGH_WATER_MARK: i32 = 1 << 14;
/// Cancellations that wait behind a full pipe; further ones are dropped.
const CANCELLATIONS_MAX: usize = 1 << 14;

/// Sends envelopes to one consumer.
#[derive(Debug)]
pub struct Outbound {
    socket: Socket,
    sequence: u64,
    credits: u32,
    /// Bounded by its owner, who launches nothing while [`Outbound::backlog`] is not zero.
    waiting: VecDeque<Envelope>,
    /// Failures and cancellations; they overtake what waits for credit.
    urgent: VecDeque<Envelope>,
}

impl Outbound {
    /// Connects under a name that is unique among the producers of that consumer, and says hello.
    pub fn connect(
        context: &Context,
        endpoint: &Endpoint,
        identity: &str,
    ) -> Result<Self, LinkError> {
        let mut link = Self {
            socket: context.connect(endpoint, identity, HIGH_WATER_MARK)?,
            sequence: 0,
            credits: 0,
            waiting: VecDeque::new(),
            urgent: VecDeque::new(),
        };
        let address = Addressed {
            request: RequestId(0),
            epoch: Epoch(0),
            pipeline: PipelineId(0),
            step: StepId(0),
            time_left: Duration::ZERO,
        };
        link.send(Envelope {
            address,
            body: Body::Hello,
        })?;
        Ok(link)
    }

    /// Sends as soon as credits allow: now, or from a later [`Outbound::flush`]. Never blocks.
    pub fn send(&mut self, envelope: Envelope) -> Result<(), LinkError> {
        match envelope.body {
            Body::Tensors(_) => self.waiting.push_back(envelope),
            // A peer that takes nothing any more would have them pile up; its requests end by their deadlines anyway.
            Body::Cancel if self.urgent.len() >= CANCELLATIONS_MAX => {}
            _ => self.urgent.push_back(envelope),
        }
        self.flush()
    }

    /// Sends what waits, as far as credits and the socket allow.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        while let Some(envelope) = self.urgent.front() {
            if !transmit(&mut self.socket, &mut self.sequence, envelope)? {
                return Ok(());
            }
            self.urgent.pop_front();
        }
        while self.credits > 0
            && let Some(envelope) = self.waiting.front()
        {
            if !transmit(&mut self.socket, &mut self.sequence, envelope)? {
                return Ok(());
            }
            self.waiting.pop_front();
            self.credits -= 1;
        }
        Ok(())
    }

    /// Takes the credits that have arrived and sends what they allow. Tells whether any arrived.
    pub fn poll(&mut self) -> Result<bool, LinkError> {
        let mut arrived = false;
        while let Some(frame) = self.socket.try_receive_frame()? {
            let Grant(credits) = Grant::decode(&frame)?;
            self.credits = self.credits.saturating_add(credits);
            arrived = true;
        }
        if arrived {
            self.flush()?;
        }
        Ok(arrived)
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

    /// Returns how many envelopes wait for credit.
    pub fn backlog(&self) -> usize {
        self.waiting.len() + self.urgent.len()
    }

    /// Returns how many more envelopes the consumer would take now.
    pub fn credits(&self) -> u32 {
        self.credits
            .saturating_sub(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX))
    }
}

fn transmit(
    socket: &mut Socket,
    sequence: &mut u64,
    envelope: &Envelope,
) -> Result<bool, LinkError> {
    let header = encode(envelope, *sequence)?;
    let tensors: &[_] = if let Body::Tensors(tensors) = &envelope.body {
        tensors
    } else {
        &[]
    };
    let sent = socket.send_handles(&header, tensors)?;
    if sent {
        *sequence += 1;
    }
    Ok(sent)
}
