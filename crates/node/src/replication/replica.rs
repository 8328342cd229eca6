//! This node as a replica: the link to its primary.
//!
//! ```text
//! Waiting ─▶ Connecting ─▶ Handshake ─┬─ +CONTINUE ───────────────▶ Up
//!    ▲                                └─ +FULLRESYNC ─▶ Transfer ─▶ Up
//!    └────────────── broken, timed out, refused ◀──────────┴───────┘
//! ```
//!
//! A link that was up is made again at once, any other with the housekeeping of the next second. While a snapshot
//! arrives the old data stays, and is what clients read; a transfer that breaks changes nothing.

use super::loading::Loading;
use crate::action::Action;
use crate::clients::Handle;
use crate::dispatch::Verdict;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::request::{Limits, RequestReader};
use shoal_protocol::{CommandId, OwnedRequest};
use shoal_replication::{Framing, Handshake, HandshakeSettings, Note, Output, ReplicationId, Transfer};
use shoal_session::{ClientKind, Close, Identity, ReplyMode, Session};

/// The primary that this node follows.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The connection.
    pub link: Link,
    /// When bytes last came, or the current attempt began.
    pub last_io: Monotonic,
    /// Since when the link has been down; `None` if it never was up.
    pub down_since: Option<Monotonic>,
}

/// How far the connection has come.
#[derive(Debug)]
pub(crate) enum Link {
    /// There is none; it will be made soon.
    Waiting,
    /// The shell is making it.
    Connecting,
    /// Greeting, authentication, PSYNC.
    Handshake {
        /// The connection.
        handle: Handle,
        /// What is said.
        machine: Box<Handshake>,
    },
    /// A snapshot is arriving.
    Transfer(Box<Arriving>),
    /// The stream is arriving.
    Up(Box<Up>),
}

/// A snapshot that is arriving.
#[derive(Debug)]
pub(crate) struct Arriving {
    handle: Handle,
    /// The stream after the snapshot: its name, and the offset of the last byte before it.
    origin: Option<(ReplicationId, u64)>,
    transfer: Transfer,
    loading: Loading,
    /// The size, if it is known.
    pub total_bytes: Option<u64>,
    /// What has arrived.
    pub read_bytes: u64,
}

/// The stream that is arriving.
#[derive(Debug)]
pub(crate) struct Up {
    /// The connection.
    pub handle: Handle,
    reader: RequestReader,
    /// Bytes that have arrived and not been applied yet.
    unapplied: Vec<u8>,
    /// A pause holds the stream: its next command waits.
    is_held: bool,
    /// The primary knows no offsets.
    is_pre_psync: bool,
}

impl Up {
    fn new(handle: Handle, is_pre_psync: bool) -> Self {
        Self { handle, reader: RequestReader::new(), unapplied: Vec::new(), is_held: false, is_pre_psync }
    }

    /// How many bytes have arrived and not been applied yet.
    pub fn unapplied_bytes(&self) -> u64 {
        self.unapplied.len() as u64
    }
}

impl Upstream {
    /// A primary that nobody has connected to yet.
    pub fn new(host: &str, port: u16, now: Monotonic) -> Self {
        Self { host: host.to_owned(), port, link: Link::Waiting, last_io: now, down_since: None }
    }

    /// The connection, if there is one.
    pub fn handle(&self) -> Option<Handle> {
        match &self.link {
            Link::Waiting | Link::Connecting => None,
            Link::Handshake { handle, .. } => Some(*handle),
            Link::Transfer(arriving) => Some(arriving.handle),
            Link::Up(up) => Some(up.handle),
        }
    }

    /// The word that ROLE shows.
    pub fn state(&self) -> &'static str {
        match &self.link {
            Link::Waiting => "connect",
            Link::Connecting => "connecting",
            Link::Handshake { .. } => "handshake",
            Link::Transfer(_) => "sync",
            Link::Up(_) => "connected",
        }
    }
}

impl Node {
    /// The connection that [`crate::Action::ConnectPrimary`] asked for is there. Its input goes to
    /// [`Node::primary_input`]; its output is that of the session.
    pub fn primary_connected(&mut self, now: Now, host: &mut dyn Host, identity: Identity) -> Handle {
        let mut session = Session::new(self.next_client_id, identity, now);
        self.next_client_id += 1;
        session.kind = ClientKind::Primary;
        session.is_authenticated = true;
        session.reply_mode = ReplyMode::Off;
        let handle = self.clients.insert(session);
        let settings = self.handshake_settings();
        let is_awaited =
            self.replication.upstream.as_mut().filter(|upstream| matches!(upstream.link, Link::Connecting));
        let Some(upstream) = is_awaited else {
            self.close(handle, Close::Now);
            return handle;
        };
        let mut outputs = Vec::new();
        let machine = Box::new(Handshake::new(settings, &mut outputs));
        upstream.link = Link::Handshake { handle, machine };
        upstream.last_io = now.monotonic;
        host.log(LogLevel::Notice, "Non blocking connect for SYNC fired the event.");
        self.carry_out(now, host, handle, outputs);
        handle
    }

    fn handshake_settings(&self) -> HandshakeSettings {
        let config = &self.config;
        let own_port =
            if config.tls_replication && config.tls_port != 0 { config.tls_port } else { config.port };
        HandshakeSettings {
            user: config.primary_user.clone(),
            password: config.primary_auth.clone(),
            listening_port: if config.replica_announce_port != 0 {
                config.replica_announce_port
            } else {
                own_port
            },
            announced_address: config.replica_announce_ip.clone(),
            resume: self.replication.resume(),
            is_failover: self.is_failover_in_progress(),
        }
    }

    /// The connection that [`crate::Action::ConnectPrimary`] asked for cannot be made; `reason` is the system's text.
    pub fn primary_unreachable(&mut self, _now: Now, host: &mut dyn Host, reason: &str) {
        if let Some(upstream) = &mut self.replication.upstream
            && matches!(upstream.link, Link::Connecting)
        {
            upstream.link = Link::Waiting;
            host.log(LogLevel::Warning, &format!("Error condition on socket for SYNC: {reason}"));
        }
    }

    /// Bytes from the primary: handshake, snapshot, then the stream.
    pub fn primary_input(&mut self, now: Now, host: &mut dyn Host, bytes: &[u8]) {
        self.stats.replication_input_bytes += bytes.len() as u64;
        let Some(upstream) = &mut self.replication.upstream else { return };
        upstream.last_io = now.monotonic;
        if let Some(session) = upstream.handle().and_then(|handle| self.clients.session_mut(handle)) {
            session.last_input_at = now.monotonic;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(upstream) = &mut self.replication.upstream else { return };
            let consumed = match &mut upstream.link {
                Link::Waiting | Link::Connecting => return,
                Link::Handshake { handle, machine } => {
                    let mut outputs = Vec::new();
                    let (handle, consumed) = (*handle, machine.receive(rest, &mut outputs));
                    self.carry_out(now, host, handle, outputs);
                    consumed
                }
                Link::Transfer(_) => self.receive_snapshot(now, host, rest),
                Link::Up(_) => {
                    self.apply(now, host, rest);
                    rest.len()
                }
            };
            rest = rest.get(consumed..).unwrap_or_default();
        }
    }

    /// Does what the handshake wants.
    fn carry_out(&mut self, now: Now, host: &mut dyn Host, handle: Handle, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(bytes) => self.write_to(handle, &mut None, &bytes),
                Output::Log(Note::Notice, text) => host.log(LogLevel::Notice, &text),
                Output::Log(Note::Warning, text) => host.log(LogLevel::Warning, &text),
                Output::Continue(id) => self.go_on(now, host, handle, id),
                Output::Snapshot { origin, framing } => {
                    self.finish_failover();
                    let arriving = Arriving {
                        handle,
                        origin,
                        transfer: Transfer::new(framing),
                        loading: Loading::new(now, &self.keyspace, self.build_options(), self.options.lfu),
                        total_bytes: match framing {
                            Framing::Length(length) => Some(length),
                            Framing::Mark(_) => None,
                        },
                        read_bytes: 0,
                    };
                    if let Some(upstream) = &mut self.replication.upstream {
                        upstream.link = Link::Transfer(Box::new(arriving));
                    }
                    if framing == Framing::Length(0) {
                        self.receive_snapshot(now, host, &[]);
                    }
                }
                Output::Failed(_) => {
                    self.drop_link(now, host);
                    if self.is_failover_in_progress() {
                        self.abort_failover(now, host, "Failover target rejected psync request");
                    }
                }
            }
        }
    }

    /// The primary goes on with the stream where it ended here.
    fn go_on(&mut self, now: Now, host: &mut dyn Host, handle: Handle, id: Option<ReplicationId>) {
        self.finish_failover();
        if let Some(id) = id.filter(|&id| id != self.replication.id) {
            host.log(LogLevel::Warning, &format!("Master replication ID changed to {id}"));
            self.replication.rename_history(id);
            // Sub-replicas have to learn the new name.
            self.disconnect_replicas(now.monotonic);
        }
        self.replication.has_backlog = true;
        if let Some(session) = self.clients.session_mut(handle) {
            session.database = self.replication.resume_database;
        }
        self.link_is_up(handle, false);
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
    }

    fn link_is_up(&mut self, handle: Handle, is_pre_psync: bool) {
        self.replication.can_resume = !is_pre_psync;
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.link = Link::Up(Box::new(Up::new(handle, is_pre_psync)));
        }
    }

    /// Takes bytes of the snapshot. Returns how many belonged to it.
    fn receive_snapshot(&mut self, now: Now, host: &mut dyn Host, bytes: &[u8]) -> usize {
        let Some(upstream) = &mut self.replication.upstream else { return bytes.len() };
        let Link::Transfer(arriving) = &mut upstream.link else { return bytes.len() };
        let Arriving { transfer, loading, read_bytes, .. } = &mut **arriving;
        let mut outcome = Ok(());
        let received = transfer.receive(bytes, &mut |payload| {
            *read_bytes += payload.len() as u64;
            if outcome.is_ok() {
                outcome = loading.feed(payload);
            }
        });
        if let Err(reason) = outcome {
            host.log(
                LogLevel::Warning,
                &format!("Failed trying to load the MASTER synchronization DB from socket: {reason}"),
            );
            self.drop_link(now, host);
            return bytes.len();
        }
        if received.is_complete {
            self.finish_transfer(now, host);
        }
        received.consumed
    }

    /// The snapshot is complete: it takes the place of the old data.
    fn finish_transfer(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &mut self.replication.upstream else { return };
        let Link::Transfer(arriving) = std::mem::replace(&mut upstream.link, Link::Waiting) else { return };
        let Arriving { handle, origin, loading, transfer, .. } = *arriving;
        let loaded = match loading.finish() {
            Ok(loaded) => loaded,
            Err(reason) => {
                host.log(
                    LogLevel::Warning,
                    &format!("Failed trying to load the MASTER synchronization DB from socket: {reason}"),
                );
                self.forget_link(handle);
                return;
            }
        };
        if self.snapshot.is_some() {
            host.log(
                LogLevel::Notice,
                "Replica is about to load the RDB file received from the master, but there is a pending RDB child \
                 running.",
            );
            self.cancel_snapshot(host);
        }
        self.disconnect_replicas(now.monotonic);
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Flushing old data");
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Loading DB in memory");
        self.replace_keyspace(host, loaded.keyspace);
        self.keep_beside_keys(host, &loaded.file, false);
        let (id, offset) = origin.unwrap_or_else(|| (ReplicationId::random(&mut self.rng), 0));
        self.replication.id = id;
        self.replication.second_id = None;
        self.replication.stream.restart(offset + 1);
        self.replication.has_backlog = true;
        if let Some(session) = self.clients.session_mut(handle) {
            session.database = loaded.stream_database.min(self.keyspace.database_count() - 1);
        }
        self.link_is_up(handle, origin.is_none());
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Finished with success");
        self.restart_aof(now, host);
        // A primary that streamed the snapshot sends nothing more until it knows that all has arrived.
        if matches!(transfer, Transfer::Mark { .. }) {
            self.send_ack();
        }
    }

    /// Puts other data in the place of what is there; the old is freed elsewhere.
    fn replace_keyspace(&mut self, host: &mut dyn Host, keyspace: shoal_store::Keyspace) {
        self.own_keys.clear();
        self.blocking.note_all();
        let mut old = std::mem::replace(&mut self.keyspace, keyspace);
        self.keyspace.frozen_pages = old.frozen_pages;
        self.keyspace.forbids_shrinking = old.forbids_shrinking;
        for database in 0..self.keyspace.database_count() {
            let exists = |key: &[u8]| {
                old.database(database).find(key).is_some()
                    || self.keyspace.database(database).find(key).is_some()
            };
            let keys = self.watchers.keys_of_database(database);
            let touched: Vec<Handle> =
                keys.filter(|(key, _)| exists(key)).flat_map(|(_, watchers)| watchers.to_vec()).collect();
            for handle in touched {
                if let Some(session) = self.clients.session_mut(handle) {
                    session.is_watch_broken = true;
                }
            }
        }
        old.clear_all();
        host.free(old.take_garbage());
        self.changes_since_save += 1;
    }

    /// Whether a pause has held the stream, and there is none any more.
    pub(crate) fn can_go_on_applying(&self) -> bool {
        let link = self.replication.upstream.as_ref().map(|upstream| &upstream.link);
        matches!(link, Some(Link::Up(up)) if up.is_held) && self.pauses.kind().is_none()
    }

    /// Goes on with a stream that a pause has held.
    pub(crate) fn go_on_applying(&mut self, now: Now, host: &mut dyn Host) {
        if self.can_go_on_applying() {
            self.apply(now, host, &[]);
        }
    }

    /// Carries out the stream's commands, and passes their bytes on. What comes during a pause waits in the reader.
    fn apply(&mut self, now: Now, host: &mut dyn Host, bytes: &[u8]) {
        let Some(Link::Up(up)) = self.replication.upstream.as_mut().map(|upstream| &mut upstream.link) else {
            return;
        };
        let handle = up.handle;
        let mut reader = std::mem::take(&mut up.reader);
        up.unapplied.extend_from_slice(bytes);
        reader.feed(bytes);
        let limits = Limits {
            max_bulk_bytes: i64::try_from(self.config.proto_max_bulk_len_bytes).unwrap_or(i64::MAX),
            max_buffer_bytes: usize::MAX,
            authenticated: true,
        };
        // Bytes at the end of `unapplied` that belong to a request or a transaction that is not complete.
        let mut incomplete = None;
        let mut is_held = false;
        let outcome = loop {
            let request = match reader.next(&limits) {
                Ok(Some(request)) => request,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let asks_for_ack = is_getack(&request);
            if self.execute(now, host, handle, request) == Verdict::Postponed {
                reader.put_back();
                is_held = true;
                break Ok(());
            }
            reader.release();
            if self.clients.session(handle).is_some_and(|session| session.transaction.is_none()) {
                incomplete = Some(reader.buffered_bytes());
            }
            if asks_for_ack {
                self.pass_on(handle, incomplete.take());
                self.send_ack();
            }
        };
        // Empty lines count as applied, too.
        if reader.buffered_bytes() == 0
            && self.clients.session(handle).is_some_and(|session| session.transaction.is_none())
        {
            incomplete = Some(0);
        }
        self.pass_on(handle, incomplete);
        if let Err(error) = outcome {
            host.log(LogLevel::Warning, &format!("Protocol error from master: {error}"));
            self.replication.can_resume = false;
            self.drop_link(now, host);
        } else if let Some(Link::Up(up)) =
            self.replication.upstream.as_mut().map(|upstream| &mut upstream.link)
            && up.handle == handle
        {
            up.is_held = is_held;
            up.reader = reader;
        }
    }

    /// Passes on what has been applied: all that has arrived but the last `incomplete` bytes.
    fn pass_on(&mut self, handle: Handle, incomplete: Option<usize>) {
        let Some(incomplete) = incomplete else { return };
        let Some(Link::Up(up)) = self.replication.upstream.as_mut().map(|upstream| &mut upstream.link) else {
            return;
        };
        if up.handle != handle {
            return;
        }
        let rest = up.unapplied.split_off(up.unapplied.len().saturating_sub(incomplete));
        let applied = std::mem::replace(&mut up.unapplied, rest);
        if !applied.is_empty() {
            self.feed_stream(&applied);
        }
    }

    /// Tells the primary how far this node is.
    pub(super) fn send_ack(&mut self) {
        let Some(Link::Up(up)) = self.replication.upstream.as_ref().map(|upstream| &upstream.link) else {
            return;
        };
        if up.is_pre_psync {
            return;
        }
        let handle = up.handle;
        let offset = self.replication_offset().to_string();
        let mut bytes = Vec::new();
        let mut words = vec!["REPLCONF", "ACK", &offset];
        let synced = self.aof.synced_offset.to_string();
        if self.config.appendonly {
            words.extend(["FACK", &synced]);
        }
        crate::propagation::encode(&OwnedRequest::new(words).as_request(), &mut bytes);
        self.write_to(handle, &mut None, &bytes);
    }

    /// Asks for the connection.
    pub(super) fn connect_to_primary(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &mut self.replication.upstream else { return };
        upstream.link = Link::Connecting;
        upstream.last_io = now.monotonic;
        self.actions.push(Action::ConnectPrimary { host: upstream.host.clone(), port: upstream.port });
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync started");
    }

    /// Asks for the connection if there is none.
    pub(super) fn connect_if_due(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &self.replication.upstream else { return };
        if matches!(upstream.link, Link::Waiting) {
            host.log(LogLevel::Notice, &format!("Connecting to MASTER {}:{}", upstream.host, upstream.port));
            self.connect_to_primary(now, host);
        }
    }

    /// Asks for a new connection at once, so that the primary still has what is missing here.
    pub(super) fn reconnect(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &self.replication.upstream else { return };
        host.log(LogLevel::Notice, &format!("Reconnecting to MASTER {}:{}", upstream.host, upstream.port));
        self.connect_to_primary(now, host);
    }

    /// Gives up the connection, by this node's will.
    pub(super) fn drop_link(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &mut self.replication.upstream else { return };
        let link = std::mem::replace(&mut upstream.link, Link::Waiting);
        let handle = match link {
            Link::Waiting => return,
            Link::Connecting => None,
            Link::Handshake { handle, .. } => Some(handle),
            Link::Transfer(arriving) => Some(arriving.handle),
            Link::Up(up) => {
                self.note_lost_link(now, host, &up);
                Some(up.handle)
            }
        };
        match handle {
            Some(handle) => self.forget_link(handle),
            None => self.actions.push(Action::DisconnectPrimary),
        }
    }

    fn forget_link(&mut self, handle: Handle) {
        self.clients.remove(handle);
        self.actions.push(Action::DisconnectPrimary);
    }

    /// A link that was up has ended: what is needed to go on later is kept.
    fn note_lost_link(&mut self, now: Now, host: &mut dyn Host, up: &Up) {
        host.log(LogLevel::Warning, "Connection with master lost.");
        if self.replication.can_resume {
            host.log(LogLevel::Notice, "Caching the disconnected master state.");
        }
        if let Some(session) = self.clients.session(up.handle) {
            self.replication.resume_database = session.database;
        }
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.down_since = Some(now.monotonic);
        }
    }

    /// The connection to the primary has ended, by the primary's will. True if it was that.
    pub(crate) fn primary_disconnected(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        session: &Session,
    ) -> bool {
        let Some(upstream) = &mut self.replication.upstream else { return false };
        if upstream.handle() != Some(handle) {
            return false;
        }
        match std::mem::replace(&mut upstream.link, Link::Waiting) {
            Link::Up(up) => {
                self.replication.resume_database = session.database;
                self.note_lost_link(now, host, &up);
                self.reconnect(now, host);
            }
            Link::Transfer(_) => {
                host.log(LogLevel::Warning, "I/O error trying to sync with MASTER: connection lost");
            }
            Link::Handshake { .. } | Link::Connecting | Link::Waiting => {
                host.log(LogLevel::Warning, "Failed to read response from the server: connection lost");
                host.log(LogLevel::Warning, "Master did not respond to command during SYNC handshake");
            }
        }
        true
    }
}

/// `REPLCONF GETACK *`, which wants an answer.
fn is_getack(request: &shoal_protocol::Request<'_>) -> bool {
    request.argument(0).eq_ignore_ascii_case(CommandId::Replconf.row().name.as_bytes())
        && request.argument(1).eq_ignore_ascii_case(b"getack")
}
