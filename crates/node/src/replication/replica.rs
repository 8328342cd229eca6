//! This node as a replica: the link to its primary.

use crate::clients::Handle;
use crate::host::Host;
use crate::node::Node;
use shoal_cluster::NodeStatus;
use shoal_machine::Now;
use shoal_session::{ClientKind, Identity, ReplyMode, Session};

/// The primary that this node follows.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The connection.
    pub handle: Option<Handle>,
}

impl Node {
    /// Follows a primary, from the cluster machine's orders.
    pub fn follow(&mut self, _now: Now, _host: &mut dyn Host, primary_host: &str, port: u16) {
        self.replication.upstream = Some(Upstream { host: primary_host.to_owned(), port, handle: None });
    }

    /// Stops following a primary: this node becomes one.
    pub fn become_primary(&mut self, _now: Now, _host: &mut dyn Host) {
        self.replication.upstream = None;
    }

    /// The facts of replication that the cluster machine wants to know.
    pub fn replication_status(&self, _now: Now) -> NodeStatus {
        NodeStatus { replication_offset: self.replication_offset(), ..NodeStatus::default() }
    }

    /// The connection that [`crate::Action::ConnectPrimary`] asked for is there. Its input goes to
    /// [`Node::primary_input`]; its output is that of the session.
    pub fn primary_connected(&mut self, now: Now, _host: &mut dyn Host, identity: Identity) -> Handle {
        let mut session = Session::new(self.next_client_id, identity, now);
        self.next_client_id += 1;
        session.kind = ClientKind::Primary;
        session.is_authenticated = true;
        session.reply_mode = ReplyMode::Off;
        let handle = self.clients.insert(session);
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.handle = Some(handle);
        }
        handle
    }

    /// The connection that [`crate::Action::ConnectPrimary`] asked for cannot be made; `reason` is the system's text.
    pub fn primary_unreachable(&mut self, _now: Now, _host: &mut dyn Host, _reason: &str) {}

    /// Bytes from the primary: handshake, snapshot, then the stream.
    pub fn primary_input(&mut self, _now: Now, _host: &mut dyn Host, bytes: &[u8]) {
        self.stats.replication_input_bytes += bytes.len() as u64;
    }
}
