//! A replica that its primary can spare moves to a primary that has none left.

use super::ClusterMachine;
use crate::NodeFlags;
use crate::node_table::Node;
use crate::view::NodeKey;
use std::collections::BTreeMap;

/// A primary must be without replicas for this long: after a failover its replicas come back by themselves.
const MIGRATION_DELAY_MS: u64 = 5000;

/// What is logged by a replica of a replica.
pub(super) const SUB_REPLICA: &str = "I'm a sub-replica! Reconfiguring myself as a replica of grandmaster";

impl ClusterMachine {
    /// A primary may become a replica without its replicas seeing its slots go (a message was lost): they follow its
    /// own primary once that has been so for half of node-timeout.
    pub(super) fn leave_replica_of_replica(&mut self) {
        let grand_primary = self
            .my_primary()
            .and_then(|key| self.table.get(key))
            .and_then(|node| node.primary)
            .filter(|&key| key != self.myself && self.table.get(key).is_some_and(Node::is_primary));
        let Some(grand_primary) = grand_primary else {
            self.sub_replica_since = None;
            return;
        };
        let since = *self.sub_replica_since.get_or_insert(self.now.monotonic);
        if self.ms_since(Some(since)) > self.config.node_timeout_ms / 2 {
            self.sub_replica_since = None;
            self.log_follow(SUB_REPLICA, grand_primary);
            self.follow(grand_primary);
        }
    }

    /// Looks for orphaned primaries, and moves if this node is the one to move.
    pub(super) fn run_migration(&mut self) {
        let Some(my_primary) = self.my_primary() else { return };
        if !self.config.allow_replica_migration {
            return;
        }
        let working = self.working_replicas();
        let count = |key| working.get(&key).copied().unwrap_or(0);
        let most = working.values().copied().max().unwrap_or(0);
        let target = self.find_orphan(&working);
        if most < 2 || count(my_primary) != most || !self.health.is_ok {
            return;
        }
        let reachable = |node: &Node| !node.is_failed() && !node.is_suspected();
        let spared = self.table.replicas_of(my_primary).filter(|(_, node)| reachable(node)).count();
        if spared <= self.config.migration_barrier {
            return;
        }
        // Of all replicas of the best covered primaries, the one with the smallest name moves.
        let my_id = self.me().id;
        let is_candidate = |key: NodeKey, node: &Node| count(key) == most && node.is_primary();
        let smallest = self
            .table
            .iter()
            .filter(|(_, node)| {
                node.primary.is_some_and(|primary| {
                    self.table.get(primary).is_some_and(|node| is_candidate(primary, node))
                })
            })
            .map(|(_, node)| node.id)
            .min();
        if smallest != Some(my_id) {
            return;
        }
        if let Some(target) = target {
            self.log_follow("Migrating to orphaned master", target);
            self.follow(target);
        }
    }

    /// For each primary that is up: how many of its replicas are.
    fn working_replicas(&self) -> BTreeMap<NodeKey, usize> {
        let mut working: BTreeMap<NodeKey, usize> = self
            .table
            .iter()
            .filter(|(_, node)| node.is_primary() && !node.is_failed())
            .map(|(key, _)| (key, 0))
            .collect();
        for (_, node) in self.table.iter().filter(|(_, node)| !node.is_failed()) {
            if let Some(count) = node.primary.and_then(|key| working.get_mut(&key)) {
                *count += 1;
            }
        }
        working
    }

    /// Keeps the time since when each primary is orphaned; returns the first that is so for long enough.
    fn find_orphan(&mut self, working: &BTreeMap<NodeKey, usize>) -> Option<NodeKey> {
        let now = self.monotonic();
        let mut target = None;
        for (key, node) in self.table.iter_mut() {
            let is_orphan = node.is_primary()
                && !node.is_failed()
                && node.flags.has(NodeFlags::MIGRATE_TO)
                && working.get(&key) == Some(&0);
            if !is_orphan {
                node.orphaned_since = None;
                continue;
            }
            let since = *node.orphaned_since.get_or_insert(now);
            if target.is_none() && !node.slots.is_empty() && now.ms_since(since) > MIGRATION_DELAY_MS {
                target = Some(key);
            }
        }
        target
    }
}
