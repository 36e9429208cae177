//! How each tensor of one envelope travels, settled when it is sent.

use crate::types::Tensor;

use super::lending::{Lending, Shown};
use super::wire::Encoder;
use super::{Body, Envelope, Form, Moved};

/// The tensors of one envelope, ready to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// By tensor.
    pub(super) forms: Vec<Form>,
    /// What stands behind the header: of tensors that have a frame, themselves or what they were encoded to.
    pub(super) frames: Vec<Tensor>,
    /// What sending it moves.
    pub(super) moved: Moved,
}

impl Outgoing {
    /// Settles the forms of tensors that cross a socket in the form `of_socket` unless there is a better one. `shown` are those
    /// that lie in a pool, by tensor.
    pub(super) fn of(
        envelope: &Envelope,
        shown: &Shown,
        of_socket: Form,
        lending: &Lending,
        encoder: &mut Encoder,
    ) -> Self {
        let mut outgoing = Self::default();
        let Body::Tensors(tensors) = &envelope.body else {
            return outgoing;
        };
        let address = &envelope.address;
        for (index, (port, tensor)) in tensors.iter().enumerate() {
            let form = match (of_socket, shown.get(index)) {
                (_, Some(Some((_, range)))) => Form::Pool(*range),
                (Form::Bytes, _) => lending.form(tensor, index),
                (form, _) => form,
            };
            let edge = (address.pipeline, address.step, *port);
            let encoded = (form == Form::Bytes).then(|| encoder.encode(edge, tensor));
            match encoded.flatten() {
                Some((frame, encoding)) => outgoing.add(tensor, frame, Form::Encoded(encoding)),
                None => outgoing.add(tensor, tensor.clone(), form),
            }
        }
        outgoing
    }

    fn add(&mut self, tensor: &Tensor, frame: Tensor, form: Form) {
        let bytes = tensor.byte_count() as u64;
        match form {
            Form::Handle => {}
            Form::Slot(_) => self.moved.lent += bytes,
            Form::Pool(_) => self.moved.shown += bytes,
            Form::Bytes | Form::Encoded(_) => {
                self.moved.bytes += bytes;
                self.moved.framed += frame.byte_count() as u64;
            }
        }
        if !matches!(form, Form::Slot(_) | Form::Pool(_)) {
            self.frames.push(frame);
        }
        self.forms.push(form);
    }
}
