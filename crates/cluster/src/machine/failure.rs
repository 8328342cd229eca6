//! Who is down: suspicion (PFAIL), agreement (FAIL), recovery.

use super::ClusterMachine;
use crate::NodeFlags;
use crate::NodeId;
use crate::interface::LogLevel;
use crate::node_table::Node;
use crate::view::NodeKey;
use std::collections::BTreeSet;

/// A report counts for this many node-timeouts.
const REPORT_VALIDITY: u64 = 2;
/// A failed primary that came back, and that nobody replaced, is taken back after this many node-timeouts.
const UNDO_AFTER: u64 = 2;
/// Fresh suspicions are told at once to at most this many nodes; gossip carries it to the rest.
const TOLD_AT_ONCE: usize = 32;
/// So many of them are the same for all who tell, so that in a large cluster somebody soon has heard of it from a majority.
const TOLD_BY_ALL: usize = 16;

impl ClusterMachine {
    /// A primary tells whether it reaches a node.
    pub(super) fn learn_failure_report(&mut self, reporter: NodeKey, about: NodeKey, is_failing: bool) {
        let (now, validity_ms) = (self.monotonic(), self.report_validity_ms());
        let reporter_id = self.table.get(reporter).map(|node| node.id);
        let (Some(reporter_id), Some(node)) = (reporter_id, self.table.get_mut(about)) else { return };
        let id = node.id;
        if is_failing {
            let previous = node.failure_reports.insert(reporter, now);
            if previous.is_none() {
                let text = format!("Node {reporter_id} reported node {id} as not reachable.");
                self.log(LogLevel::Verbose, text);
            }
            // A report that is only renewed makes no majority.
            if previous.is_none_or(|at| now.ms_since(at) > validity_ms) {
                self.mark_failed_if_agreed(about);
            }
        } else if node.failure_reports.remove(&reporter).is_some() {
            self.log(LogLevel::Verbose, format!("Node {reporter_id} reported node {id} is back online."));
        }
    }

    fn report_validity_ms(&self) -> u64 {
        self.config.node_timeout_ms * REPORT_VALIDITY
    }

    /// How many primaries report a node, stale reports left out.
    pub(super) fn failure_reports(&mut self, about: NodeKey) -> usize {
        let (now, validity_ms) = (self.monotonic(), self.report_validity_ms());
        let Some(node) = self.table.get_mut(about) else { return 0 };
        node.failure_reports.retain(|_, &mut at| now.ms_since(at) <= validity_ms);
        node.failure_reports.len()
    }

    /// Flags a node we cannot reach as failed once a majority of the primaries cannot either, and tells everybody.
    pub(super) fn mark_failed_if_agreed(&mut self, about: NodeKey) {
        let now = self.monotonic();
        let Some(node) = self.table.get(about).filter(|node| node.is_suspected() && !node.is_failed()) else {
            return;
        };
        let reports = node.failure_reports.len();
        let quorum = self.table.quorum();
        if reports + 1 < quorum {
            return;
        }
        // A stuck executor is as good as a dead node; it has no say in whether others are alive.
        if self.is_silent() {
            return;
        }
        let agreeing = self.failure_reports(about) + usize::from(self.me().is_primary());
        if agreeing < quorum {
            return;
        }
        let Some(node) = self.table.get_mut(about) else { return };
        node.flags.clear(NodeFlags::SUSPECTED);
        node.flags.set(NodeFlags::FAILED);
        node.failed_at = now;
        let id = node.id;
        self.log(LogLevel::Notice, format!("Marking node {} as failing (quorum reached).", id.as_str()));
        self.broadcast_fail(id);
        self.todo.state = true;
        self.todo.election = true;
        self.changed();
    }

    /// The FAIL message.
    pub(super) fn on_fail(&mut self, sender: NodeId, failed: NodeId) {
        let now = self.monotonic();
        let Some(node) = self.table.find(&failed).and_then(|key| self.table.get_mut(key)) else { return };
        if node.flags.has(NodeFlags::FAILED | NodeFlags::MYSELF) {
            return;
        }
        node.flags.clear(NodeFlags::SUSPECTED);
        node.flags.set(NodeFlags::FAILED);
        node.failed_at = now;
        self.log(
            LogLevel::Notice,
            format!("FAIL message received from {} about {}", sender.as_str(), failed.as_str()),
        );
        self.todo.state = true;
        self.todo.election = true;
        self.changed();
    }

    /// A node that does not answer within node-timeout is suspected.
    pub(super) fn suspect(&mut self, key: NodeKey) {
        let Some(node) = self.table.get_mut(key) else { return };
        node.flags.set(NodeFlags::SUSPECTED);
        let id = node.id;
        self.log(LogLevel::Debug, format!("*** NODE {} possibly failing", id.as_str()));
        self.todo.state = true;
        self.changed();
        self.mark_failed_if_agreed(key);
        if self.config.announces_shoal && self.me().is_primary() && !self.me().slots.is_empty() {
            self.suspicions.push(key);
        }
    }

    /// The other primaries are told of fresh suspicions at once, of all with one message: agreement then takes one trip
    /// instead of the next pings.
    pub(super) fn tell_suspicions(&mut self) {
        let suspected: BTreeSet<NodeKey> = std::mem::take(&mut self.suspicions).into_iter().collect();
        if suspected.is_empty() {
            return;
        }
        let is_meant = |&(other, node): &(NodeKey, &Node)| {
            other != self.myself && !suspected.contains(&other) && is_worth_telling(node, &suspected)
        };
        let mut others: Vec<(bool, NodeId, NodeKey)> = self
            .table
            .iter()
            .filter(is_meant)
            .map(|(other, node)| (node.is_suspected() || !node.is_primary(), node.id, other))
            .collect();
        others.sort_unstable();
        if let Some(rest) = others.get_mut(TOLD_BY_ALL..) {
            self.rng.shuffle(rest);
        }
        for (_, _, other) in others.into_iter().take(TOLD_AT_ONCE) {
            if let Some(link) = self.open_link(other) {
                self.send_pong(link);
            }
        }
    }

    /// A PONG over our own link: the node is alive.
    pub(super) fn on_pong(&mut self, key: NodeKey) {
        let now = self.monotonic();
        let Some(node) = self.table.get_mut(key) else { return };
        node.pong_received = Some(now);
        node.ping_sent = None;
        if node.is_suspected() {
            node.flags.clear(NodeFlags::SUSPECTED);
            self.todo.state = true;
            self.changed();
        } else if node.is_failed() {
            self.clear_failure_if_allowed(key);
        }
    }

    /// A failed node that answers again is taken back: a replica or an empty primary at once, a primary with slots
    /// only when it becomes clear that nobody replaces it.
    fn clear_failure_if_allowed(&mut self, key: NodeKey) {
        let now = self.monotonic();
        let undo_ms = self.config.node_timeout_ms * UNDO_AFTER;
        let Some(node) = self.table.get_mut(key) else { return };
        let reason = if node.is_replica() {
            "replica is reachable again."
        } else if node.slots.is_empty() {
            "master without slots is reachable again."
        } else if now.ms_since(node.failed_at) > undo_ms {
            "is reachable again and nobody is serving its slots after some time."
        } else {
            return;
        };
        node.flags.clear(NodeFlags::FAILED);
        let text = format!("Clear FAIL state for node {}: {reason}", node.id.as_str());
        self.log(LogLevel::Notice, text);
        self.todo.state = true;
        self.changed();
    }
}

/// Other voters count reports, and so do the replicas of the nodes, which want to replace them.
fn is_worth_telling(node: &Node, suspected: &BTreeSet<NodeKey>) -> bool {
    node.is_primary() && !node.slots.is_empty()
        || node.primary.is_some_and(|primary| suspected.contains(&primary))
}
