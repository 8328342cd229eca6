//! Attempts to connect to the primary. The shell makes the connection; meanwhile the node may have given the attempt up and
//! begun another, so each has a name.

use super::replica::Link;
use crate::action::Action;
use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_machine::Now;
use shoal_replication::Handshake;
use shoal_session::Identity;

impl Node {
    /// Asks for the connection.
    pub(super) fn connect_to_primary(&mut self, now: Now, host: &mut dyn Host) {
        let ticket = self.replication.new_ticket();
        let Some(upstream) = &mut self.replication.upstream else { return };
        upstream.link = Link::Connecting { ticket };
        upstream.last_io = now.monotonic;
        let (name, port) = (upstream.host.clone(), upstream.port);
        self.actions.push(Action::ConnectPrimary { ticket, host: name, port });
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync started");
    }

    /// Asks for the connection if there is none.
    pub(super) fn connect_if_due(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &self.replication.upstream else { return };
        if matches!(upstream.link, Link::Waiting) {
            host.log(LogLevel::Notice, &format!("Connecting to MASTER {}:{}", upstream.host, upstream.port));
            self.connect_to_primary(now, host);
        }
    }

    /// Asks for a new connection at once, so that the primary still has what is missing here.
    pub(super) fn reconnect(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &self.replication.upstream else { return };
        host.log(LogLevel::Notice, &format!("Reconnecting to MASTER {}:{}", upstream.host, upstream.port));
        self.connect_to_primary(now, host);
    }

    /// The connection that [`Action::ConnectPrimary`] asked for is there. Its input goes to
    /// [`Node::primary_input`]; its output is that of the session. `None` if that attempt has been given up: the connection
    /// is to be closed.
    pub fn primary_connected(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        ticket: u64,
        identity: Identity,
    ) -> Option<Handle> {
        if !self.is_connecting(ticket) {
            return None;
        }
        let handle = self.insert_primary(now, identity);
        let settings = self.handshake_settings();
        let upstream = self.replication.upstream.as_mut()?;
        let mut outputs = Vec::new();
        let machine = Box::new(Handshake::new(settings, &mut outputs));
        upstream.link = Link::Handshake { handle, machine };
        upstream.last_io = now.monotonic;
        host.log(LogLevel::Notice, "Non blocking connect for SYNC fired the event.");
        self.carry_out(now, host, handle, outputs);
        Some(handle)
    }

    /// Whether an attempt to connect to the primary is still wanted. Its outcome may be on its way when another one takes
    /// its place.
    fn is_connecting(&self, ticket: u64) -> bool {
        let link = self.replication.upstream.as_ref().map(|upstream| &upstream.link);
        matches!(link, Some(Link::Connecting { ticket: awaited }) if *awaited == ticket)
    }

    /// The connection that [`Action::ConnectPrimary`] asked for cannot be made; `reason` is the system's text.
    pub fn primary_unreachable(&mut self, _now: Now, host: &mut dyn Host, ticket: u64, reason: &str) {
        if self.is_connecting(ticket)
            && let Some(upstream) = &mut self.replication.upstream
        {
            upstream.link = Link::Waiting;
            host.log(LogLevel::Warning, &format!("Error condition on socket for SYNC: {reason}"));
        }
    }
}
