//! The regular work, ten times a second.

use super::CRON_INTERVAL_MS;
use super::ClusterMachine;
use crate::NodeFlags;
use crate::view::NodeKey;

/// A node in handshake is given up after node-timeout, and not before this: both sides save what they learn before they
/// answer, and a busy disk takes its time. If only one side gives up, the two never meet.
const MIN_HANDSHAKE_TIMEOUT_MS: u64 = 5000;
/// A link over which pings are not answered is renewed after this many node-timeouts, whatever else comes in.
const DEAD_LINK_TIMEOUTS: u64 = 2;
/// A link to a failed node is not tried more often than this. Of many that fail together each would cost ten attempts a second.
const FAILED_RECONNECT_MS: u64 = 1000;
/// Of so many random nodes the one with the oldest pong is pinged.
const PING_SAMPLE: usize = 5;

impl ClusterMachine {
    pub(super) fn cron(&mut self) {
        self.cron_count += 1;
        self.watch_executor();
        let late_ms = self.ms_since(self.last_cron);
        if self.last_cron.is_some() && late_ms > self.config.node_timeout_ms / 2 {
            self.restart_ping_clocks();
        }
        self.last_cron = Some(self.monotonic());
        for key in self.table.keys() {
            self.reconnect_if_needed(key);
        }
        let every = (self.config.ping_interval_ms / CRON_INTERVAL_MS).max(1);
        if self.cron_count.is_multiple_of(every) {
            self.ping_somebody();
        }
        for key in self.table.keys() {
            self.check_node(key);
        }
        self.leaving_cron();
        self.manual_failover_cron();
        if self.me().is_replica() {
            self.todo.election = true;
            self.leave_replica_of_replica();
            self.run_migration();
        }
        if !self.health.is_ok {
            self.todo.state = true;
        }
    }

    fn reconnect_if_needed(&mut self, key: NodeKey) {
        let Some(node) = self.table.get(key) else { return };
        if node.flags.has(NodeFlags::MYSELF | NodeFlags::NO_ADDRESS) {
            return;
        }
        let handshake_timeout_ms = self.config.node_timeout_ms.max(MIN_HANDSHAKE_TIMEOUT_MS);
        if node.is_in_handshake() && self.ms_since(Some(node.created)) > handshake_timeout_ms {
            self.remove_node(key);
            return;
        }
        // One that has failed is tried less often, unless it has spoken since.
        let is_tried = node.is_failed()
            && node.connected_at.is_some_and(|at| self.monotonic().ms_since(at) < FAILED_RECONNECT_MS)
            && node.data_received < node.connected_at;
        if node.link.is_none() && !is_tried && !node.host.is_empty() && !self.is_silent() {
            self.connect(key);
        }
    }

    /// Pings the one of a few random nodes that was silent longest.
    fn ping_somebody(&mut self) {
        let keys = self.table.keys();
        let mut oldest: Option<NodeKey> = None;
        for _ in 0..PING_SAMPLE {
            let Some(&key) = self.rng.choose(&keys) else { return };
            let Some(node) = self.table.get(key) else { continue };
            if node.ping_sent.is_some()
                || node.flags.has(NodeFlags::MYSELF | NodeFlags::HANDSHAKE)
                || !self.is_open(node.link)
            {
                continue;
            }
            let is_older = oldest
                .and_then(|oldest| self.table.get(oldest))
                .is_none_or(|oldest| node.pong_received < oldest.pong_received);
            if is_older {
                oldest = Some(key);
            }
        }
        if let Some(key) = oldest {
            self.send_ping(key);
        }
    }

    /// Renews a link that seems dead, pings a node that was silent for long, suspects one that does not answer.
    fn check_node(&mut self, key: NodeKey) {
        let Some(node) = self.table.get(key) else { return };
        if node.flags.has(NodeFlags::MYSELF | NodeFlags::NO_ADDRESS | NodeFlags::HANDSHAKE) {
            return;
        }
        let timeout_ms = self.config.node_timeout_ms;
        let ping_age_ms = node.ping_sent.map(|at| self.ms_since(Some(at)));
        let data_age_ms = self.ms_since(node.data_received);
        let pong_age_ms = self.ms_since(node.pong_received);
        let last_ping = node.last_ping;
        let is_shoal = node.is_shoal && self.config.announces_shoal;
        let mut link = node.link;
        if let Some(id) = link
            && let Some(link_age_ms) = self.links.get(&id).map(|link| self.ms_since(Some(link.created)))
            && link_age_ms > timeout_ms
            && ping_age_ms.is_some_and(|age_ms| is_link_dead(age_ms, data_age_ms, timeout_ms))
        {
            self.close_link(id);
            link = None;
        }
        let Some(ping_age_ms) = ping_age_ms else {
            // Shoal pings in its turn: what came from it is as good as a pong, as long as our own link is tried now and then.
            let is_proof_enough = is_shoal && pong_age_ms <= timeout_ms && data_age_ms <= timeout_ms / 2;
            if self.is_open(link) && pong_age_ms > timeout_ms / 2 && !is_proof_enough {
                self.send_ping(key);
            }
            return;
        };
        // The ping or its pong may be lost while other messages come: ask again.
        if self.is_open(link) && ping_age_ms > timeout_ms / 2 && self.ms_since(last_ping) > timeout_ms / 2 {
            self.send_ping(key);
        }
        // Any data proves that the node is alive; under load pongs may be late.
        let is_overdue = ping_age_ms.min(data_age_ms) > timeout_ms;
        let is_known = self.table.get(key).is_some_and(|node| node.is_suspected() || node.is_failed());
        if is_overdue && !is_known && !self.is_silent() {
            self.suspect(key);
        }
    }
}

/// Whether a link over which a ping was not answered for so long should be renewed: at once if nothing else comes from
/// the node either, and in the end even if its own link to us still works.
fn is_link_dead(ping_age_ms: u64, data_age_ms: u64, timeout_ms: u64) -> bool {
    (ping_age_ms > timeout_ms / 2 && data_age_ms > timeout_ms / 2)
        || ping_age_ms > timeout_ms.saturating_mul(DEAD_LINK_TIMEOUTS)
}
