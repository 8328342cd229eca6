//! Connections of the bus: which node each belongs to.

use super::ClusterMachine;
use crate::NodeFlags;
use crate::interface::{LinkId, LogLevel, Output};
use crate::view::NodeKey;
use shoal_machine::Monotonic;
use std::sync::Arc;

/// More accepted connections than this are closed at once: every node opens one.
const MAX_ACCEPTED_LINKS: usize = 20_000;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The node at the other end, once it is known.
    pub node: Option<NodeKey>,
    /// Whether it is open; one of ours is not until the peer has accepted it.
    pub is_open: bool,
    /// When it was made.
    pub created: Monotonic,
    /// The same in milliseconds since 1970, as users are shown it: the two clocks do not tick together.
    pub created_ms: u64,
    /// The peer's address, for an accepted one.
    pub peer: Option<Arc<str>>,
    /// Our own address, for an accepted one.
    pub local: Option<Arc<str>>,
}

impl ClusterMachine {
    /// Whether there is an open link behind `link`.
    pub(super) fn is_open(&self, link: Option<LinkId>) -> bool {
        link.and_then(|link| self.links.get(&link)).is_some_and(|link| link.is_open)
    }

    /// The open link to a node.
    pub(super) fn open_link(&self, key: NodeKey) -> Option<LinkId> {
        self.table.get(key)?.link.filter(|&link| self.is_open(Some(link)))
    }

    pub(super) fn connect(&mut self, key: NodeKey) {
        let (now, created_ms) = (self.monotonic(), self.now.unix_ms());
        let Some(node) = self.table.get_mut(key) else { return };
        let link = LinkId::outgoing(self.next_link);
        self.next_link += 1;
        node.link = Some(link);
        node.connected_at = Some(now);
        // The ping leaves when the link opens; a node that cannot be reached is timed from now on.
        node.ping_sent.get_or_insert(now);
        let (host, port) = (node.host.clone(), node.bus_port);
        self.links.insert(
            link,
            Link { node: Some(key), is_open: false, created: now, created_ms, peer: None, local: None },
        );
        self.outputs.push(Output::Connect { link, host, port });
    }

    /// Closes a link and forgets it.
    pub(super) fn close_link(&mut self, link: LinkId) {
        if self.forget_link(link).is_some() {
            self.outputs.push(Output::Close { link });
        }
    }

    pub(super) fn on_link_opened(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.is_open = true;
        let Some(key) = link.node else { return };
        let Some(node) = self.table.get_mut(key) else { return };
        node.death_signs = None;
        let is_meet = node.flags.has(NodeFlags::MEET);
        // If nothing may be sent now, the MEET goes out with the next link.
        let is_silent = self.is_silent();
        self.send_ping_on(id, is_meet);
        if let Some(node) = self.table.get_mut(key).filter(|_| !is_silent) {
            node.flags.clear(NodeFlags::MEET);
        }
    }

    /// A link of ours was refused; `by_peer`: by the system of the other side.
    pub(super) fn on_link_refused(&mut self, id: LinkId, by_peer: bool) {
        let key = self.links.get(&id).and_then(|link| link.node);
        self.on_link_lost(id);
        if let Some(key) = key.filter(|_| by_peer) {
            self.note_refusal(key);
        }
    }

    /// Any link broke, or was closed because too much waited to be sent.
    pub(super) fn on_link_closed(&mut self, id: LinkId, over_limit: bool) {
        let link = self.links.get(&id).filter(|link| link.is_open && !id.is_accepted() && !over_limit);
        let key = link.and_then(|link| link.node);
        self.on_link_lost(id);
        if let Some(key) = key {
            self.note_broken_link(key);
        }
    }

    fn on_link_lost(&mut self, id: LinkId) {
        let now = self.monotonic();
        let Some(link) = self.forget_link(id) else { return };
        if let Some(node) = link.node.and_then(|key| self.table.get_mut(key))
            && !id.is_accepted()
        {
            node.ping_sent.get_or_insert(now);
        }
    }

    pub(super) fn on_accepted(&mut self, link: LinkId, peer: Arc<str>, local: Arc<str>) {
        if self.links.len() >= MAX_ACCEPTED_LINKS + self.table.len() {
            self.outputs.push(Output::Close { link });
            return;
        }
        self.log(LogLevel::Verbose, format!("Accepting cluster node connection from {peer}"));
        let (created, created_ms) = (self.monotonic(), self.now.unix_ms());
        let link_data =
            Link { node: None, is_open: true, created, created_ms, peer: Some(peer), local: Some(local) };
        self.links.insert(link, link_data);
    }

    /// Notes which node opened an accepted link. An older one of the same node is the staler of the two.
    pub(super) fn bind_accepted(&mut self, id: LinkId, key: NodeKey) {
        let Some(node) = self.table.get_mut(key) else { return };
        let previous = node.accepted_link.replace(id);
        if let Some(link) = self.links.get_mut(&id) {
            link.node = Some(key);
        }
        if let Some(previous) = previous.filter(|&previous| previous != id)
            && self.links.remove(&previous).is_some()
        {
            self.outputs.push(Output::Close { link: previous });
        }
    }

    /// Takes a node out of the table and closes its links.
    pub(super) fn remove_node(&mut self, key: NodeKey) {
        if key == self.myself {
            return;
        }
        let Some(node) = self.table.remove(key) else { return };
        for link in [node.link, node.accepted_link].into_iter().flatten() {
            if self.links.remove(&link).is_some() {
                self.outputs.push(Output::Close { link });
            }
        }
        for open in [&mut self.migrating, &mut self.importing] {
            if open.values().any(|&other| other == key) {
                Arc::make_mut(open).retain(|_, &mut other| other != key);
            }
        }
        self.manual_failover_lost_node(key);
        self.todo.state = true;
        self.changed();
    }

    fn forget_link(&mut self, id: LinkId) -> Option<Link> {
        let link = self.links.remove(&id)?;
        self.owed_pongs.remove(&id);
        if let Some(node) = link.node.and_then(|key| self.table.get_mut(key)) {
            if node.link == Some(id) {
                node.link = None;
            }
            if node.accepted_link == Some(id) {
                node.accepted_link = None;
            }
        }
        Some(link)
    }
}
