//! What the node knows of the cluster: an immutable picture, replaced as a whole.

mod render;

use crate::interface::LinkId;
use crate::messages::MESSAGE_TYPES;
use crate::{ClientAddress, ClusterConfig, NodeFlags, NodeId, SlotRanges, SlotSet};
use shoal_machine::Monotonic;
use shoal_protocol::slot::SLOT_COUNT;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use render::{NodeLine, ShardInfo, SlotRangeInfo, node_line};

/// Marks a node within one machine; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub u32);

/// The owner of each slot.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotOwners(Box<[u32; SLOT_COUNT as usize]>);

const NOBODY: u32 = u32::MAX;

impl SlotOwners {
    /// Nobody owns anything.
    pub fn none() -> Self {
        Self(Box::new([NOBODY; SLOT_COUNT as usize]))
    }

    /// The owner of `slot`.
    pub fn get(&self, slot: u16) -> Option<NodeKey> {
        self.0.get(usize::from(slot)).filter(|&&key| key != NOBODY).map(|&key| NodeKey(key))
    }

    /// Sets or clears the owner of `slot`; a number that is no slot is ignored.
    pub fn set(&mut self, slot: u16, owner: Option<NodeKey>) {
        if let Some(entry) = self.0.get_mut(usize::from(slot)) {
            *entry = owner.map_or(NOBODY, |key| key.0);
        }
    }

    /// Runs of slots with one owner, unowned ones left out.
    pub fn runs(&self) -> impl Iterator<Item = (u16, u16, NodeKey)> + '_ {
        let mut slot = 0u16;
        std::iter::from_fn(move || {
            while slot < SLOT_COUNT {
                let first = slot;
                let owner = self.get(first);
                while slot < SLOT_COUNT && self.get(slot) == owner {
                    slot += 1;
                }
                if let Some(owner) = owner {
                    return Some((first, slot - 1, owner));
                }
            }
            None
        })
    }
}

impl std::fmt::Debug for SlotOwners {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.runs()).finish()
    }
}

/// Everything the node needs to route, and to answer the reading CLUSTER subcommands.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// Counts views; to be confirmed by [`crate::NodeMessage::Applied`].
    pub version: u64,
    /// When it was made.
    pub published_at: Monotonic,
    /// This node.
    pub myself: NodeKey,
    /// What this node is.
    pub role: ViewRole,
    /// Whether the cluster serves requests (`cluster_state:ok`).
    pub is_ok: bool,
    /// The nodes, ascending by key.
    pub nodes: Vec<NodeFacts>,
    /// The owner of each slot.
    pub owners: Arc<SlotOwners>,
    /// Slots whose keys move to another node.
    pub migrating: Arc<BTreeMap<u16, NodeKey>>,
    /// Slots whose keys come from another node.
    pub importing: Arc<BTreeMap<u16, NodeKey>>,
    /// The greatest epoch seen.
    pub current_epoch: u64,
    /// The epoch of the last vote given.
    pub last_vote_epoch: u64,
    /// Primaries with slots.
    pub size: usize,
    /// Messages sent, by type number.
    pub messages_sent: [u64; MESSAGE_TYPES],
    /// Messages received, by type number.
    pub messages_received: [u64; MESSAGE_TYPES],
    /// Links closed because their send buffer grew too large.
    pub links_over_limit: u64,
    /// Replicas may not vote or be voted while this lasts: a manual failover is under way.
    pub manual_failover: bool,
    /// The configuration in force.
    pub config: Arc<ClusterConfig>,
}

/// What this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewRole {
    /// A primary.
    Primary,
    /// A replica of this node, if it is known.
    Replica(Option<NodeKey>),
}

/// The facts about one node.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Its key in this view.
    pub key: NodeKey,
    /// Its name.
    pub id: NodeId,
    /// Its shard.
    pub shard_id: NodeId,
    /// Its address; empty if unknown.
    pub host: Arc<str>,
    /// Its announced host name.
    pub hostname: Option<Arc<str>>,
    /// Its name for people.
    pub human_name: Option<Arc<str>>,
    /// The address that it tells clients, if it is another one.
    pub client: Option<Arc<ClientAddress>>,
    /// Its client port.
    pub port: u16,
    /// Its other client port, 0 if there is none.
    pub other_port: u16,
    /// Its bus port.
    pub bus_port: u16,
    /// Its flags.
    pub flags: NodeFlags,
    /// Its primary, if it is a replica and the primary is known.
    pub primary: Option<NodeKey>,
    /// When the unanswered ping left, in milliseconds since 1970; 0 if there is none.
    pub ping_sent_ms: u64,
    /// When the last pong came, in milliseconds since 1970; 0 if none came yet.
    pub pong_received_ms: u64,
    /// Its config epoch.
    pub config_epoch: u64,
    /// Its slots.
    pub slots: Arc<SlotSet>,
    /// Its replication offset as last heard; of this node as last reported.
    pub replication_offset: u64,
    /// How many primaries report it as unreachable.
    pub failure_reports: usize,
    /// It takes slots by an atomic migration.
    pub takes_slots: bool,
    /// The link to it.
    pub link_to: Option<LinkFacts>,
    /// The link from it.
    pub link_from: Option<LinkFacts>,
}

/// The facts about one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its number; the shell knows the sizes of its buffers.
    pub link: LinkId,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// How a slot stands, for routing.
#[derive(Clone, Copy, Debug)]
pub struct SlotRoute<'a> {
    /// Who owns it; `None`: nobody.
    pub owner: Option<&'a NodeFacts>,
    /// This node owns it.
    pub is_mine: bool,
    /// The primary of this node, a replica, owns it.
    pub is_my_primarys: bool,
    /// Its keys are on the way to this node.
    pub migrating_to: Option<&'a NodeFacts>,
    /// Its keys come from this node.
    pub importing_from: Option<&'a NodeFacts>,
}

impl ClusterView {
    /// The facts about a node by its key.
    pub fn node(&self, key: NodeKey) -> Option<&NodeFacts> {
        let index = self.nodes.binary_search_by_key(&key, |node| node.key).ok()?;
        self.nodes.get(index)
    }

    /// The facts about a node by the name a client gave.
    pub fn node_by_name(&self, name: &[u8]) -> Option<&NodeFacts> {
        self.nodes.iter().find(|node| node.id.as_bytes() == name)
    }

    /// The facts about this node.
    pub fn my_facts(&self) -> Option<&NodeFacts> {
        self.node(self.myself)
    }

    /// Whether this node owns `slot`: the question asked for every command, so answered without a search.
    pub fn owns(&self, slot: u16) -> bool {
        self.owners.get(slot) == Some(self.myself)
    }

    /// How `slot` stands.
    pub fn route(&self, slot: u16) -> SlotRoute<'_> {
        let owner = self.owners.get(slot);
        let find = |slots: &BTreeMap<u16, NodeKey>| slots.get(&slot).and_then(|&key| self.node(key));
        SlotRoute {
            owner: owner.and_then(|key| self.node(key)),
            is_mine: owner == Some(self.myself),
            is_my_primarys: owner.is_some() && ViewRole::Replica(owner) == self.role,
            migrating_to: find(&self.migrating),
            importing_from: find(&self.importing),
        }
    }

    /// The replicas of a primary, in the order of their keys.
    pub fn replicas_of(&self, primary: NodeKey) -> impl Iterator<Item = &NodeFacts> {
        self.nodes.iter().filter(move |node| node.primary == Some(primary))
    }

    /// Whether the machine has not spoken for half of node-timeout: the node must answer CLUSTERDOWN then.
    pub fn is_stale(&self, now: Monotonic) -> bool {
        now.ms_since(self.published_at) > self.config.stuck_after_ms()
    }

    /// The slots this node serves, or its primary if it is a replica.
    pub fn shard_slots(&self) -> SlotRanges {
        let key = match self.role {
            ViewRole::Primary => Some(self.myself),
            ViewRole::Replica(primary) => primary,
        };
        key.and_then(|key| self.node(key)).map(|node| node.slots.ranges()).unwrap_or_default()
    }
}
