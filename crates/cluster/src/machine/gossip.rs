//! News about other nodes: told, heard, and believed.

use super::ClusterMachine;
use crate::NodeFlags;
use crate::NodeId;
use crate::config::DEFAULT_PRIORITY;
use crate::interface::LogLevel;
use crate::messages::{Extensions, Gossip, GossipEntry, Header};
use crate::node_table::Node;
use crate::view::NodeKey;
use shoal_machine::Monotonic;

/// A message tells of a tenth of the nodes, and of at least so many.
const MIN_ENTRIES: usize = 3;
/// A message to a peer that is Shoal tells of no more than that, beside those that are suspected, once no new node has been
/// heard of for this long: an entry costs more than the ping that it may spare.
const GROWTH_MS: u64 = 10_000;
/// Of so many nodes for each that is told of, those are passed over that cannot be told of.
const TRIES_PER_ENTRY: usize = 3;
/// Gossip about pongs may lie this far in the future: clocks differ.
const CLOCK_TOLERANCE_MS: u64 = 500;
/// A node forgotten by order is not taken up again by gossip for this long.
pub(super) const FORGET_MS: u64 = 60_000;
/// No more forgotten nodes than this are told of in one message.
const MAX_FORGOTTEN_TOLD: usize = 64;
/// A peer cannot make us forget a node for longer than this.
const MAX_FORGET_S: u64 = 24 * 3600;
/// More nodes than this are not taken up.
pub(super) const MAX_NODES: usize = crate::nodes_conf::MAX_NODES;

/// The nodes that gossip may tell of.
#[derive(Debug, Default)]
pub(super) struct GossipPool {
    /// Those that are not suspected.
    all: Vec<NodeKey>,
    /// Those that are.
    suspected: Vec<NodeKey>,
}

const FAILING: NodeFlags = NodeFlags(NodeFlags::SUSPECTED.0 | NodeFlags::FAILED.0);

impl ClusterMachine {
    /// Milliseconds since 1970 of a point on the monotonic clock; 0 for never.
    pub(super) fn unix_ms(&self, at: Option<Monotonic>) -> u64 {
        at.map_or(0, |at| self.now.unix_ms().saturating_sub(self.monotonic().ms_since(at)))
    }

    /// What to tell `target`: a random tenth of the nodes, within bounds, and all that are suspected.
    pub(super) fn gossip_for(&mut self, target: Option<NodeKey>) -> Gossip {
        self.refresh_gossip_pool();
        // What a peer is that has said nothing yet is not known; its next message makes up for it.
        let may_be_shoal = |node: &Node| node.is_shoal || node.data_received.is_none();
        let is_shoal = target.and_then(|key| self.table.get(key)).is_some_and(may_be_shoal);
        let is_growing = self.grown_at.is_some_and(|at| self.ms_since(Some(at)) <= GROWTH_MS);
        let is_brief = is_shoal && self.config.announces_shoal && !is_growing;
        let wanted = if is_brief { MIN_ENTRIES } else { (self.table.len() / 10).max(MIN_ENTRIES) };
        let mut pool = std::mem::take(&mut self.gossip_pool);
        let mut entries = Vec::with_capacity(wanted + pool.suspected.len());
        let count = pool.all.len();
        for index in 0..count.min(wanted * TRIES_PER_ENTRY) {
            if entries.len() == wanted {
                break;
            }
            // Each is drawn at most once: those that were drawn stand in front.
            let drawn = index + self.rng.index(count - index);
            pool.all.swap(index, drawn);
            let key = pool.all[index];
            if Some(key) != target && self.table.get(key).is_some_and(|node| self.can_be_told(node)) {
                entries.extend(self.gossip_entry(key));
            }
        }
        let suspected = pool.suspected.iter().filter(|&&key| Some(key) != target);
        entries.extend(suspected.filter_map(|&key| self.gossip_entry(key)));
        self.gossip_pool = pool;
        Gossip { entries, extensions: self.extensions_for(target) }
    }

    /// Whether there is something to tell of a node that nobody suspects.
    fn can_be_told(&self, node: &Node) -> bool {
        self.is_open(node.link) || !node.slots.is_empty()
    }

    /// Takes the nodes anew if they have changed since.
    fn refresh_gossip_pool(&mut self) {
        if !std::mem::take(&mut self.gossip_pool_is_old) {
            return;
        }
        let GossipPool { all, suspected } = &mut self.gossip_pool;
        all.clear();
        suspected.clear();
        for (key, node) in self.table.iter() {
            if key == self.myself || node.flags.has(NodeFlags::HANDSHAKE | NodeFlags::NO_ADDRESS) {
                continue;
            }
            if node.is_suspected() { suspected.push(key) } else { all.push(key) }
        }
    }

    fn gossip_entry(&self, key: NodeKey) -> Option<GossipEntry> {
        let node = self.table.get(key)?;
        let seconds = |at| u32::try_from(self.unix_ms(at) / 1000).unwrap_or(u32::MAX);
        Some(GossipEntry {
            node: node.id,
            ping_sent_s: seconds(node.ping_sent),
            pong_received_s: seconds(node.pong_received),
            host: node.host.clone(),
            port: node.port,
            bus_port: node.bus_port,
            flags: node.flags,
            other_port: node.other_port,
        })
    }

    fn extensions_for(&mut self, target: Option<NodeKey>) -> Extensions {
        let mut extensions =
            Extensions { hostname: self.config.announce_hostname.clone(), ..Extensions::default() };
        let takes_more = target.and_then(|key| self.table.get(key)).is_some_and(|node| node.takes_extensions);
        if takes_more {
            extensions.human_name = self.config.announce_human_name.clone();
            extensions.shard_id = Some(self.me().shard_id);
            let now = self.monotonic();
            // All have their turn, with this message or another.
            let surplus = self.forgotten.len().saturating_sub(MAX_FORGOTTEN_TOLD);
            let skipped = self.rng.index(surplus + 1);
            extensions.forgotten = self
                .forgotten
                .iter()
                .filter(|&(_, &until)| until > now)
                .map(|(&node, &until)| (node, until.ms_since(now).div_ceil(1000)))
                .skip(skipped)
                .take(MAX_FORGOTTEN_TOLD)
                .collect();
            let is_shoal = target.and_then(|key| self.table.get(key)).is_some_and(|node| node.is_shoal);
            let priority = Some(self.config.replica_priority);
            extensions.replica_priority = priority.filter(|&own| is_shoal && own != DEFAULT_PRIORITY);
            extensions.take_over = self.asks_to_take_over(target);
            extensions.claims = self.claims_to_vote_on(target);
        }
        if target.and_then(|key| self.table.get(key)).is_some_and(|node| node.is_shoal) {
            extensions.client = self.config.announce_client.clone();
        }
        extensions
    }

    /// Takes in what a known node tells of others.
    pub(super) fn learn_gossip(&mut self, sender: NodeKey, gossip: &Gossip) {
        for entry in &gossip.entries {
            match self.table.find(&entry.node) {
                Some(key) => self.learn_entry(sender, key, entry),
                None => self.learn_new_node(entry),
            }
        }
    }

    fn learn_entry(&mut self, sender: NodeKey, key: NodeKey, entry: &GossipEntry) {
        let is_failing = entry.flags.has(FAILING);
        if key != self.myself && self.table.get(sender).is_some_and(Node::is_primary) {
            self.learn_failure_report(sender, key, is_failing);
        }
        let (now, unix_now_ms) = (self.monotonic(), self.now.unix_ms());
        let Some(node) = self.table.get_mut(key) else { return };
        // With no ping of our own under way and no complaint from others, their pongs spare us pings.
        if !is_failing && node.ping_sent.is_none() && node.failure_reports.is_empty() {
            let pong_ms = u64::from(entry.pong_received_s) * 1000;
            if pong_ms != 0 && pong_ms <= unix_now_ms + CLOCK_TOLERANCE_MS {
                let age_ms = unix_now_ms.saturating_sub(pong_ms);
                let at = Monotonic(now.0.saturating_sub(age_ms.saturating_mul(1000)));
                node.pong_received = node.pong_received.max(Some(at));
            }
        }
        // Somebody reaches a node that we cannot reach, at another address than ours.
        let address_differs =
            node.host != entry.host || node.port != entry.port || node.bus_port != entry.bus_port;
        if key != self.myself
            && node.flags.has(FAILING)
            && !entry.flags.has(NodeFlags::NO_ADDRESS)
            && !is_failing
            && address_differs
            && !entry.host.is_empty()
        {
            node.host = entry.host.clone();
            (node.port, node.other_port, node.bus_port) = (entry.port, entry.other_port, entry.bus_port);
            node.flags.clear(NodeFlags::NO_ADDRESS);
            if let Some(link) = node.link {
                self.close_link(link);
            }
            self.changed();
        }
    }

    /// A node we hear of the first time, from one we know: it is taken up by its name. (A handshake with whoever
    /// answers at that address could lead into another cluster.)
    fn learn_new_node(&mut self, entry: &GossipEntry) {
        if entry.flags.has(NodeFlags::NO_ADDRESS | NodeFlags::HANDSHAKE)
            || entry.host.is_empty()
            || self.is_forgotten(&entry.node)
            || self.table.len() >= MAX_NODES
        {
            return;
        }
        let shard_id = NodeId::random(&mut self.rng);
        let now = self.monotonic();
        let mut node = Node::new(entry.node, shard_id, entry.flags & NodeFlags::FROM_GOSSIP, now);
        node.failed_at = now;
        node.host = entry.host.clone();
        (node.port, node.other_port, node.bus_port) = (entry.port, entry.other_port, entry.bus_port);
        self.table.add(node);
        self.grown_at = Some(now);
        self.changed();
    }

    /// Takes in further facts a known node tells of itself, and its wish to forget nodes.
    pub(super) fn learn_extensions(&mut self, sender: NodeKey, header: &Header, extensions: &Extensions) {
        // Redis 7.0 sets the flag only together with a host name; 7.2 sets it always. Every message decides anew: the
        // program behind a name may be exchanged.
        let takes_extensions = header.shoal_version > 0
            || extensions.shard_id.is_some()
            || (header.extensions_understood && extensions.hostname.is_none());
        let shard_id = extensions.shard_id.filter(|_| {
            // A replica's shard is that of its primary, whatever it says.
            self.table.get(sender).is_some_and(|node| node.primary.is_none())
        });
        let Some(node) = self.table.get_mut(sender) else { return };
        node.takes_extensions = takes_extensions;
        node.is_shoal = header.shoal_version > 0;
        node.replica_priority = extensions.replica_priority.unwrap_or(DEFAULT_PRIORITY);
        let takes_slots = header.shoal_version >= crate::wire::TAKES_SLOTS_VERSION;
        let mut has_changed = node.hostname != extensions.hostname || node.takes_slots != takes_slots;
        node.takes_slots = takes_slots;
        node.votes_on_claims = Some(header.shoal_version >= crate::wire::VOTES_ON_CLAIMS_VERSION);
        node.hostname = extensions.hostname.clone();
        // A Shoal that has just started does not know yet what this node is: it leaves out the shard, and this.
        let is_told = !node.is_shoal || extensions.shard_id.is_some();
        if is_told && node.client != extensions.client {
            node.client = extensions.client.clone();
            has_changed = true;
        }
        if takes_extensions && node.human_name != extensions.human_name {
            node.human_name = extensions.human_name.clone();
            has_changed = true;
        }
        if let Some(shard_id) = shard_id.filter(|&shard_id| shard_id != node.shard_id) {
            node.shard_id = shard_id;
            has_changed = true;
            for (_, replica) in self.table.iter_mut().filter(|(_, node)| node.primary == Some(sender)) {
                replica.shard_id = shard_id;
            }
        }
        if has_changed {
            self.changed();
        }
        for &(id, seconds) in &extensions.forgotten {
            self.forget_on_request(id, seconds);
        }
        if extensions.take_over {
            self.on_hand_over(sender);
        }
        for claim in &extensions.claims {
            self.on_claim_request(sender, header, claim);
        }
    }

    fn forget_on_request(&mut self, id: NodeId, seconds: u64) {
        let Some(key) = self.table.find(&id) else { return };
        if key == self.myself || self.my_primary() == Some(key) {
            return;
        }
        self.log(LogLevel::Notice, format!("Forgetting node {id}, as another node was told to."));
        self.forgotten.insert(id, self.monotonic().plus_ms(seconds.min(MAX_FORGET_S) * 1000));
        self.remove_node(key);
    }

    /// Whether gossip must not bring this node back yet.
    pub(super) fn is_forgotten(&mut self, id: &NodeId) -> bool {
        let now = self.monotonic();
        self.forgotten.retain(|_, &mut until| until > now);
        self.forgotten.contains_key(id)
    }
}
