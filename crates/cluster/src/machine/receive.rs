//! Messages that come in.

use super::ClusterMachine;
use super::gossip::MAX_NODES;
use crate::interface::{LinkId, LogLevel, MachineMessage, Output};
use crate::messages::{Body, Gossip, Header, Message};
use crate::node_table::Node;
use crate::view::NodeKey;
use crate::{NodeFlags, NodeId};
use std::sync::Arc;

/// The value of `DEBUG DROP-CLUSTER-PACKET-FILTER` that drops everything.
const DROP_ALL: i32 = -2;

/// The three kinds of message that carry gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PingKind {
    Ping,
    Pong,
    Meet,
}

impl ClusterMachine {
    pub(super) fn on_message(&mut self, link: LinkId, message: &Message) {
        if !self.links.contains_key(&link) {
            return;
        }
        let number = message.body.type_number();
        if let Some(count) = self.messages_received.get_mut(usize::from(number)) {
            *count += 1;
        }
        let filter = self.config.drop_packet_filter;
        if filter == DROP_ALL || filter == i32::from(number) {
            self.log(LogLevel::Warning, "Dropping packet that matches debug drop filter".to_owned());
            return;
        }
        let header = &message.header;
        let sender = self.identify(link, header);
        if let Some(key) = sender {
            let now = self.monotonic();
            if let Some(node) = self.table.get_mut(key) {
                node.data_received = Some(now);
            }
            self.learn_from_header(key, header);
        }
        match &message.body {
            Body::Ping(gossip) => self.on_ping_kind(link, sender, header, gossip, PingKind::Ping),
            Body::Pong(gossip) => self.on_ping_kind(link, sender, header, gossip, PingKind::Pong),
            Body::Meet(gossip) => self.on_ping_kind(link, sender, header, gossip, PingKind::Meet),
            body => {
                let Some(sender) = sender.filter(|&sender| sender != self.myself) else {
                    if let Body::Fail { node } = body {
                        let text =
                            format!("Ignoring FAIL message from unknown node {} about {node}", header.sender);
                        self.log(LogLevel::Notice, text);
                    }
                    return;
                };
                self.on_message_of(sender, header, body);
            }
        }
    }

    /// The messages that only known nodes may send.
    fn on_message_of(&mut self, sender: NodeKey, header: &Header, body: &Body) {
        match body {
            Body::Fail { node } => self.on_fail(header.sender, *node),
            Body::Publish(publication) => {
                let publication = publication.clone();
                self.outputs
                    .push(Output::ToNode(MachineMessage::DeliverPublish { publication, sharded: false }));
            }
            Body::PublishShard(publication) => {
                let publication = publication.clone();
                self.outputs
                    .push(Output::ToNode(MachineMessage::DeliverPublish { publication, sharded: true }));
            }
            Body::AuthRequest => self.on_vote_request(sender, header),
            Body::AuthAck => self.on_vote(sender, header),
            Body::Update { node, config_epoch, slots } => self.on_update(*node, *config_epoch, slots),
            Body::ManualFailoverStart => self.on_manual_failover_start(sender),
            Body::Module | Body::Ping(_) | Body::Pong(_) | Body::Meet(_) => {}
        }
    }

    /// The node a message is from: the one its link belongs to, else the one of the name in it. Nobody, if both are known and
    /// differ: somebody else lives at that address now, perhaps in another cluster, and nothing that it says concerns this one.
    fn identify(&mut self, id: LinkId, header: &Header) -> Option<NodeKey> {
        let bound = self.links.get(&id)?.node;
        if let Some(key) = bound
            && let Some(node) = self.table.get(key).filter(|node| !node.is_in_handshake())
        {
            return (node.id == header.sender).then_some(key);
        }
        let sender = self.table.find(&header.sender)?;
        if self.table.get(sender)?.is_in_handshake() {
            return None;
        }
        if bound.is_none() && sender != self.myself {
            self.bind_accepted(id, sender);
        }
        Some(sender)
    }

    fn on_ping_kind(
        &mut self,
        link: LinkId,
        sender: Option<NodeKey>,
        header: &Header,
        gossip: &Gossip,
        kind: PingKind,
    ) {
        if kind != PingKind::Pong {
            self.note_own_address(link, sender, kind);
            if sender.is_none() && kind == PingKind::Meet {
                self.add_met_node(link, header);
            }
            self.send_pong(link);
        }
        let mut sender = sender;
        if !link.is_accepted() {
            match self.check_peer(link, sender, header) {
                PeerCheck::Ok => {}
                PeerCheck::Introduced(key) => sender = Some(key),
                PeerCheck::LinkIsGone => return,
            }
        }
        let Some(sender) = sender.filter(|&sender| sender != self.myself) else { return };
        if let Some(node) = self.table.get_mut(sender) {
            node.flags.clear(NodeFlags::NO_FAILOVER);
            node.flags.set(header.flags & NodeFlags::NO_FAILOVER);
        }
        if kind != PingKind::Meet {
            self.update_address_if_needed(sender, link, header);
        }
        if kind == PingKind::Pong && !link.is_accepted() {
            self.on_pong(sender);
        }
        let known_epoch = self.table.get(sender).map_or(0, |node| node.config_epoch);
        self.learn_config_epoch(sender, header);
        self.learn_role(sender, header);
        self.learn_slots(sender, header, known_epoch);
        self.settle_votes(sender);
        self.note_shown(sender, header);
        self.resolve_epoch_collision(sender, header);
        self.learn_gossip(sender, gossip);
        self.learn_extensions(sender, header, &gossip.extensions);
    }

    /// Others know this node by the address they used; MEET comes from an operator, and so corrects it. Otherwise an address
    /// holds until nobody uses it any more, and a node of this cluster uses another.
    fn note_own_address(&mut self, link: LinkId, sender: Option<NodeKey>, kind: PingKind) {
        if self.config.announce_host.is_some() {
            return;
        }
        let Some(local) = self.links.get(&link).and_then(|link| link.local.clone()) else { return };
        let shown = &self.me().host;
        if *shown == local || local.is_empty() {
            return;
        }
        let is_used = || self.links.values().any(|link| link.is_open && link.local.as_ref() == Some(shown));
        if kind != PingKind::Meet && !shown.is_empty() && (sender.is_none() || is_used()) {
            return;
        }
        self.log(LogLevel::Warning, format!("IP address for this node updated to {local}"));
        self.me_mut().host = local;
        self.changed();
        self.announce();
    }

    /// A stranger that met us: shake hands with it over a link of our own.
    fn add_met_node(&mut self, link: LinkId, header: &Header) {
        let peer = self.links.get(&link).and_then(|link| link.peer.clone());
        let Some(host) = header.announced_host.clone().or(peer) else { return };
        if self.is_handshake_under_way(&host, header.port, header.bus_port) || self.table.len() >= MAX_NODES {
            return;
        }
        let (id, shard_id) = (NodeId::random(&mut self.rng), NodeId::random(&mut self.rng));
        let mut node = Node::new(id, shard_id, NodeFlags::HANDSHAKE, self.monotonic());
        node.host = host;
        node.port = header.port;
        node.other_port = header.other_port;
        node.bus_port = header.bus_port;
        self.table.add(node);
        self.grown_at = Some(self.monotonic());
        self.changed();
    }

    /// Whether the peer on a link of ours is who we think it is.
    fn check_peer(&mut self, link: LinkId, sender: Option<NodeKey>, header: &Header) -> PeerCheck {
        let Some(key) = self.links.get(&link).and_then(|link| link.node) else {
            return PeerCheck::LinkIsGone;
        };
        let Some(node) = self.table.get(key) else { return PeerCheck::LinkIsGone };
        if node.is_in_handshake() {
            if let Some(sender) = sender.or_else(|| self.table.find(&header.sender)) {
                let text = format!(
                    "Handshake: we already know node {}, updating the address if needed.",
                    header.sender
                );
                self.log(LogLevel::Verbose, text);
                if sender != self.myself {
                    self.update_address_from_handshake(sender, key, header);
                }
                self.remove_node(key);
                return PeerCheck::LinkIsGone;
            }
            self.table.rename(key, header.sender);
            if let Some(node) = self.table.get_mut(key) {
                node.flags.clear(NodeFlags::HANDSHAKE | NodeFlags::MEET);
                node.flags.set(header.flags & (NodeFlags::PRIMARY | NodeFlags::REPLICA));
            }
            self.log(LogLevel::Debug, format!("Handshake with node {} completed.", header.sender));
            self.learn_from_header(key, header);
            self.changed();
            return PeerCheck::Introduced(key);
        }
        if node.id != header.sender {
            let text = format!("PONG contains mismatching sender ID. About node {}", node.id.as_str());
            self.log(LogLevel::Debug, text);
            if let Some(node) = self.table.get_mut(key) {
                node.flags.set(NodeFlags::NO_ADDRESS);
                node.host = Arc::from("");
                (node.port, node.other_port, node.bus_port) = (0, 0, 0);
            }
            self.close_link(link);
            self.changed();
            return PeerCheck::LinkIsGone;
        }
        PeerCheck::Ok
    }

    /// A node we know answered at an address we were told to meet: that is where it lives now.
    fn update_address_from_handshake(&mut self, sender: NodeKey, met: NodeKey, header: &Header) {
        let Some(host) = self.table.get(met).map(|node| node.host.clone()) else { return };
        self.set_address(sender, header.announced_host.clone().unwrap_or(host), header);
    }

    /// Takes over a changed address of a node that pings us.
    fn update_address_if_needed(&mut self, sender: NodeKey, link: LinkId, header: &Header) {
        if !link.is_accepted() {
            return;
        }
        let peer = self.links.get(&link).and_then(|link| link.peer.clone());
        if let Some(host) = header.announced_host.clone().or(peer) {
            self.set_address(sender, host, header);
        }
    }

    fn set_address(&mut self, key: NodeKey, host: Arc<str>, header: &Header) {
        let Some(node) = self.table.get_mut(key) else { return };
        let ports = (header.port, header.other_port, header.bus_port);
        if node.host == host && (node.port, node.other_port, node.bus_port) == ports {
            return;
        }
        node.host = host;
        (node.port, node.other_port, node.bus_port) = ports;
        node.flags.clear(NodeFlags::NO_ADDRESS);
        let text = format!("Address updated for node {}, now {}:{}", node.id.as_str(), node.host, node.port);
        let link = node.link;
        self.log(LogLevel::Warning, text);
        if let Some(link) = link {
            self.close_link(link);
        }
        self.todo.state = true;
        self.changed();
    }

    /// Epochs and offset, which every message carries.
    fn learn_from_header(&mut self, sender: NodeKey, header: &Header) {
        if sender == self.myself {
            return;
        }
        if header.current_epoch > self.current_epoch {
            self.current_epoch = header.current_epoch;
            self.changed();
        }
        let Some(node) = self.table.get_mut(sender) else { return };
        node.replication_offset = header.replication_offset;
        self.note_epoch_of(sender, header.current_epoch);
        self.note_paused_primary(sender, header);
    }

    /// The config epoch comes into force together with the slots that are claimed with it, never by a message whose slots are
    /// not looked at: with an old set of slots and a new epoch this node would tell their new owners that they have lost them.
    fn learn_config_epoch(&mut self, sender: NodeKey, header: &Header) {
        if let Some(node) = self.table.get_mut(sender)
            && header.config_epoch > node.config_epoch
        {
            node.config_epoch = header.config_epoch;
            self.changed();
        }
    }
}

/// Whether the peer on a link of ours is the node we know.
enum PeerCheck {
    /// It is.
    Ok,
    /// It has just told its name.
    Introduced(NodeKey),
    /// It is not; the link is closed.
    LinkIsGone,
}
