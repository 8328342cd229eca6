//! Handshake, backlog, offsets and the choice between full and partial synchronisation.
//!
//! Bytes in, bytes and events out: nothing here knows a connection, a clock or a keyspace. The protocol is that of
//! PSYNC as Redis 2.8 to 7.2 speak it.

mod choice;
mod dual_channel;
mod handshake;
mod id;
mod line;
mod stream;
mod transfer;

pub use choice::{Choice, History, Refusal, choose};
pub use dual_channel::{MainChannel, SnapshotChannel, SnapshotEnd};
pub use handshake::{Failure, Handshake, HandshakeSettings, LINE_MAX_BYTES, Note, Output, Resume};
pub use id::ReplicationId;
pub use stream::Stream;
pub use transfer::{Framing, MARK_BYTES, Received, Transfer};
