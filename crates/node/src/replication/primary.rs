//! The replicas that this node feeds.

use crate::clients::Handle;
use crate::host::{Host, SnapshotReport};
use crate::node::Node;
use shoal_machine::Now;
use std::collections::BTreeMap;

/// One replica, or a client that is about to become one.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// The next byte of the stream that it gets, once it is online.
    pub position: u64,
    /// It gets the stream.
    pub is_online: bool,
}

/// All replicas.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    all: BTreeMap<Handle, Peer>,
    /// Those that get the stream.
    pub online: Vec<Handle>,
}

impl Peers {
    /// The next byte of the stream for a replica that is fed from it.
    pub fn stream_position(&self, handle: Handle) -> Option<u64> {
        if self.online.is_empty() {
            return None;
        }
        self.all.get(&handle).filter(|peer| peer.is_online).map(|peer| peer.position)
    }

    /// Whether this is a replica.
    pub fn is_replica(&self, handle: Handle) -> bool {
        self.all.contains_key(&handle)
    }

    /// A replica has got bytes of the stream.
    pub fn advance(&mut self, handle: Handle, count: u64) {
        if count > 0
            && let Some(peer) = self.all.get_mut(&handle)
        {
            peer.position += count;
        }
    }

    /// Forgets a connection.
    pub fn remove(&mut self, handle: Handle) {
        if self.all.remove(&handle).is_some() {
            self.online.retain(|&other| other != handle);
        }
    }
}

impl Node {
    /// Bytes of a snapshot that goes to the replicas that wait for it.
    pub fn snapshot_chunk(&mut self, _now: Now, _host: &mut dyn Host, _bytes: &[u8]) {}

    /// Whether more bytes of the snapshot are wanted now; false while a replica has too much to send already.
    pub fn wants_snapshot_bytes(&self) -> bool {
        true
    }

    /// A snapshot has been written, or could not be.
    pub fn snapshot_ended(
        &mut self,
        _now: Now,
        _host: &mut dyn Host,
        _result: Result<SnapshotReport, String>,
    ) {
    }

    /// Bytes of the snapshot file for a replica, after [`crate::Action::SendSnapshotFile`].
    pub fn file_chunk(&mut self, _handle: Handle, _bytes: &[u8]) {}

    /// The snapshot file has been given to [`Node::file_chunk`] completely, or could not be read.
    pub fn file_sent(
        &mut self,
        _now: Now,
        _host: &mut dyn Host,
        _handle: Handle,
        _result: Result<(), String>,
    ) {
    }
}
