//! This node as a primary: PSYNC and SYNC, and the snapshots that they need.
//!
//! ```text
//! PSYNC ─▶ partial ───────────────────────────────────────────────────────▶ Online
//!      └─▶ AwaitSnapshot ─▶ InSnapshot ─┬ streamed ─▶ AwaitAck ── ACK ─────▶ Online
//!                            (one stage │
//!                             for many) └ by file ──▶ SendFile ────────────▶ Online
//! ```
//!
//! A replica that gets the snapshot on a connection of its own (`REPLCONF rdb-channel 1`) asks for the stream with a
//! second PSYNC on the first one, which makes that `BesideSnapshot`, and `Online` when it acknowledges.
//!
//! A replica's stream begins where its snapshot was begun. Nothing is recorded for it: it has a position, and the
//! stream is not trimmed beyond the oldest one.

use super::info::{name_of, without_port};
use super::peers::{Peer, Stage};
use crate::clients::Handle;
use crate::host::{Host, LogLevel, SnapshotReport, SnapshotTarget};
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::request::SharedBytes;
use shoal_replication::{Choice, Refusal, SnapshotEnd, choose};
use shoal_session::{ClientKind, Close, Session};
use std::sync::Arc;

/// While a replica has this much to send, no more of the snapshot is wanted.
const SNAPSHOT_AHEAD_BYTES: usize = 1024 * 1024;

/// The client whose command is running.
type Own<'a> = Option<(Handle, &'a mut Session)>;

impl Node {
    /// A replica's first request: goes on with the stream, or sees to a snapshot. `asked` is what PSYNC named: history
    /// and offset; nothing for SYNC.
    pub(crate) fn synchronise(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        own: (Handle, &mut Session),
        asked: Option<(&[u8], i64)>,
    ) {
        let (handle, session) = own;
        let name = self.name_of_own(handle, session);
        host.log(LogLevel::Notice, &format!("Replica {name} asks for synchronization"));
        if let Some((id, offset)) = asked {
            if self.synchronise_partially(now, host, (handle, session), &name, id, offset) {
                return;
            }
            if id.first() != Some(&b'?') {
                self.stats.refused_partial_syncs += 1;
            }
            if self.offers_dual_channel(handle) {
                let text = format!(
                    "Replica {name} is capable of dual channel synchronization, and partial sync isn't possible. Full sync \
                     will continue with dedicated RDB channel."
                );
                host.log(LogLevel::Notice, &text);
                session.output.extend(b"+DUALCHANNELSYNC\r\n");
                return;
            }
        }
        self.stats.full_syncs += 1;
        session.kind = ClientKind::Replica;
        let peer = self.replication.peers.entry(handle);
        peer.is_pre_psync = asked.is_none();
        peer.ack_at = now.monotonic;
        self.delay_small_packets(handle);
        self.replication.peers.set_stage(handle, Stage::AwaitSnapshot { since: now.monotonic });
        self.ensure_backlog(host);
        self.find_snapshot(now, host, handle, session);
    }

    fn synchronise_partially(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        own: (Handle, &mut Session),
        name: &str,
        id: &[u8],
        offset: i64,
    ) -> bool {
        let history = self.replication.history(self.config.repl_backlog_size_bytes);
        let start = match choose(&history, id, offset) {
            Choice::Partial(start) => start,
            Choice::Full(refusal) => {
                self.log_refusal(host, refusal, name, id, offset);
                return false;
            }
        };
        let (handle, session) = own;
        session.kind = ClientKind::Replica;
        let peer = self.replication.peers.entry(handle);
        peer.position = start;
        peer.ack_at = now.monotonic;
        let answer = if peer.has_psync2 {
            format!("+CONTINUE {}\r\n", self.replication.id)
        } else {
            "+CONTINUE\r\n".to_owned()
        };
        session.output.extend(answer.as_bytes());
        let channel = peer.snapshot_channel.take();
        let is_beside = channel.is_some_and(|channel| self.replication.peers.take_over(channel));
        let stage = if is_beside { Stage::BesideSnapshot } else { Stage::Online };
        self.replication.peers.set_stage(handle, stage);
        self.delay_small_packets(handle);
        self.stats.partial_syncs += 1;
        let count = history.end - start;
        let text = format!(
            "Partial resynchronization request from {name} accepted. Sending {count} bytes of backlog starting from \
             offset {start}."
        );
        host.log(LogLevel::Notice, &text);
        self.count_good_replicas(now.monotonic);
        true
    }

    /// Whether a replica that needs a snapshot is to ask for it on another connection.
    fn offers_dual_channel(&self, handle: Handle) -> bool {
        let config = &self.config;
        config.dual_channel_replication_enabled
            && config.repl_diskless_sync
            && self.replication.peers.get(handle).is_some_and(|peer| peer.has_dual_channel)
    }

    /// `REPLCONF set-rdb-client-id`: this connection gets the stream after the snapshot on that one. False if there is no
    /// such connection.
    pub(crate) fn link_channels(&mut self, handle: Handle, client_id: u64) -> bool {
        let found = self.replication.peers.in_stage(|peer| peer.is_snapshot_channel);
        let channel = found
            .into_iter()
            .find(|&other| self.clients.session(other).is_some_and(|session| session.id == client_id));
        self.replication.peers.entry(handle).snapshot_channel = channel;
        channel.is_some()
    }

    /// `repl-disable-tcp-nodelay`.
    fn delay_small_packets(&mut self, handle: Handle) {
        if self.config.repl_disable_tcp_nodelay {
            self.actions.push(crate::Action::DelaySmallPackets(handle));
        }
    }

    fn log_refusal(&self, host: &mut dyn Host, refusal: Refusal, name: &str, id: &[u8], offset: i64) {
        let asked_id = String::from_utf8_lossy(id);
        let lack = format!(
            "Unable to partial resync with replica {name} for lack of backlog (Replica request was: {offset})."
        );
        let text = match refusal {
            Refusal::Wanted => format!("Full resync requested by replica {name}"),
            Refusal::OtherHistory => {
                let own = self.replication.id;
                let second =
                    self.replication.second_id.map_or(shoal_replication::ReplicationId::NONE, |(id, _)| id);
                format!(
                    "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{asked_id}', my \
                     replication IDs are '{own}' and '{second}')"
                )
            }
            Refusal::LeftBehind(end) => format!(
                "Partial resynchronization not accepted: Requested offset for second ID was {offset}, but I can reply \
                 up to {end}"
            ),
            Refusal::TooOld | Refusal::Ahead => lack,
        };
        host.log(LogLevel::Notice, &text);
        if refusal == Refusal::Ahead {
            let text = format!(
                "Warning: replica {name} tried to PSYNC with an offset that is greater than the master replication \
                 offset."
            );
            host.log(LogLevel::Warning, &text);
        }
    }

    /// What is written from now on is kept. A history that was not recorded cannot be gone on with.
    fn ensure_backlog(&mut self, host: &mut dyn Host) {
        if self.replication.has_backlog {
            return;
        }
        self.replication.begin_history(&mut self.rng);
        self.replication.has_backlog = true;
        let text = format!(
            "Replication backlog created, my new replication IDs are '{}' and '{}'",
            self.replication.id,
            shoal_replication::ReplicationId::NONE
        );
        host.log(LogLevel::Notice, &text);
    }

    /// Joins the snapshot that is being written, begins one, or leaves that for later.
    fn find_snapshot(&mut self, now: Now, host: &mut dyn Host, handle: Handle, session: &mut Session) {
        let text = match self.snapshot.map(|snapshot| snapshot.target) {
            Some(SnapshotTarget::File) => {
                if let Some(origin) = self.joinable_origin(handle) {
                    let mut own = Some((handle, session));
                    self.enter_snapshot(handle, origin, SnapshotTarget::File, &mut own);
                    "Waiting for end of BGSAVE for SYNC"
                } else {
                    "Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC"
                }
            }
            Some(SnapshotTarget::Stream) => {
                "Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC"
            }
            Some(SnapshotTarget::AofBase | SnapshotTarget::Slots) => {
                "No BGSAVE in progress, but another BG operation is active. BGSAVE for replication delayed"
            }
            None => {
                let has_eof = self.replication.peers.get(handle).is_some_and(|peer| peer.has_eof);
                if self.config.repl_diskless_sync
                    && has_eof
                    && self.config.repl_diskless_sync_delay_seconds > 0
                    && !self.is_enough_for_snapshot()
                {
                    "Delay next BGSAVE for diskless SYNC"
                } else {
                    self.begin_replica_snapshot(now, host, Some((handle, session)));
                    return;
                }
            }
        };
        host.log(LogLevel::Notice, text);
    }

    /// Where the stream of a replica in the running snapshot begins, if `handle` can be served by the same.
    fn joinable_origin(&self, handle: Handle) -> Option<u64> {
        let peers = &self.replication.peers;
        let joining = peers.get(handle)?;
        let (_, other) = peers.replicas().find(|(_, peer)| {
            matches!(peer.stage, Stage::InSnapshot { .. })
                && (!peer.is_snapshot_only || joining.is_snapshot_only)
        })?;
        let is_able = (joining.has_eof || !other.has_eof) && (joining.has_psync2 || !other.has_psync2);
        match other.stage {
            Stage::InSnapshot { origin, .. } if is_able => Some(origin),
            _ => None,
        }
    }

    fn is_enough_for_snapshot(&self) -> bool {
        let wanted = self.config.repl_diskless_sync_max_replicas as usize;
        let waiting =
            self.replication.peers.in_stage(|peer| matches!(peer.stage, Stage::AwaitSnapshot { .. }));
        wanted > 0 && waiting.len() >= wanted
    }

    /// Begins the snapshot that replicas wait for, if it is time.
    pub(super) fn start_due_snapshot(&mut self, now: Now, host: &mut dyn Host) {
        if self.snapshot.is_some() {
            return;
        }
        let waited_ms = |stage: Stage| match stage {
            Stage::AwaitSnapshot { since } => Some(now.monotonic.ms_since(since)),
            _ => None,
        };
        let peers = &self.replication.peers;
        let Some(longest_ms) = peers.replicas().filter_map(|(_, peer)| waited_ms(peer.stage)).max() else {
            return;
        };
        let delay_ms = u64::from(self.config.repl_diskless_sync_delay_seconds) * 1000;
        if !self.config.repl_diskless_sync || self.is_enough_for_snapshot() || longest_ms >= delay_ms {
            self.begin_replica_snapshot(now, host, None);
        }
    }

    /// Begins a snapshot for all replicas that wait for one.
    fn begin_replica_snapshot(&mut self, now: Now, host: &mut dyn Host, mut own: Own<'_>) {
        let waiting =
            self.replication.peers.in_stage(|peer| matches!(peer.stage, Stage::AwaitSnapshot { .. }));
        let all_have_eof =
            waiting.iter().all(|&handle| self.replication.peers.get(handle).is_some_and(|peer| peer.has_eof));
        let target = if self.config.repl_diskless_sync && all_have_eof {
            SnapshotTarget::Stream
        } else {
            SnapshotTarget::File
        };
        let place = if target == SnapshotTarget::Stream { "replicas sockets" } else { "disk" };
        host.log(LogLevel::Notice, &format!("Starting BGSAVE for SYNC with target: {place}"));
        if let Err(reason) = self.begin_snapshot(now, host, target) {
            host.log(LogLevel::Warning, &format!("BGSAVE for replication failed: {reason}"));
            for handle in waiting {
                self.write_to(handle, &mut own, b"-ERR BGSAVE failed, replication can't continue\r\n");
                self.replication.peers.remove(handle);
                match &mut own {
                    Some((own_handle, session)) if *own_handle == handle => session.close = Close::AfterReply,
                    _ => self.close(handle, Close::AfterReply),
                }
            }
            return;
        }
        self.persistence.is_file_for_replicas |= target == SnapshotTarget::File;
        self.replication.mark = self.rng.hex_id();
        let origin = self.replication_offset();
        for handle in waiting {
            self.enter_snapshot(handle, origin, target, &mut own);
            if let Some(peer) = self.replication.peers.get_mut(handle) {
                peer.progress_at = now.monotonic;
            }
        }
    }

    /// Tells a replica where its stream will begin. From there on the stream has to say its database again.
    fn enter_snapshot(&mut self, handle: Handle, origin: u64, target: SnapshotTarget, own: &mut Own<'_>) {
        self.unit.selected_database = None;
        let id = self.replication.id;
        let database = self.stream_database() as u64;
        let client_id = match own {
            Some((own_handle, session)) if *own_handle == handle => session.id,
            _ => self.clients.session(handle).map_or(0, |session| session.id),
        };
        let Some(peer) = self.replication.peers.get_mut(handle) else { return };
        peer.position = origin + 1;
        let mut bytes = Vec::new();
        if peer.is_snapshot_channel {
            let end = SnapshotEnd { id, offset: origin, database, client_id };
            bytes.extend_from_slice(end.encode().as_bytes());
        } else if !peer.is_pre_psync {
            bytes.extend_from_slice(format!("+FULLRESYNC {id} {origin}\r\n").as_bytes());
        }
        self.replication.peers.set_stage(handle, Stage::InSnapshot { origin, target });
        if target == SnapshotTarget::Stream {
            bytes.extend_from_slice(b"$EOF:");
            bytes.extend_from_slice(&self.replication.mark);
            bytes.extend_from_slice(b"\r\n");
        }
        self.write_to(handle, own, &bytes);
    }

    /// Bytes of a snapshot that goes to the replicas that wait for it.
    pub fn snapshot_chunk(&mut self, now: Now, host: &mut dyn Host, bytes: &[u8]) {
        if self.is_writing_slots() {
            self.slots_chunk(now, bytes);
            return;
        }
        let receivers = self.snapshot_receivers();
        if receivers.is_empty() {
            host.log(LogLevel::Warning, "Diskless rdb transfer, last replica dropped, killing fork child.");
            self.cancel_snapshot(host);
            return;
        }
        let shared: SharedBytes = Arc::new(bytes.to_vec());
        for handle in receivers {
            if let Some(session) = self.clients.session_mut(handle) {
                session.output.extend_shared(&shared);
                self.clients.mark_pending(handle);
            }
        }
    }

    /// Whether more bytes of the snapshot are wanted now; false while a replica has too much to send already.
    pub fn wants_snapshot_bytes(&self) -> bool {
        if self.is_writing_slots() {
            return self.wants_slots_bytes();
        }
        self.snapshot_receivers().into_iter().all(|handle| {
            self.clients.session(handle).is_none_or(|session| session.output.len() < SNAPSHOT_AHEAD_BYTES)
        })
    }

    fn is_writing_slots(&self) -> bool {
        self.snapshot.is_some_and(|snapshot| snapshot.target == SnapshotTarget::Slots)
    }

    fn snapshot_receivers(&self) -> Vec<Handle> {
        let is_receiver = |stage| matches!(stage, Stage::InSnapshot { target: SnapshotTarget::Stream, .. });
        self.replication.peers.in_stage(|peer| is_receiver(peer.stage))
    }

    /// What a snapshot that has ended means for the replicas in it.
    pub(crate) fn serve_ended_snapshot(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        target: SnapshotTarget,
        result: &Result<SnapshotReport, String>,
    ) {
        let served = self.replication.peers.in_stage(
            |peer| matches!(peer.stage, Stage::InSnapshot { target: its_target, .. } if its_target == target),
        );
        if target == SnapshotTarget::Stream {
            let text =
                format!("Diskless rdb transfer, done reading from pipe, {} replicas still up.", served.len());
            host.log(LogLevel::Warning, &text);
        }
        for handle in served {
            match (result, target) {
                (Err(_), _) => {
                    host.log(LogLevel::Warning, "SYNC failed. BGSAVE child returned an error");
                    self.close(handle, Close::Now);
                }
                (Ok(_), SnapshotTarget::Stream | SnapshotTarget::AofBase | SnapshotTarget::Slots) => {
                    self.finish_stream(now, host, handle);
                }
                (Ok(report), SnapshotTarget::File) => {
                    let header = format!("${}\r\n", report.size_bytes);
                    self.write_to(handle, &mut None, header.as_bytes());
                    self.replication.peers.set_stage(handle, Stage::SendFile);
                    self.actions.push(crate::Action::SendSnapshotFile(handle));
                }
            }
        }
        self.start_due_snapshot(now, host);
    }

    fn finish_stream(&mut self, now: Now, host: &mut dyn Host, handle: Handle) {
        let mark = self.replication.mark;
        self.write_to(handle, &mut None, &mark);
        let name = self.replica_name(handle);
        let text = format!(
            "Streamed RDB transfer with replica {name} succeeded (socket). Waiting for REPLCONF ACK from replica to \
             enable streaming"
        );
        host.log(LogLevel::Notice, &text);
        self.put_online(now.monotonic, host, handle, Stage::AwaitAck);
    }

    /// The snapshot has gone out.
    fn put_online(&mut self, now: Monotonic, host: &mut dyn Host, handle: Handle, stage: Stage) {
        let name = self.replica_name(handle);
        let Some(peer) = self.replication.peers.get_mut(handle) else { return };
        peer.ack_at = now;
        if peer.is_snapshot_only {
            let text =
                format!("RDB transfer completed, rdb only replica ({name}) should be disconnected asap");
            host.log(LogLevel::Notice, &text);
            let is_channel = peer.is_snapshot_channel;
            self.replication.peers.set_stage(handle, Stage::Served);
            // A replica with two connections ends this one when it has asked for the stream on the other.
            if !is_channel {
                self.close(handle, Close::AfterReply);
            }
            return;
        }
        self.replication.peers.set_stage(handle, stage);
        self.count_good_replicas(now);
        host.log(LogLevel::Notice, &format!("Synchronization with replica {name} succeeded"));
        self.clients.mark_pending(handle);
    }

    /// Bytes of the snapshot file for a replica, after [`crate::Action::SendSnapshotFile`].
    pub fn file_chunk(&mut self, handle: Handle, bytes: &[u8]) {
        self.write_to(handle, &mut None, bytes);
    }

    /// The snapshot file has been given to [`Node::file_chunk`] completely, or could not be read.
    pub fn file_sent(&mut self, now: Now, host: &mut dyn Host, handle: Handle, result: Result<(), String>) {
        if self.replication.peers.get(handle).is_none_or(|peer| peer.stage != Stage::SendFile) {
            return;
        }
        match result {
            Ok(()) => self.put_online(now.monotonic, host, handle, Stage::Online),
            Err(reason) => {
                host.log(LogLevel::Warning, &format!("Read error sending DB to replica: {reason}"));
                self.close(handle, Close::Now);
            }
        }
    }

    /// A replica says how far it is.
    pub(crate) fn acknowledged(
        &mut self,
        now: Now,
        handle: Handle,
        session: &mut Session,
        offset: u64,
        synced_offset: Option<u64>,
    ) {
        let Some(peer) = self.replication.peers.get_mut(handle) else { return };
        peer.ack_offset = peer.ack_offset.max(offset);
        peer.synced_offset = peer.synced_offset.max(synced_offset.unwrap_or(0));
        peer.ack_at = now.monotonic;
        if matches!(peer.stage, Stage::AwaitAck | Stage::BesideSnapshot) {
            self.replication.peers.set_stage(handle, Stage::Online);
            self.clients.mark_running_pending(handle, session);
        }
        self.serve_waits();
    }

    /// Anything that comes from a replica shows that it lives; while it loads it sends empty lines.
    pub(crate) fn heard_from_replica(&mut self, now: Monotonic, handle: Handle) {
        if let Some(peer) = self.replication.peers.get_mut(handle) {
            peer.ack_at = now;
        }
    }

    /// A connection has ended that may have been a replica's.
    pub(crate) fn forget_peer(&mut self, now: Now, host: &mut dyn Host, handle: Handle, session: &Session) {
        self.replication.waits.retain(|wait| wait.handle != handle);
        let Some(peer) = self.replication.peers.remove(handle) else { return };
        if !peer.is_replica() {
            return;
        }
        let address = peer.address.as_deref().unwrap_or_else(|| without_port(&session.identity.address));
        let name = name_of(address, peer.port);
        if peer.is_over_limit {
            let text = format!("Replica {name} is disconnected for overcoming of output buffer limits.");
            host.log(LogLevel::Warning, &text);
        }
        host.log(LogLevel::Notice, &format!("Connection with replica {name} lost."));
        if self.replication.peers.replica_count() == 0 {
            self.replication.no_replicas_since = now.monotonic;
        }
        self.count_good_replicas(now.monotonic);
        self.trim_stream();
        self.cancel_useless_snapshot(host, &peer);
    }

    /// A snapshot that goes to nobody any more is not worth its work.
    fn cancel_useless_snapshot(&mut self, host: &mut dyn Host, left: &Peer) {
        let Stage::InSnapshot { target: SnapshotTarget::File, .. } = left.stage else {
            return self.cancel_useless_stream(host, left);
        };
        let is_writing = self.snapshot.is_some_and(|snapshot| snapshot.target == SnapshotTarget::File);
        let others = self.replication.peers.in_stage(|peer| matches!(peer.stage, Stage::InSnapshot { .. }));
        // With save points the file is wanted for its own sake.
        if is_writing && others.is_empty() && self.config.save.0.is_empty() {
            let text = "Background saving, persistence disabled, last replica dropped, killing fork child.";
            host.log(LogLevel::Notice, text);
            self.cancel_snapshot(host);
        }
    }

    fn cancel_useless_stream(&mut self, host: &mut dyn Host, peer: &Peer) {
        let is_streaming = self.snapshot.is_some_and(|snapshot| snapshot.target == SnapshotTarget::Stream);
        if is_streaming
            && self.snapshot_receivers().is_empty()
            && matches!(peer.stage, Stage::InSnapshot { .. })
        {
            host.log(LogLevel::Warning, "Diskless rdb transfer, last replica dropped, killing fork child.");
            self.cancel_snapshot(host);
        }
    }

    /// How the log names the client whose command is running.
    pub(crate) fn name_of_own(&self, handle: Handle, session: &Session) -> String {
        let peer = self.replication.peers.get(handle);
        let announced = peer.and_then(|peer| peer.address.as_deref());
        let address = announced.unwrap_or_else(|| without_port(&session.identity.address));
        name_of(address, peer.map_or(0, |peer| peer.port))
    }
}
