//! The texts and lists that CLUSTER's reading subcommands give.

use super::{ClusterView, NodeFacts, NodeKey, ViewRole};
use crate::messages::MESSAGE_TYPE_NAMES;
use crate::{NodeFlags, NodeId, Onlooker, SlotRanges};
use std::fmt::Write;

/// What a line of CLUSTER NODES and of nodes.conf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine<'a> {
    /// The node's name.
    pub id: NodeId,
    /// Its address.
    pub host: &'a str,
    /// Its client port.
    pub port: u16,
    /// Its bus port.
    pub bus_port: u16,
    /// Its announced host name.
    pub hostname: Option<&'a str>,
    /// What follows the host name, with the comma (nodes.conf of 7.2).
    pub auxiliary: &'a str,
    /// Its flags.
    pub flags: NodeFlags,
    /// Its primary.
    pub primary: Option<NodeId>,
    /// When the unanswered ping left, in milliseconds since 1970, 0 for none.
    pub ping_sent_ms: u64,
    /// When the last pong came, in milliseconds since 1970, 0 for none.
    pub pong_received_ms: u64,
    /// Its config epoch.
    pub config_epoch: u64,
    /// Whether there is a link to it.
    pub connected: bool,
    /// Its slots.
    pub slots: SlotRanges,
    /// Slots that move away and where to (this node only).
    pub migrating: Vec<(u16, NodeId)>,
    /// Slots that come and where from (this node only).
    pub importing: Vec<(u16, NodeId)>,
}

/// Writes the line without its end.
pub fn node_line(line: &NodeLine<'_>) -> String {
    let mut text = format!("{} {}:{}@{}", line.id, line.host, line.port, line.bus_port);
    if line.hostname.is_some() || !line.auxiliary.is_empty() {
        let _ = write!(text, ",{}{}", line.hostname.unwrap_or(""), line.auxiliary);
    }
    let primary = line.primary.as_ref().map_or("-", NodeId::as_str);
    let state = if line.connected { "connected" } else { "disconnected" };
    let _ = write!(
        text,
        " {} {} {} {} {} {}",
        line.flags.text(),
        primary,
        line.ping_sent_ms,
        line.pong_received_ms,
        line.config_epoch,
        state
    );
    if !line.slots.is_empty() {
        let _ = write!(text, " {}", line.slots);
    }
    let mut open: Vec<(u16, &str, NodeId)> =
        line.migrating.iter().map(|&(slot, node)| (slot, "->-", node)).collect();
    let is_migrating = |slot: u16| line.migrating.iter().any(|&(other, _)| other == slot);
    open.extend(
        line.importing
            .iter()
            .filter(|&&(slot, _)| !is_migrating(slot))
            .map(|&(slot, node)| (slot, "-<-", node)),
    );
    open.sort_by_key(|&(slot, ..)| slot);
    for (slot, arrow, node) in open {
        let _ = write!(text, " [{slot}{arrow}{node}]");
    }
    text
}

/// An entry of CLUSTER SLOTS.
#[derive(Clone, Debug)]
pub struct SlotRangeInfo<'a> {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The owner.
    pub primary: &'a NodeFacts,
    /// Its replicas that are up and have data.
    pub replicas: Vec<&'a NodeFacts>,
}

/// An entry of CLUSTER SHARDS.
#[derive(Clone, Debug)]
pub struct ShardInfo<'a> {
    /// The slots of the shard.
    pub slots: SlotRanges,
    /// Its primary, then its replicas.
    pub nodes: Vec<&'a NodeFacts>,
}

impl NodeFacts {
    /// The word CLUSTER SHARDS has for the node's health.
    pub fn health(&self) -> &'static str {
        if self.flags.has(NodeFlags::FAILED) {
            "fail"
        } else if self.flags.has(NodeFlags::REPLICA) && self.replication_offset == 0 {
            "loading"
        } else {
            "online"
        }
    }

    /// The client port to tell a client: the plain one for a client without TLS in a cluster with TLS.
    pub fn client_port(&self, use_other_port: bool) -> u16 {
        if use_other_port && self.other_port != 0 { self.other_port } else { self.port }
    }
}

impl ClusterView {
    /// The text of CLUSTER NODES, with the addresses that this client is told.
    pub fn nodes_text(&self, onlooker: Onlooker) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            text.push_str(&self.node_text(node, onlooker));
            text.push('\n');
        }
        text
    }

    /// One line of CLUSTER NODES without its end, as CLUSTER REPLICAS gives them.
    pub fn node_text(&self, node: &NodeFacts, onlooker: Onlooker) -> String {
        let is_me = node.key == self.myself;
        let primary = node.primary.and_then(|key| self.node(key));
        let open = |slots: &std::collections::BTreeMap<u16, NodeKey>| -> Vec<(u16, NodeId)> {
            if !is_me {
                return Vec::new();
            }
            slots.iter().filter_map(|(&slot, &key)| Some((slot, self.node(key)?.id))).collect()
        };
        let follows = primary.filter(|_| node.flags.has(NodeFlags::REPLICA));
        node_line(&NodeLine {
            id: node.id,
            host: node.host_for(onlooker),
            port: node.port_for(onlooker, self.config.tls_cluster),
            bus_port: node.bus_port,
            hostname: node.hostname.as_deref(),
            auxiliary: "",
            flags: node.flags,
            primary: primary.map(|primary| primary.id),
            ping_sent_ms: node.ping_sent_ms,
            pong_received_ms: node.pong_received_ms,
            config_epoch: follows.map_or(node.config_epoch, |primary| primary.config_epoch),
            connected: is_me || node.link_to.is_some(),
            slots: node.slots.ranges(),
            migrating: open(&self.migrating),
            importing: open(&self.importing),
        })
    }

    /// The text of CLUSTER INFO.
    pub fn info_text(&self) -> String {
        let mut assigned = 0;
        let (mut slots_ok, mut slots_suspected, mut slots_failed) = (0, 0, 0);
        for (first, last, owner) in self.owners.runs() {
            let count = u32::from(last - first) + 1;
            assigned += count;
            let flags = self.node(owner).map(|node| node.flags).unwrap_or_default();
            if flags.has(NodeFlags::FAILED) {
                slots_failed += count;
            } else if flags.has(NodeFlags::SUSPECTED) {
                slots_suspected += count;
            } else {
                slots_ok += count;
            }
        }
        let state = if self.is_ok { "ok" } else { "fail" };
        let epoch_of = match self.role {
            ViewRole::Replica(Some(primary)) => primary,
            _ => self.myself,
        };
        let my_epoch = self.node(epoch_of).map_or(0, |node| node.config_epoch);
        let mut text = format!(
            "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{slots_ok}\r\n\
             cluster_slots_pfail:{slots_suspected}\r\ncluster_slots_fail:{slots_failed}\r\n\
             cluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\ncluster_my_epoch:{my_epoch}\r\n",
            self.nodes.len(),
            self.size,
            self.current_epoch,
        );
        for (word, counts) in [("sent", &self.messages_sent), ("received", &self.messages_received)] {
            for (name, count) in MESSAGE_TYPE_NAMES.iter().zip(counts).filter(|&(_, &count)| count > 0) {
                let _ = write!(text, "cluster_stats_messages_{name}_{word}:{count}\r\n");
            }
            let _ = write!(text, "cluster_stats_messages_{word}:{}\r\n", counts.iter().sum::<u64>());
        }
        let _ = write!(text, "total_cluster_links_buffer_limit_exceeded:{}\r\n", self.links_over_limit);
        text
    }

    /// What CLUSTER SLOTS lists, ascending by slot.
    pub fn slots(&self) -> Vec<SlotRangeInfo<'_>> {
        let available =
            |node: &&NodeFacts| !node.flags.has(NodeFlags::FAILED) && node.replication_offset != 0;
        self.owners
            .runs()
            .filter_map(|(first, last, owner)| {
                let primary = self.node(owner)?;
                let replicas = self.replicas_of(owner).filter(available).collect();
                Some(SlotRangeInfo { first, last, primary, replicas })
            })
            .collect()
    }

    /// What CLUSTER SHARDS lists.
    pub fn shards(&self) -> Vec<ShardInfo<'_>> {
        self.nodes
            .iter()
            .filter(|node| node.flags.has(NodeFlags::PRIMARY))
            .map(|primary| ShardInfo {
                slots: primary.slots.ranges(),
                nodes: std::iter::once(primary).chain(self.replicas_of(primary.key)).collect(),
            })
            .collect()
    }
}
