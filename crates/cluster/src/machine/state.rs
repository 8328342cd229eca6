//! Whether the cluster can serve.

use super::ClusterMachine;
use crate::interface::LogLevel;
use crate::node_table::Node;
use shoal_machine::Monotonic;

/// A primary that comes back from a minority waits for node-timeout, within these bounds, before it serves again.
const REJOIN_DELAY_MS: std::ops::RangeInclusive<u64> = 500..=5000;
/// A primary does not serve earlier than this after its start, so that news can reach it first.
const WRITABLE_DELAY_MS: u64 = 2000;

/// What is known of the cluster's state.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// It serves.
    pub is_ok: bool,
    /// Primaries with slots.
    pub size: usize,
    first_check: Option<Monotonic>,
    /// When this node last was in a minority.
    minority_at: Option<Monotonic>,
    /// When this node last was elected.
    elected_at: Option<Monotonic>,
}

impl ClusterMachine {
    /// Computes the state anew.
    pub(super) fn update_state(&mut self) {
        let now = self.monotonic();
        let first_check = *self.health.first_check.get_or_insert(now);
        self.health.size = self.table.voters().count();
        let is_primary = self.me().is_primary();
        let elected_at = self.health.elected_at;
        if is_primary
            && !self.health.is_ok
            && elected_at.is_none()
            && now.ms_since(first_check) < WRITABLE_DELAY_MS
        {
            return;
        }
        let mut is_ok = !self.config.require_full_coverage || self.is_covered();
        let reachable = self.table.voters().filter(|(_, node)| is_reachable(node)).count();
        if reachable < self.table.quorum() {
            is_ok = false;
            self.health.minority_at = Some(now);
        }
        if is_ok == self.health.is_ok {
            return;
        }
        let rejoin_ms = self.config.node_timeout_ms.clamp(*REJOIN_DELAY_MS.start(), *REJOIN_DELAY_MS.end());
        let is_rejoining = |at: Monotonic| Some(at) > elected_at && now.ms_since(at) < rejoin_ms;
        if is_ok && is_primary && self.health.minority_at.is_some_and(is_rejoining) {
            return;
        }
        self.health.is_ok = is_ok;
        self.views.is_dirty = true;
        let word = if is_ok { "ok" } else { "fail" };
        self.log(LogLevel::Warning, format!("Cluster state changed: {word}"));
    }

    /// A majority of the primaries has just voted for this node: it is not alone, and has missed no news. It need not
    /// wait before it serves.
    pub(super) fn note_election_won(&mut self) {
        self.health.elected_at = Some(self.monotonic());
    }

    /// Whether every slot has an owner that is up.
    fn is_covered(&self) -> bool {
        let served: usize = self
            .table
            .iter()
            .filter(|(_, node)| !node.is_failed())
            .map(|(_, node)| usize::from(node.slots.len()))
            .sum();
        served == usize::from(shoal_protocol::slot::SLOT_COUNT)
    }
}

fn is_reachable(node: &Node) -> bool {
    !node.is_failed() && !node.is_suspected()
}
