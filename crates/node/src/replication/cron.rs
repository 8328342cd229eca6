//! What happens once a second: timeouts, keep-alives, acknowledgements, snapshots that are due.

use super::peers::{Peer, Stage};
use super::replica::Link;
use crate::host::{Host, LogLevel, SnapshotTarget};
use crate::node::Node;
use crate::pause::PauseReason;
use shoal_machine::{Monotonic, Now};
use shoal_session::Close;

/// The time between two rounds.
const CRON_INTERVAL_MS: u64 = 1000;

impl Node {
    /// The housekeeping of replication; called at every tick.
    pub(crate) fn replication_tick(&mut self, now: Now, host: &mut dyn Host) {
        self.expire_waits(now);
        self.advance_failover(now, host);
        self.close_replicas_over_soft_limit(now.monotonic);
        if now.monotonic < self.replication.next_cron_at {
            return;
        }
        self.replication.next_cron_at = now.monotonic.plus_ms(CRON_INTERVAL_MS);
        self.check_link_timeouts(now, host);
        self.connect_if_due(now, host);
        self.send_ack();
        self.send_sign_of_life();
        self.ping_replicas();
        self.check_replica_timeouts(now.monotonic, host);
        self.free_backlog_if_due(now.monotonic, host);
        self.start_due_snapshot(now, host);
        self.remove_sync_file_if_unused(host);
        self.trim_stream();
        self.count_good_replicas(now.monotonic);
        self.replication.cron_count += 1;
    }

    fn check_link_timeouts(&mut self, now: Now, host: &mut dyn Host) {
        let timeout_ms = u64::from(self.config.repl_timeout_seconds) * 1000;
        let Some(upstream) = &self.replication.upstream else { return };
        let is_silent = match &upstream.link {
            Link::Dual(dual) => self.is_dual_silent(upstream, dual, now.monotonic, timeout_ms),
            // A connection that is not read cannot be heard.
            _ if self.replication.held_input.is_some() => false,
            _ => now.monotonic.ms_since(upstream.last_io) > timeout_ms,
        };
        if !is_silent {
            return;
        }
        let text = match &upstream.link {
            Link::Waiting => return,
            Link::Connecting { .. } | Link::Handshake { .. } => "Timeout connecting to the MASTER...",
            Link::Transfer(_) | Link::Dual(_) => {
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' \
                 parameter in redis.conf to a larger value."
            }
            Link::Up(_) => "MASTER timeout: no data nor PING received...",
        };
        host.log(LogLevel::Warning, text);
        self.drop_link(now, host);
        self.reconnect(now, host);
    }

    /// Pings go into the stream; who does not get it yet is kept alive by empty lines.
    fn ping_replicas(&mut self) {
        let period = u64::from(self.config.repl_ping_replica_period_seconds.max(1));
        let is_due = self.replication.cron_count.is_multiple_of(period);
        // The stream has to stand still while a failover waits for a replica to reach its end.
        let is_held = self.pauses.reason().is_some_and(|(reason, _)| reason == PauseReason::Failover);
        if is_due && !is_held && self.replication_is_active() && self.replication.peers.replica_count() > 0 {
            self.feed_words(&["PING"]);
        }
        let waits_in_silence = |peer: &Peer| match peer.stage {
            Stage::AwaitSnapshot { .. } => true,
            Stage::InSnapshot { target, .. } => target == SnapshotTarget::File,
            _ => false,
        };
        for handle in self.replication.peers.in_stage(waits_in_silence) {
            self.write_to(handle, &mut None, b"\n");
        }
    }

    fn check_replica_timeouts(&mut self, now: Monotonic, host: &mut dyn Host) {
        let timeout_ms = u64::from(self.config.repl_timeout_seconds) * 1000;
        for handle in self.replication.peers.in_stage(|_| true) {
            let has_output = self.has_output(handle);
            let Some(peer) = self.replication.peers.get_mut(handle) else { continue };
            if !has_output || peer.sent.0 != peer.sent.1 {
                peer.sent.1 = peer.sent.0;
                peer.progress_at = now;
            }
            let kind = match peer.stage {
                Stage::Online | Stage::AwaitAck | Stage::BesideSnapshot | Stage::Served
                    if (!peer.is_pre_psync || peer.is_snapshot_channel)
                        && now.ms_since(peer.ack_at) > timeout_ms =>
                {
                    "streaming sync"
                }
                Stage::InSnapshot { target: SnapshotTarget::Stream, .. }
                    if now.ms_since(peer.progress_at) > timeout_ms =>
                {
                    "full sync"
                }
                _ => continue,
            };
            let text = format!("Disconnecting timedout replica ({kind}): {}", self.replica_name(handle));
            host.log(LogLevel::Warning, &text);
            self.close(handle, Close::Now);
        }
    }

    /// Without replicas for long, the backlog costs memory for nothing. What is written then is not recorded, so the
    /// history has to end.
    fn free_backlog_if_due(&mut self, now: Monotonic, host: &mut dyn Host) {
        let limit_seconds = self.config.repl_backlog_ttl_seconds;
        let replication = &mut self.replication;
        if limit_seconds == 0
            || !replication.has_backlog
            || replication.upstream.is_some()
            || replication.peers.replica_count() > 0
            || now.ms_since(replication.no_replicas_since) <= limit_seconds.saturating_mul(1000)
        {
            return;
        }
        replication.begin_history(&mut self.rng);
        replication.has_backlog = false;
        let text =
            format!("Replication backlog freed after {limit_seconds} seconds without connected replicas.");
        host.log(LogLevel::Notice, &text);
    }

    /// Bytes that wait for a replica, and the limits that hold for it: a replica that could still be served from the
    /// backlog is not sent away.
    fn replica_output(&self, handle: crate::clients::Handle) -> (u64, shoal_config::OutputBufferLimit) {
        let mut limit = self.config.client_output_buffer_limit.replica;
        let backlog_bytes = self.config.repl_backlog_size_bytes;
        for bytes in [&mut limit.hard_bytes, &mut limit.soft_bytes] {
            if *bytes > 0 {
                *bytes = (*bytes).max(backlog_bytes);
            }
        }
        let own = self.clients.session(handle).map_or(0, |session| session.output.len() as u64);
        let peer = self.replication.peers.get(handle).filter(|peer| peer.needs_stream());
        let of_stream = peer.map_or(0, |peer| self.replication.stream.end().saturating_sub(peer.position));
        (own + of_stream, limit)
    }

    pub(super) fn close_replicas_over_hard_limit(&mut self) {
        for handle in self.replication.peers.in_stage(Peer::needs_stream) {
            let (bytes, limit) = self.replica_output(handle);
            if limit.hard_bytes > 0 && bytes >= limit.hard_bytes {
                self.close_over_limit(handle);
            }
        }
    }

    fn close_replicas_over_soft_limit(&mut self, now: Monotonic) {
        for handle in self.replication.peers.in_stage(Peer::needs_stream) {
            let (bytes, limit) = self.replica_output(handle);
            let Some(peer) = self.replication.peers.get_mut(handle) else { continue };
            if limit.soft_bytes == 0 || bytes < limit.soft_bytes {
                peer.over_soft_since = None;
            } else {
                let since = *peer.over_soft_since.get_or_insert(now);
                if now.ms_since(since) > limit.soft_seconds.saturating_mul(1000) {
                    self.close_over_limit(handle);
                }
            }
        }
    }

    fn close_over_limit(&mut self, handle: crate::clients::Handle) {
        if let Some(peer) = self.replication.peers.get_mut(handle)
            && !peer.is_over_limit
        {
            peer.is_over_limit = true;
            self.stats.output_limit_disconnections += 1;
            // Its position must not keep the stream any longer.
            self.replication.peers.set_stage(handle, Stage::Served);
            self.close(handle, Close::Now);
        }
    }
}
