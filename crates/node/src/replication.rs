//! Replication, as a primary and as a replica.

use crate::node::Node;
use shoal_protocol::{Command, ErrorReply};
use shoal_session::Session;

impl Node {
    /// Whether this node follows a primary.
    pub(crate) fn is_replica(&self) -> bool {
        false
    }

    /// Whether effects have to go into the stream.
    pub(crate) fn replication_is_active(&self) -> bool {
        false
    }

    /// The offset of the stream's last byte.
    pub(crate) fn replication_offset(&self) -> u64 {
        self.stream.end() - 1
    }

    /// Appends bytes to the stream.
    pub(crate) fn feed_stream(&mut self, bytes: &[u8]) {
        self.stream.append(bytes);
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
}
