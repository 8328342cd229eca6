//! Which replica stands first: among the replicas of one primary, and among those of several that failed together.
//!
//! Redis ranks replicas by their data alone. Replicas that are all Shoal know each other's `replica-priority` and agree on one
//! order: first who has any data, then the lower priority, then more data, and of equals the lesser name.

use super::ClusterMachine;
use crate::NodeFlags;
use crate::node_table::Node;
use crate::view::NodeKey;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// A primary that failed longer ago than so many node-timeouts holds no election of others up.
const RECENT_TIMEOUTS: u64 = 4;

/// The lesser comes first.
type Standing = (bool, u32, Reverse<u64>);

impl ClusterMachine {
    /// How many replicas of our primary that may stand for election come before this one.
    pub(super) fn rank(&self) -> u64 {
        let Some(primary) = self.my_primary() else { return 0 };
        let by_priority = self.are_siblings_shoal();
        let (mine, my_offset) = (self.own_standing(), self.status.replication_offset);
        let is_before = |node: &Node| {
            if by_priority { standing(node) < mine } else { node.replication_offset > my_offset }
        };
        let before =
            self.siblings(primary).filter(|node| !node.flags.has(NodeFlags::NO_FAILOVER) && is_before(node));
        before.count() as u64
    }

    /// Whether all replicas of our primary agree that this one is to stand for election first. Redis does not know this rule,
    /// so it must not be among them.
    pub(super) fn is_first_in_line(&self) -> bool {
        let Some(primary) = self.my_primary() else { return false };
        let mine = (self.own_standing(), self.me().id);
        let is_behind = |node: &Node| !node.may_take_over() || mine < (standing(node), node.id);
        self.are_siblings_shoal() && self.siblings(primary).all(is_behind)
    }

    /// How many primaries with slots, whose names are less than that of ours, failed lately and are to be replaced.
    pub(super) fn failed_shards_before(&self) -> u64 {
        let Some(own) = self.my_primary().and_then(|key| self.table.get(key)) else { return 0 };
        let recent_ms = self.config.node_timeout_ms * RECENT_TIMEOUTS;
        let is_before = |key: &NodeKey| {
            self.table.get(*key).is_some_and(|node| {
                node.is_failed()
                    && node.is_primary()
                    && !node.slots.is_empty()
                    && node.id < own.id
                    && self.ms_since(Some(node.failed_at)) <= recent_ms
            })
        };
        let candidates = self.table.iter().filter(|(_, node)| node.may_take_over() && !node.is_suspected());
        let shards: BTreeSet<NodeKey> =
            candidates.filter_map(|(_, node)| node.primary).filter(is_before).collect();
        shards.len() as u64
    }

    /// Whether all that take part in an election of ours are Shoal: those who may stand, and those who vote. Redis does not vote
    /// twice for a replica, and would be asked in vain.
    pub(super) fn is_among_shoal(&self) -> bool {
        let is_shoal = |node: &Node| node.is_shoal || node.is_failed() || node.flags.has(NodeFlags::MYSELF);
        self.are_siblings_shoal() && self.table.voters().all(|(_, node)| is_shoal(node))
    }

    /// Whether all other replicas of our primary that may stand for election are Shoal, and so is this one as others see it.
    fn are_siblings_shoal(&self) -> bool {
        let Some(primary) = self.my_primary() else { return false };
        let may_differ = |node: &Node| node.is_shoal || !node.may_take_over();
        self.config.announces_shoal && self.siblings(primary).all(may_differ)
    }

    fn siblings(&self, primary: NodeKey) -> impl Iterator<Item = &Node> {
        let others = self.table.replicas_of(primary).filter(|&(key, _)| key != self.myself);
        others.map(|(_, node)| node)
    }

    fn own_standing(&self) -> Standing {
        let offset = self.status.replication_offset;
        (offset == 0, self.config.replica_priority, Reverse(offset))
    }
}

/// A replica that has no data yet comes last, whatever its priority.
fn standing(node: &Node) -> Standing {
    (node.replication_offset == 0, node.replica_priority, Reverse(node.replication_offset))
}
