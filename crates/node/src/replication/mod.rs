//! Replication, as a primary and as a replica.
//!
//! ```text
//!  primary ══ link ══▶ replica.rs ── commands, applied ──▶ ┌────────┐ ── primary.rs ══▶ replicas
//!                                    own writes ─────────▶ │ stream │    (each an offset into it)
//!                                                          └────────┘
//! ```
//!
//! There is one stream with one id, whoever writes it. A primary appends what its clients changed; a replica appends,
//! byte for byte, what it has applied of its primary's stream. So the end of the stream is the offset that is
//! acknowledged, the offset that a partial synchronisation asks for, and what sub-replicas are fed from.

mod adopt;
mod arriving;
mod connecting;
mod cron;
mod dual;
mod failover;
mod info;
pub(crate) mod link;
mod output;
mod peers;
mod primary;
mod replica;
mod role;
mod wait;

#[cfg(test)]
mod tests;

pub(crate) use arriving::LoadKind;
pub(crate) use failover::FailoverOptions;
pub(crate) use peers::Stage;
pub(crate) use role::Reason;
pub(crate) use wait::{AofWait, NO_AOF, Wait};

use crate::clients::Handle;
use crate::node::Node;
use failover::Failover;
use peers::Peers;
use replica::{Link, Upstream};
use shoal_machine::{Monotonic, Rng};
use shoal_protocol::command::Flags;
use shoal_protocol::{Command, CommandId, ErrorReply, errors};
use shoal_replication::{History, ReplicationId, Resume, Stream};
use shoal_session::{ClientKind, Close, Session};

/// How many bytes are appended between two looks at the backlog's size and the replicas' limits.
const FEED_CHECK_BYTES: u64 = 64 * 1024;

/// No attempt to connect has this name.
const NO_TICKET: u64 = 0;

/// What a node keeps for replication.
#[derive(Debug)]
pub(crate) struct Replication {
    /// What was written, for replicas and for partial synchronisations.
    pub stream: Stream,
    /// The name of the stream's history.
    pub id: ReplicationId,
    /// The name that the history had before, and the first offset that does not belong to it.
    pub second_id: Option<(ReplicationId, u64)>,
    /// Somebody has wanted the stream: everything is appended from then on.
    pub has_backlog: bool,
    /// The replicas of this node, and clients that are about to become one.
    pub peers: Peers,
    /// Since when there have been no replicas.
    pub no_replicas_since: Monotonic,
    /// How many replicas count for `min-replicas-to-write`; kept by the housekeeping.
    pub good_replicas: usize,
    /// The primary that this node follows.
    pub upstream: Option<Upstream>,
    /// The name of the last attempt to connect to the primary.
    last_ticket: u64,
    /// The connection to the primary that is not to be read for now.
    pub held_input: Option<Handle>,
    /// The data and the stream's end belong together, so that a primary can go on from there.
    pub can_resume: bool,
    /// The database that the stream of the last primary had selected.
    pub resume_database: usize,
    /// A failover to a replica that is under way.
    pub failover: Option<Failover>,
    /// Clients in WAIT.
    pub waits: Vec<Wait>,
    /// When the first of them gives up, or earlier; `None` if none does.
    pub next_wait_deadline: Option<Monotonic>,
    /// The end of the stream after replicas were last asked how far they are.
    pub asked_at: u64,
    /// The mark that ends the snapshot that is being streamed.
    pub mark: [u8; shoal_replication::MARK_BYTES],
    /// When the housekeeping of every second is due, and how often it has been done.
    pub next_cron_at: Monotonic,
    pub cron_count: u64,
    /// The end of the stream at which sizes are looked at again.
    next_check_at: u64,
}

impl Replication {
    /// A stream without a history. `primary` is the directive `replicaof`.
    pub fn new(rng: &mut Rng, now: Monotonic, primary: Option<&(String, u16)>) -> Self {
        Self {
            stream: Stream::new(1),
            id: ReplicationId::random(rng),
            second_id: None,
            has_backlog: false,
            peers: Peers::default(),
            no_replicas_since: now,
            good_replicas: 0,
            upstream: primary.map(|(host, port)| Upstream::new(host, *port, now)),
            last_ticket: NO_TICKET,
            held_input: None,
            can_resume: false,
            resume_database: 0,
            failover: None,
            waits: Vec::new(),
            next_wait_deadline: None,
            asked_at: 0,
            mark: [0; shoal_replication::MARK_BYTES],
            next_cron_at: now,
            cron_count: 0,
            next_check_at: 0,
        }
    }

    /// A name for an attempt to connect.
    fn new_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Where a primary could go on.
    pub fn resume(&self) -> Option<Resume> {
        self.can_resume.then(|| Resume { id: self.id, next_offset: self.stream.end() })
    }

    /// What is known of the stream. Of what is kept, `backlog_bytes` count, and what a slow replica still needs.
    pub fn history(&self, backlog_bytes: u64) -> History {
        let end = self.stream.end();
        let needed = self.peers.oldest_position().unwrap_or(end);
        let first = self.stream.kept_from().max(end.saturating_sub(backlog_bytes).min(needed));
        History { id: self.id, second: self.second_id, first: self.has_backlog.then_some(first), end }
    }

    /// Begins a history of its own, with nothing before it.
    pub fn begin_history(&mut self, rng: &mut Rng) {
        self.id = ReplicationId::random(rng);
        self.second_id = None;
        self.stream.clear();
        self.asked_at = 0;
    }

    /// Goes on under another name; what is there keeps the old one as its second.
    pub fn rename_history(&mut self, id: ReplicationId) {
        self.second_id = Some((self.id, self.stream.end()));
        self.id = id;
    }

    /// Whether the link to the primary is up; true for a primary.
    pub fn is_link_up(&self) -> bool {
        self.upstream.as_ref().is_none_or(|upstream| matches!(upstream.link, Link::Up(_)))
    }
}

impl Node {
    /// Whether this node follows a primary.
    #[inline]
    pub fn is_replica(&self) -> bool {
        self.replication.upstream.is_some()
    }

    /// Whether this is a replica that lets clients write.
    #[inline]
    pub(crate) fn is_writable_replica(&self) -> bool {
        self.is_replica() && !self.config.replica_read_only
    }

    /// Whether effects have to go into the stream.
    #[inline]
    pub(crate) fn replication_is_active(&self) -> bool {
        self.replication.has_backlog && self.replication.upstream.is_none()
    }

    /// The offset of the stream's last byte.
    #[inline]
    pub(crate) fn replication_offset(&self) -> u64 {
        self.replication.stream.end() - 1
    }

    /// Appends bytes to the stream, and wakes the replicas that are fed from it.
    pub(crate) fn feed_stream(&mut self, bytes: &[u8]) {
        self.replication.stream.append(bytes);
        for &handle in self.replication.peers.online() {
            self.clients.mark_pending(handle);
        }
        if self.replication.stream.end() >= self.replication.next_check_at {
            self.trim_stream();
            self.close_replicas_over_hard_limit();
        }
    }

    /// Forgets what is beyond the backlog's size and needed by no replica.
    pub(crate) fn trim_stream(&mut self) {
        let replication = &mut self.replication;
        let end = replication.stream.end();
        replication.next_check_at = end + FEED_CHECK_BYTES;
        let backlog_start = end.saturating_sub(self.config.repl_backlog_size_bytes).max(1);
        let needed = replication.peers.oldest_position().unwrap_or(end);
        replication.stream.trim(backlog_start.min(needed));
    }

    /// The database that the stream's reader is in.
    pub(crate) fn stream_database(&self) -> usize {
        match self.replication.upstream.as_ref().map(|upstream| &upstream.link) {
            None => self.unit.selected_database.unwrap_or(0),
            Some(Link::Up(up)) => self
                .clients
                .session(up.handle)
                .map_or(self.replication.resume_database, |session| session.database),
            Some(_) => self.replication.resume_database,
        }
    }

    /// Whether replication lets this command run: enough replicas, and no writes to a replica.
    pub(crate) fn check_replication(
        &self,
        session: &Session,
        command: &Command,
        writes: bool,
    ) -> Result<(), ErrorReply> {
        if session.kind == ClientKind::Replica
            && (writes || command.flags.contains(Flags::READONLY) || crate::pause::may_write(command))
            && command.id != CommandId::Exec
        {
            return Err(ErrorReply::new("ERR Replica can't interact with the keyspace"));
        }
        if !writes {
            return Ok(());
        }
        if self.is_replica() {
            return if self.config.replica_read_only { Err(errors::READ_ONLY) } else { Ok(()) };
        }
        let wanted = self.config.min_replicas_to_write as usize;
        if self.wants_good_replicas() && self.replication.good_replicas < wanted {
            return Err(errors::NO_REPLICAS);
        }
        Ok(())
    }

    /// Whether writes are refused without enough replicas that keep up.
    pub(crate) fn wants_good_replicas(&self) -> bool {
        self.config.min_replicas_to_write > 0 && self.config.min_replicas_max_lag_seconds > 0
    }

    /// Whether a command may run on data that may be old, because the link to the primary is down.
    pub(crate) fn check_stale(&self, session: &Session, command: &Command) -> Result<(), ErrorReply> {
        if self.config.replica_serve_stale_data || self.replication.is_link_up() {
            return Ok(());
        }
        let is_fine = |command: &Command| command.flags.contains(Flags::STALE);
        let queue_is_fine = command.id != CommandId::Exec
            || session
                .transaction
                .as_ref()
                .is_none_or(|transaction| transaction.queue.iter().all(|(queued, _)| is_fine(queued)));
        if is_fine(command) && queue_is_fine { Ok(()) } else { Err(errors::MASTER_DOWN) }
    }

    /// Counts the replicas that were heard of lately.
    pub(crate) fn count_good_replicas(&mut self, now: Monotonic) {
        let lag_ms = u64::from(self.config.min_replicas_max_lag_seconds).saturating_mul(1000);
        // A lag counts in whole seconds, as users see it.
        let oldest = Monotonic(now.0.saturating_sub(lag_ms.saturating_add(999).saturating_mul(1000)));
        self.replication.good_replicas = self.replication.peers.heard_since(oldest);
    }

    /// Ends the connections of all replicas; they come back and find out what has changed.
    pub(crate) fn disconnect_replicas(&mut self, now: Monotonic) {
        for handle in self.replication.peers.in_stage(|_| true) {
            self.replication.peers.remove(handle);
            self.close(handle, Close::Now);
        }
        self.replication.no_replicas_since = now;
        self.replication.good_replicas = 0;
    }

    /// Writes bytes into the output of a client, which may be the one whose command is running.
    pub(crate) fn write_to(
        &mut self,
        handle: Handle,
        own: &mut Option<(Handle, &mut Session)>,
        bytes: &[u8],
    ) {
        match own {
            Some((own_handle, session)) if *own_handle == handle => session.output.extend(bytes),
            _ => {
                if let Some(session) = self.clients.session_mut(handle) {
                    session.output.extend(bytes);
                    self.clients.mark_pending(handle);
                }
            }
        }
    }
}
