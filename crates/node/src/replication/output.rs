//! What is sent to a client: its own output, and for a replica then the shared stream.

use crate::clients::Handle;
use crate::node::Node;
use std::io::IoSlice;

impl Node {
    /// Whether something waits to be sent to a client.
    pub fn has_output(&self, handle: Handle) -> bool {
        let Some(session) = self.clients.session(handle) else { return false };
        let replication = &self.replication;
        !session.output.is_empty()
            || replication
                .peers
                .stream_position(handle)
                .is_some_and(|offset| offset < replication.stream.end())
    }

    /// Bytes of a client's own output that wait to be sent; those of the stream are not counted. `None` if there is no
    /// such client.
    pub fn output_waiting_bytes(&self, handle: Handle) -> Option<usize> {
        self.clients.session(handle).map(|session| session.output.len())
    }

    /// What waits for a client, as at most `limit` slices for one vectored write. A replica's bytes of the stream are
    /// not copied.
    pub fn output_slices(&self, handle: Handle, limit: usize) -> Vec<IoSlice<'_>> {
        let Some(session) = self.clients.session(handle) else { return Vec::new() };
        let position = self.replication.peers.stream_position(handle);
        let stream = &self.replication.stream;
        if session.output.is_empty() {
            return position.map(|offset| stream.slices(offset, limit)).unwrap_or_default();
        }
        let mut slices = session.output.slices(limit);
        // The stream follows only if nothing of the output is left out.
        if let Some(offset) = position
            && slices.iter().map(|slice| slice.len()).sum::<usize>() == session.output.len()
        {
            slices.extend(stream.slices(offset, limit.saturating_sub(slices.len())));
        }
        slices
    }

    /// The first `count` bytes of [`Node::output_slices`] have been sent.
    pub fn output_sent(&mut self, handle: Handle, count: usize) {
        let Some(session) = self.clients.session_mut(handle) else { return };
        let own = session.output.len().min(count);
        session.output.consume(own);
        self.stats.writes += 1;
        self.note_sent(handle);
        if self.replication.peers.sent(handle, count as u64, (count - own) as u64) {
            self.stats.replication_output_bytes += count as u64;
        } else {
            self.stats.output_bytes += count as u64;
        }
    }
}
