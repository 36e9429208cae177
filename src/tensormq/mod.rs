//! Moving tensors between actors: sockets, envelopes, links with credits.
