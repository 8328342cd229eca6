//! Replication, as a primary and as a replica.
//!
//! ```text
//!  primary ══ link ══▶ replica.rs ── commands, applied ──▶ ┌────────┐ ── primary.rs ══▶ replicas
//!                                    own writes ─────────▶ │ stream │    (each an offset into it)
//!                                                          └────────┘
//! ```
//!
//! There is one stream with one id, whoever writes it. A primary appends what its clients changed; a replica appends,
//! byte for byte, what it has applied of its primary's stream. So the end of the stream is the offset that is
//! acknowledged, the offset that a partial synchronisation asks for, and what sub-replicas are fed from.

mod output;
mod primary;
mod replica;

use crate::clients::Handle;
use crate::node::Node;
use primary::Peers;
use replica::Upstream;
use shoal_machine::{Monotonic, Rng};
use shoal_protocol::{Command, ErrorReply};
use shoal_replication::Stream;
use shoal_session::Session;

/// A name of a stream's history: 40 hexadecimal characters.
pub(crate) type ReplicationId = [u8; 40];

/// What a node keeps for replication.
#[derive(Debug)]
pub(crate) struct Replication {
    /// What was written, for replicas and for partial synchronisations.
    pub stream: Stream,
    /// The name of the stream's history.
    pub id: ReplicationId,
    /// The name that the history had before, and the first offset that does not belong to it.
    pub second_id: Option<(ReplicationId, u64)>,
    /// Since when somebody has wanted the stream; writes are appended from then on.
    pub has_backlog: bool,
    /// The replicas of this node, and clients that are about to become one.
    pub peers: Peers,
    /// The primary that this node follows.
    pub upstream: Option<Upstream>,
    /// When the housekeeping of every second is due.
    pub next_cron_at: Monotonic,
}

impl Replication {
    /// A stream without a history.
    pub fn new(rng: &mut Rng, now: Monotonic) -> Self {
        Self {
            stream: Stream::new(1),
            id: rng.hex_id(),
            second_id: None,
            has_backlog: false,
            peers: Peers::default(),
            upstream: None,
            next_cron_at: now,
        }
    }
}

impl Node {
    /// Whether this node follows a primary.
    pub(crate) fn is_replica(&self) -> bool {
        self.replication.upstream.is_some()
    }

    /// Whether effects have to go into the stream.
    pub(crate) fn replication_is_active(&self) -> bool {
        self.replication.has_backlog && self.replication.upstream.is_none()
    }

    /// The offset of the stream's last byte.
    pub(crate) fn replication_offset(&self) -> u64 {
        self.replication.stream.end() - 1
    }

    /// Appends bytes to the stream, and wakes the replicas that are fed from it.
    pub(crate) fn feed_stream(&mut self, bytes: &[u8]) {
        self.replication.stream.append(bytes);
        for &handle in &self.replication.peers.online {
            self.clients.mark_pending(handle);
        }
    }

    /// Whether replication lets this command run.
    pub(crate) fn check_replication(
        &self,
        _session: &Session,
        _command: &Command,
        _writes: bool,
    ) -> Result<(), ErrorReply> {
        Ok(())
    }

    /// A connection that replication knows has ended.
    pub(crate) fn forget_peer(&mut self, handle: Handle) {
        self.replication.peers.remove(handle);
    }
}
