//! Messages on their way out.

use super::ClusterMachine;
use crate::interface::{LinkId, LogLevel, Output};
use crate::messages::{Body, Header, Message, Publication};
use crate::view::NodeKey;
use crate::{NodeFlags, NodeId, SlotSet, wire};
use std::sync::Arc;

impl ClusterMachine {
    /// Whether this node must say nothing: it is not on disk yet, or its executor is stuck.
    pub(super) fn is_silent(&self) -> bool {
        !self.announcements.is_on_disk() || self.is_executor_stuck()
    }

    fn is_executor_stuck(&self) -> bool {
        self.monotonic().ms_since(self.progress_at) > self.config.silent_after_ms()
    }

    /// Logs when this node falls silent, and when it speaks again.
    pub(super) fn watch_executor(&mut self) {
        let is_stuck = self.is_executor_stuck();
        if is_stuck == self.was_silent {
            return;
        }
        self.was_silent = is_stuck;
        if !is_stuck {
            self.restart_ping_clocks();
        }
        let text = if is_stuck {
            "The executor makes no progress: nothing is sent on the cluster bus until it does."
        } else {
            "The executor makes progress again: sending on the cluster bus."
        };
        self.log(LogLevel::Warning, text.to_owned());
    }

    /// After a time in which this node could not speak or was not run, waiting for pongs starts anew: nobody else is
    /// to blame.
    pub(super) fn restart_ping_clocks(&mut self) {
        let now = self.monotonic();
        for (_, node) in self.table.iter_mut() {
            if node.ping_sent.is_some() {
                node.ping_sent = Some(now);
            }
        }
    }

    /// What could not be said before this node was on disk is said now. A handshake would fail otherwise: nobody asks twice.
    pub(super) fn send_early(&mut self) {
        for (link, message) in self.announcements.take_early() {
            self.send(link, message);
        }
    }

    /// Pings that came while the executor was stuck are answered.
    pub(super) fn send_owed_pongs(&mut self) {
        for link in std::mem::take(&mut self.owed_pongs) {
            self.send_pong(link);
        }
    }

    fn send(&mut self, link: LinkId, message: Arc<Message>) {
        if !self.announcements.is_on_disk() {
            self.announcements.keep_early(link, message);
            return;
        }
        if self.is_silent() || !self.is_open(Some(link)) {
            return;
        }
        if let Some(count) = self.messages_sent.get_mut(usize::from(message.body.type_number())) {
            *count += 1;
        }
        self.outputs.push(Output::Send { link, message });
    }

    fn send_body(&mut self, link: LinkId, body: Body) {
        let message = Arc::new(Message { header: self.header(), body });
        self.send(link, message);
    }

    fn broadcast(&mut self, message: &Arc<Message>) {
        for key in self.table.keys() {
            let Some(node) = self.table.get(key) else { continue };
            if node.flags.has(NodeFlags::MYSELF | NodeFlags::HANDSHAKE) {
                continue;
            }
            if let Some(link) = node.link {
                self.send(link, message.clone());
            }
        }
    }

    /// What every message says: the saved and confirmed image of this node.
    fn header(&self) -> Header {
        let image = self.announced();
        let ports = self.config.announced_ports();
        Header {
            sender: image.id,
            current_epoch: self.announcements.epoch(),
            config_epoch: image.config_epoch,
            replication_offset: self.status.replication_offset,
            slots: image.slots,
            primary: image.primary,
            announced_host: self.config.announce_host.clone(),
            port: ports.port,
            other_port: ports.other_port,
            bus_port: ports.bus_port,
            flags: image.flags,
            cluster_failed: !self.health.is_ok,
            paused: self.is_paused_for_failover(),
            force_ack: false,
            extensions_understood: false,
            shoal_version: if self.config.announces_shoal { wire::SHOAL_VERSION } else { 0 },
        }
    }

    /// PING (or MEET) to a node over its own link.
    pub(super) fn send_ping(&mut self, key: NodeKey) {
        if let Some(link) = self.open_link(key) {
            self.send_ping_on(link, false);
        }
    }

    /// PING or MEET over any link.
    pub(super) fn send_ping_on(&mut self, link: LinkId, is_meet: bool) {
        if self.is_silent() {
            return;
        }
        let target = self.links.get(&link).and_then(|link| link.node);
        if !link.is_accepted() {
            let now = self.monotonic();
            if let Some(node) = target.and_then(|key| self.table.get_mut(key)) {
                // A ping that is not answered yet keeps its time.
                node.ping_sent.get_or_insert(now);
                node.last_ping = Some(now);
            }
        }
        let gossip = self.gossip_for(target);
        self.send_gossip(link, if is_meet { Body::Meet(gossip) } else { Body::Ping(gossip) });
    }

    /// PONG over any link. While the executor is stuck it is owed: the peer waits for it half a node-timeout before it asks
    /// again, and would declare a node failed that has long gone on.
    pub(super) fn send_pong(&mut self, link: LinkId) {
        if self.is_executor_stuck() {
            self.owed_pongs.insert(link);
            return;
        }
        let target = self.links.get(&link).and_then(|link| link.node);
        let gossip = self.gossip_for(target);
        self.send_gossip(link, Body::Pong(gossip));
    }

    fn send_gossip(&mut self, link: LinkId, body: Body) {
        let mut header = self.header();
        // Redis 7.2 sends its own extensions only to nodes that have set this flag; 7.0 takes it as it is meant.
        header.extensions_understood = true;
        self.send(link, Arc::new(Message { header, body }));
    }

    /// PONG to all nodes, or to the other nodes of this shard, so that they learn how this node stands.
    pub(super) fn broadcast_pong(&mut self, only_shard: bool) {
        let shard = self.my_primary().unwrap_or(self.myself);
        for key in self.table.keys() {
            let Some(node) = self.table.get(key) else { continue };
            let is_in_shard = node.is_replica() && node.primary == Some(shard);
            let is_meant = key != self.myself && !node.is_in_handshake() && (!only_shard || is_in_shard);
            if is_meant && let Some(link) = self.open_link(key) {
                self.send_pong(link);
            }
        }
    }

    pub(super) fn broadcast_fail(&mut self, failed: NodeId) {
        let message = Arc::new(Message { header: self.header(), body: Body::Fail { node: failed } });
        self.broadcast(&message);
    }

    pub(super) fn broadcast_vote_request(&mut self, epoch: u64, force_ack: bool) {
        let mut header = self.header();
        header.current_epoch = epoch;
        header.force_ack = force_ack;
        self.broadcast(&Arc::new(Message { header, body: Body::AuthRequest }));
    }

    /// The vote carries the epoch it was given in, even if a newer one was heard of since: a later election of the
    /// same replica must not count it.
    pub(super) fn send_vote(&mut self, replica: NodeKey, epoch: u64) {
        let Some(link) = self.open_link(replica) else { return };
        let mut header = self.header();
        header.current_epoch = epoch;
        self.send(link, Arc::new(Message { header, body: Body::AuthAck }));
    }

    pub(super) fn send_manual_failover_start(&mut self, primary: NodeKey) {
        if let Some(link) = self.open_link(primary) {
            self.send_body(link, Body::ManualFailoverStart);
        }
    }

    /// Tells the node behind `receiver` what `about` serves, as far as `about` still claims it. About this node itself
    /// nothing is told that is not yet safe to announce: a promotion that a crash undoes would leave the slots with
    /// nobody. `granted` are slots that this node does not claim but that are not the receiver's either.
    pub(super) fn send_update(&mut self, receiver: NodeKey, about: NodeKey, granted: &SlotSet) {
        if about == self.myself && !self.is_image_current() {
            return;
        }
        let Some(link) = self.open_link(receiver) else { return };
        let mut slots = self.table.claimed_slots(about);
        if about == self.myself && !granted.is_empty() {
            slots = Arc::new(slots.iter().chain(granted.iter()).collect());
        }
        let Some(node) = self.table.get(about) else { return };
        let body = Body::Update { node: node.id, config_epoch: node.config_epoch, slots };
        self.send_body(link, body);
    }

    /// Spreads a publication to the cluster, or to this shard.
    pub(super) fn spread(&mut self, publication: Publication, sharded: bool) {
        let header = self.header();
        if !sharded {
            self.broadcast(&Arc::new(Message { header, body: Body::Publish(publication) }));
            return;
        }
        let message = Arc::new(Message { header, body: Body::PublishShard(publication) });
        let shard = self.my_primary().unwrap_or(self.myself);
        for key in self.table.keys() {
            let Some(node) = self.table.get(key) else { continue };
            let is_in_shard = key == shard || node.primary == Some(shard);
            if is_in_shard
                && !node.flags.has(NodeFlags::MYSELF | NodeFlags::HANDSHAKE)
                && let Some(link) = node.link
            {
                self.send(link, message.clone());
            }
        }
    }
}
