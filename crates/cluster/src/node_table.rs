//! The nodes one machine knows, and who owns which slot.

use crate::interface::LinkId;
use crate::view::{NodeKey, SlotOwners};
use crate::{ClientAddress, NodeFlags, NodeId, SlotSet};
use shoal_machine::Monotonic;
use shoal_protocol::slot::SLOT_COUNT;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What speaks for the death of a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeathSigns {
    /// When the working link to it broke.
    pub lost_at: Monotonic,
    /// Connections that were refused since.
    pub refusals: u32,
}

/// What the machine knows of one node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name; made up while it is in handshake.
    pub id: NodeId,
    /// Its shard.
    pub shard_id: NodeId,
    /// When it was added.
    pub created: Monotonic,
    /// Its flags.
    pub flags: NodeFlags,
    /// The greatest config epoch heard from it.
    pub config_epoch: u64,
    /// The slots bound to it here.
    pub slots: Arc<SlotSet>,
    /// Its primary, if it is a replica and the primary is known.
    pub primary: Option<NodeKey>,
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
    /// When a link to it was last tried.
    pub connected_at: Option<Monotonic>,
    /// The link to it.
    pub link: Option<LinkId>,
    /// The link it opened to here.
    pub accepted_link: Option<LinkId>,
    /// When the unanswered ping left.
    pub ping_sent: Option<Monotonic>,
    /// When any ping last left, answered or not.
    pub last_ping: Option<Monotonic>,
    /// When the last pong came, by our own or others' account.
    pub pong_received: Option<Monotonic>,
    /// When anything came from it.
    pub data_received: Option<Monotonic>,
    /// When it was flagged FAIL.
    pub failed_at: Monotonic,
    /// When we last voted for one of its replicas, and for which; until it is known what has come of that.
    pub voted_at: Option<(Monotonic, NodeKey)>,
    /// Since when it, a primary, has had no working replica.
    pub orphaned_since: Option<Monotonic>,
    /// Its replication offset as last heard.
    pub replication_offset: u64,
    /// Primaries that report it as unreachable, and when they last did.
    pub failure_reports: BTreeMap<NodeKey, Monotonic>,
    /// It understands the extensions of 7.2, or is Shoal.
    pub takes_extensions: bool,
    /// It is Shoal.
    pub is_shoal: bool,
    /// Its `replica-priority`, if it is Shoal.
    pub replica_priority: u32,
    /// It takes slots by an atomic migration.
    pub takes_slots: bool,
    /// It votes on claims of slots; nothing is known of that before it has spoken.
    pub votes_on_claims: Option<bool>,
    /// What speaks for the death of its process.
    pub death_signs: Option<DeathSigns>,
}

impl Node {
    /// A node about which nothing but its name is known.
    pub fn new(id: NodeId, shard_id: NodeId, flags: NodeFlags, created: Monotonic) -> Self {
        Self {
            id,
            shard_id,
            created,
            flags,
            config_epoch: 0,
            slots: Arc::new(SlotSet::empty()),
            primary: None,
            host: Arc::from(""),
            hostname: None,
            human_name: None,
            client: None,
            port: 0,
            other_port: 0,
            bus_port: 0,
            connected_at: None,
            link: None,
            accepted_link: None,
            ping_sent: None,
            last_ping: None,
            pong_received: None,
            data_received: None,
            failed_at: Monotonic(0),
            voted_at: None,
            orphaned_since: None,
            replication_offset: 0,
            failure_reports: BTreeMap::new(),
            takes_extensions: false,
            is_shoal: false,
            replica_priority: crate::config::DEFAULT_PRIORITY,
            takes_slots: false,
            votes_on_claims: None,
            death_signs: None,
        }
    }

    /// Whether it is a primary.
    pub const fn is_primary(&self) -> bool {
        self.flags.has(NodeFlags::PRIMARY)
    }

    /// Whether it is a replica.
    pub const fn is_replica(&self) -> bool {
        self.flags.has(NodeFlags::REPLICA)
    }

    /// Whether a majority took it to be down.
    pub const fn is_failed(&self) -> bool {
        self.flags.has(NodeFlags::FAILED)
    }

    /// Whether this node takes it to be down.
    pub const fn is_suspected(&self) -> bool {
        self.flags.has(NodeFlags::SUSPECTED)
    }

    /// Whether it may take its primary's place, as far as is known: it is not down, and does not decline.
    pub fn may_take_over(&self) -> bool {
        !self.flags.has(NodeFlags::FAILED | NodeFlags::NO_FAILOVER)
    }

    /// Whether its real name is not known yet.
    pub const fn is_in_handshake(&self) -> bool {
        self.flags.has(NodeFlags::HANDSHAKE)
    }
}

/// The nodes, and who owns which slot.
#[derive(Clone, Debug)]
pub struct NodeTable {
    /// In the order of their keys, which is that in which they were added.
    nodes: Vec<(NodeKey, Node)>,
    /// How many nodes were taken out again.
    removed: usize,
    names: BTreeMap<NodeId, NodeKey>,
    owners: Arc<SlotOwners>,
    /// Slots their owner no longer claims; kept with it until somebody else does.
    unclaimed: SlotSet,
    /// With which epoch their owners have claimed these last, where that is known.
    claimed_with: BTreeMap<u16, u64>,
    next_key: u32,
}

impl Default for NodeTable {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            removed: 0,
            names: BTreeMap::new(),
            owners: Arc::new(SlotOwners::none()),
            unclaimed: SlotSet::empty(),
            claimed_with: BTreeMap::new(),
            next_key: 0,
        }
    }
}

impl NodeTable {
    /// Adds a node; a node of the same name is replaced, which callers rule out.
    pub fn add(&mut self, node: Node) -> NodeKey {
        let key = NodeKey(self.next_key);
        self.next_key += 1;
        self.names.insert(node.id, key);
        self.nodes.push((key, node));
        key
    }

    /// A node by its key.
    pub fn get(&self, key: NodeKey) -> Option<&Node> {
        self.nodes.get(self.position(key)?).map(|(_, node)| node)
    }

    /// A node by its key.
    pub fn get_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        let position = self.position(key)?;
        self.nodes.get_mut(position).map(|(_, node)| node)
    }

    /// Where a node stands: as far before its key as nodes before it are gone, which are at most all that are gone.
    fn position(&self, key: NodeKey) -> Option<usize> {
        let last = (key.0 as usize).min(self.nodes.len().checked_sub(1)?);
        let first = (key.0 as usize).saturating_sub(self.removed);
        let window = self.nodes.get(first..=last)?;
        window.binary_search_by_key(&key, |&(key, _)| key).ok().map(|index| first + index)
    }

    /// The key of the node of this name.
    pub fn find(&self, id: &NodeId) -> Option<NodeKey> {
        self.names.get(id).copied()
    }

    /// Gives a node another name.
    pub fn rename(&mut self, key: NodeKey, id: NodeId) {
        let Some(node) = self.get_mut(key) else { return };
        let old = std::mem::replace(&mut node.id, id);
        self.names.remove(&old);
        self.names.insert(id, key);
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes.iter().map(|(key, node)| (*key, node))
    }

    /// The nodes in the order in which they were added.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (NodeKey, &mut Node)> {
        self.nodes.iter_mut().map(|(key, node)| (*key, node))
    }

    /// The keys in the order in which nodes were added.
    pub fn keys(&self) -> Vec<NodeKey> {
        self.nodes.iter().map(|&(key, _)| key).collect()
    }

    /// The replicas of a primary.
    pub fn replicas_of(&self, primary: NodeKey) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.iter().filter(move |(_, node)| node.primary == Some(primary))
    }

    /// Takes a node out, with every reference to it; its slots become nobody's.
    pub fn remove(&mut self, key: NodeKey) -> Option<Node> {
        let (_, node) = self.nodes.remove(self.position(key)?);
        self.removed += 1;
        if self.names.get(&node.id) == Some(&key) {
            self.names.remove(&node.id);
        }
        if !node.slots.is_empty() {
            let owners = Arc::make_mut(&mut self.owners);
            for slot in node.slots.iter() {
                owners.set(slot, None);
            }
        }
        for (_, other) in &mut self.nodes {
            other.failure_reports.remove(&key);
            other.voted_at.take_if(|(_, replica)| *replica == key);
            if other.primary == Some(key) {
                other.primary = None;
            }
        }
        if let Some(primary) = node.primary {
            self.forget_replica_of(primary);
        }
        Some(node)
    }

    /// The owner of `slot`.
    pub fn owner(&self, slot: u16) -> Option<NodeKey> {
        self.owners.get(slot)
    }

    /// The owners of all slots, shared with views.
    pub fn owners(&self) -> &Arc<SlotOwners> {
        &self.owners
    }

    /// Gives `slot` to a node, or to nobody.
    pub fn assign(&mut self, slot: u16, owner: Option<NodeKey>) {
        if slot >= SLOT_COUNT || self.owners.get(slot) == owner {
            return;
        }
        if let Some(previous) = self.owners.get(slot).and_then(|key| self.get_mut(key)) {
            Arc::make_mut(&mut previous.slots).remove(slot);
        }
        let gains_first = owner.and_then(|key| self.get(key)).is_some_and(|node| node.slots.is_empty());
        let others_have_replicas = gains_first && self.nodes.iter().any(|(_, node)| node.primary.is_some());
        if let Some(node) = owner.and_then(|key| self.get_mut(key)) {
            Arc::make_mut(&mut node.slots).insert(slot);
            if others_have_replicas {
                // Replicas may migrate to a primary that just got its first slot, if any primary has replicas.
                node.flags.set(NodeFlags::MIGRATE_TO);
            }
        }
        Arc::make_mut(&mut self.owners).set(slot, owner);
    }

    /// Takes all slots from a node.
    pub fn release_slots(&mut self, key: NodeKey) {
        let slots = self.get(key).map(|node| node.slots.clone()).unwrap_or_default();
        for slot in slots.iter() {
            self.assign(slot, None);
        }
    }

    /// Lets the node's slots share the storage of an equal set, so that a simulation of many nodes stays small.
    pub fn share_slots(&mut self, key: NodeKey, slots: &Arc<SlotSet>) {
        if let Some(node) = self.get_mut(key)
            && !Arc::ptr_eq(&node.slots, slots)
            && node.slots == *slots
        {
            node.slots = slots.clone();
        }
    }

    /// Whether nobody owns `slot`, or its owner stopped claiming it.
    pub fn is_unclaimed(&self, slot: u16) -> bool {
        self.owners.get(slot).is_none() || self.unclaimed.contains(slot)
    }

    /// The slots that their owners do not claim.
    pub fn unclaimed_slots(&self) -> &SlotSet {
        &self.unclaimed
    }

    /// Notes that the owner of `slot` claims it.
    pub fn set_claimed(&mut self, slot: u16) {
        if self.unclaimed.remove(slot) {
            self.claimed_with.remove(&slot);
        }
    }

    /// Notes that the owner of `slot` claims it no more, and with which epoch it has done so last; 0 if that is not known.
    pub fn set_unclaimed(&mut self, slot: u16, claimed_with: u64) {
        if self.unclaimed.insert(slot) {
            self.claimed_with.insert(slot, claimed_with);
        }
    }

    /// The owner of `slot`, and the epoch with which it claims it, or has done so last.
    pub fn claim(&self, slot: u16) -> Option<(NodeKey, u64)> {
        let owner = self.owner(slot)?;
        let epoch = match self.unclaimed.contains(slot) {
            true => self.claimed_with.get(&slot).copied().unwrap_or(0),
            false => self.get(owner).map_or(0, |node| node.config_epoch),
        };
        Some((owner, epoch))
    }

    /// The slots of a node that it still claims.
    pub fn claimed_slots(&self, key: NodeKey) -> Arc<SlotSet> {
        let Some(node) = self.get(key) else { return Arc::new(SlotSet::empty()) };
        if self.unclaimed.is_empty() {
            node.slots.clone()
        } else {
            Arc::new(node.slots.minus(&self.unclaimed))
        }
    }

    /// Makes `replica` a replica of `primary`, for the table only.
    pub fn set_primary(&mut self, replica: NodeKey, primary: Option<NodeKey>) {
        let Some(node) = self.get_mut(replica) else { return };
        let previous = std::mem::replace(&mut node.primary, primary);
        if previous == primary {
            return;
        }
        if let Some(previous) = previous {
            self.forget_replica_of(previous);
        }
        let Some(node) = primary.and_then(|key| self.get_mut(key)) else { return };
        node.flags.set(NodeFlags::MIGRATE_TO);
        let shard_id = node.shard_id;
        if let Some(node) = self.get_mut(replica) {
            node.shard_id = shard_id;
        }
    }

    /// A primary that lost its last replica is no target for migration any more.
    fn forget_replica_of(&mut self, primary: NodeKey) {
        if self.replicas_of(primary).next().is_none()
            && let Some(node) = self.get_mut(primary)
        {
            node.flags.clear(NodeFlags::MIGRATE_TO);
        }
    }

    /// The primaries with slots: those who vote.
    pub fn voters(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.iter().filter(|(_, node)| node.is_primary() && !node.slots.is_empty())
    }

    /// How many votes make a majority.
    pub fn quorum(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// The greatest of all config epochs.
    pub fn greatest_config_epoch(&self) -> u64 {
        self.nodes.iter().map(|(_, node)| node.config_epoch).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_machine::Rng;

    fn node(rng: &mut Rng, flags: NodeFlags) -> Node {
        Node::new(NodeId::random(rng), NodeId::random(rng), flags, Monotonic(0))
    }

    #[test]
    fn removal_leaves_no_reference() {
        let mut rng = Rng::new(1);
        let mut table = NodeTable::default();
        let primary = table.add(node(&mut rng, NodeFlags::PRIMARY));
        let replica = table.add(node(&mut rng, NodeFlags::REPLICA));
        table.set_primary(replica, Some(primary));
        table.assign(7, Some(primary));
        table.get_mut(replica).unwrap().failure_reports.insert(primary, Monotonic(1));
        assert_eq!(table.owner(7), Some(primary));
        assert_eq!(table.get(replica).unwrap().shard_id, table.get(primary).unwrap().shard_id);
        let id = table.get(primary).unwrap().id;
        table.remove(primary).unwrap();
        assert_eq!((table.owner(7), table.find(&id)), (None, None));
        assert_eq!(table.get(replica).unwrap().primary, None);
        assert!(table.get(replica).unwrap().failure_reports.is_empty());
    }

    /// Whatever is added and taken out, a key finds its node and no other.
    #[test]
    fn keys_find_their_nodes() {
        let mut rng = Rng::new(4);
        let mut table = NodeTable::default();
        let mut model: BTreeMap<NodeKey, NodeId> = BTreeMap::new();
        let mut gone = Vec::new();
        for _ in 0..2000 {
            if rng.chance(3, 5) || model.is_empty() {
                let node = node(&mut rng, NodeFlags::PRIMARY);
                let id = node.id;
                model.insert(table.add(node), id);
            } else {
                let keys: Vec<NodeKey> = model.keys().copied().collect();
                let key = *rng.choose(&keys).unwrap();
                assert_eq!(table.remove(key).map(|node| node.id), model.remove(&key));
                gone.push(key);
            }
            let found = |key| table.get(key).map(|node| node.id);
            assert!(model.iter().all(|(&key, &id)| found(key) == Some(id)));
            assert!(gone.iter().all(|&key| found(key).is_none()) && found(NodeKey(u32::MAX)).is_none());
            assert_eq!(table.keys(), model.keys().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn slots_have_one_owner() {
        let mut rng = Rng::new(2);
        let mut table = NodeTable::default();
        let first = table.add(node(&mut rng, NodeFlags::PRIMARY));
        let second = table.add(node(&mut rng, NodeFlags::PRIMARY));
        table.assign(7, Some(first));
        table.assign(7, Some(second));
        assert!(table.get(first).unwrap().slots.is_empty());
        assert!(table.get(second).unwrap().slots.contains(7));
        assert_eq!(table.quorum(), 1);
        table.set_unclaimed(7, 0);
        assert!(table.is_unclaimed(7) && table.claimed_slots(second).is_empty());
        table.release_slots(second);
        assert_eq!(table.owner(7), None);
    }

    #[test]
    fn migration_target_flag_follows_replicas() {
        let mut rng = Rng::new(3);
        let mut table = NodeTable::default();
        let primary = table.add(node(&mut rng, NodeFlags::PRIMARY));
        let other = table.add(node(&mut rng, NodeFlags::PRIMARY));
        let replica = table.add(node(&mut rng, NodeFlags::REPLICA));
        let is_target = |table: &NodeTable, key| table.get(key).unwrap().flags.has(NodeFlags::MIGRATE_TO);
        table.assign(1, Some(primary));
        assert!(!is_target(&table, primary), "nobody has replicas yet");
        table.set_primary(replica, Some(primary));
        table.assign(2, Some(other));
        assert!(is_target(&table, primary) && is_target(&table, other));
        table.set_primary(replica, None);
        assert!(!is_target(&table, primary));
    }
}
