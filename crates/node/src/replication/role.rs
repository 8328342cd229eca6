//! Changes of role: becoming a replica, changing the primary, becoming a primary.

use super::replica::{Link, Upstream};
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_cluster::{NodeStatus, PrimaryLink};
use shoal_machine::Now;
use shoal_replication::ReplicationId;
use shoal_store::snapshot::ReplicationPoint;

/// Who wants the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A user, by command: the configuration changes with it.
    User,
    /// The cluster machine.
    Cluster,
}

impl Node {
    /// Follows a primary, from the cluster machine's orders. Nothing happens if it is followed already.
    pub fn follow(&mut self, now: Now, host: &mut dyn Host, primary_host: &str, port: u16) {
        if !self.follows(primary_host, port) {
            self.set_primary(now, host, primary_host, port, Reason::Cluster);
        }
    }

    /// Stops following a primary, from the cluster machine's orders. Nothing happens if this node is one already.
    pub fn become_primary(&mut self, now: Now, host: &mut dyn Host) {
        self.unset_primary(now, host, Reason::Cluster);
    }

    /// The facts of replication that the cluster machine wants to know.
    pub fn replication_status(&self, now: Now) -> NodeStatus {
        let since = |point| now.monotonic.ms_since(point);
        let primary_link = match &self.replication.upstream {
            Some(upstream) if matches!(upstream.link, Link::Up(_)) => {
                PrimaryLink::Up { last_interaction_ms: since(upstream.last_io) }
            }
            Some(upstream) => PrimaryLink::Down {
                since_ms: since(upstream.down_since.unwrap_or(self.started_at.monotonic)),
            },
            None => PrimaryLink::Down { since_ms: since(self.started_at.monotonic) },
        };
        // While a snapshot arrives there is no data of its own to speak of: clients are not sent here, and it can win no election.
        let upstream = self.replication.upstream.as_ref();
        let is_filling =
            upstream.is_some_and(|upstream| matches!(upstream.link, Link::Transfer(_) | Link::Dual(_)));
        let replication_offset = if is_filling { 0 } else { self.replication_offset() };
        let has_been_in_step = upstream
            .is_some_and(|upstream| matches!(upstream.link, Link::Up(_)) || upstream.down_since.is_some());
        NodeStatus { replication_offset, primary_link, has_been_in_step }
    }

    /// Whether this node follows that primary.
    pub(crate) fn follows(&self, primary_host: &str, port: u16) -> bool {
        let upstream = self.replication.upstream.as_ref();
        upstream
            .is_some_and(|upstream| upstream.host.eq_ignore_ascii_case(primary_host) && upstream.port == port)
    }

    /// Follows a primary, or another one than before. A primary's own data may be a beginning of the other's.
    pub(crate) fn set_primary(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        primary_host: &str,
        port: u16,
        reason: Reason,
    ) {
        let was_primary = !self.is_replica();
        self.drop_link(now, host);
        self.end_all_blocking(now, host);
        let mut upstream = Upstream::new(primary_host, port, now.monotonic);
        upstream.down_since = None;
        self.replication.upstream = Some(upstream);
        if was_primary {
            host.log(
                LogLevel::Notice,
                "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be \
                 able to synchronize with the new master with just a partial transfer.",
            );
            self.replication.can_resume = true;
            // A primary that goes on from here begins with a SELECT. One that knows the old name is in the middle of a stream.
            if !self.return_to_second_id() {
                self.replication.resume_database = 0;
            }
        }
        if reason == Reason::User {
            self.config.replica_of.0 = Some((primary_host.to_owned(), port));
        }
        host.log(LogLevel::Notice, &format!("Connecting to MASTER {primary_host}:{port}"));
        self.connect_to_primary(now, host);
    }

    /// Becomes a primary. The history goes on under a new name; the old one is kept as the second, so that siblings can
    /// go on from here. Returns whether anything changed.
    pub(crate) fn unset_primary(&mut self, now: Now, host: &mut dyn Host, reason: Reason) -> bool {
        if !self.is_replica() {
            return false;
        }
        self.own_keys.clear();
        self.drop_link(now, host);
        self.replication.upstream = None;
        self.replication.can_resume = false;
        let id = ReplicationId::random(&mut self.rng);
        self.replication.rename_history(id);
        if let Some((old, end)) = self.replication.second_id {
            let text = format!(
                "Setting secondary replication ID to {old}, valid up to offset: {end}. New replication ID is {id}"
            );
            host.log(LogLevel::Warning, &text);
        }
        self.disconnect_replicas(now.monotonic);
        self.unit.selected_database = None;
        if reason == Reason::User {
            self.config.replica_of.0 = None;
        }
        true
    }

    /// If nothing has been written since the history got its new name, the old name fits as well, and more nodes know it.
    /// Returns whether that is so; the stream is then in the database that it was in when it got the new name.
    fn return_to_second_id(&mut self) -> bool {
        let replication = &mut self.replication;
        // Without a backlog what is written does not show in the stream.
        if let Some((old, end)) = replication.second_id
            && replication.has_backlog
            && end == replication.stream.end()
            && replication.peers.replica_count() == 0
        {
            replication.id = old;
            replication.second_id = None;
            return true;
        }
        false
    }

    /// Takes over where a snapshot stands that was loaded at start-up. A replica goes on from there; a primary's
    /// replicas can, if they are exactly there.
    pub(crate) fn restore_replication(&mut self, now: Now, point: &ReplicationPoint) {
        let Some(id) = ReplicationId::parse(point.id.as_bytes()) else { return };
        let Ok(offset) = u64::try_from(point.offset) else { return };
        let is_replica = self.is_replica();
        let replication = &mut self.replication;
        replication.stream.restart(offset.saturating_add(1));
        replication.has_backlog = true;
        replication.no_replicas_since = now.monotonic;
        replication.second_id = None;
        replication.resume_database =
            usize::try_from(point.stream_database).unwrap_or(0).min(self.keyspace.database_count() - 1);
        if is_replica {
            replication.id = id;
            replication.can_resume = true;
        } else {
            replication.second_id = Some((id, replication.stream.end()));
        }
    }
}
