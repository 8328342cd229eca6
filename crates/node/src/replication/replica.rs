//! This node as a replica: the link to its primary.
//!
//! ```text
//! Waiting ─▶ Connecting ─▶ Handshake ─┬─ +CONTINUE ───────────────▶ Up
//!    ▲                                ├─ +FULLRESYNC ─▶ Transfer ─▶ Up
//!    │                                └─ +DUALCHANNELSYNC ─▶ Dual ─▶ Up
//!    └────────────── broken, timed out, refused ◀──────────┴───────┘
//! ```
//!
//! A link that was up is made again at once, any other with the housekeeping of the next second. What becomes of the old
//! data while a snapshot arrives is told in `arriving.rs`, and how it arrives on a connection of its own in `dual.rs`.

use super::arriving::{Arrival, Arriving, Choice, LoadKind};
use super::dual::Dual;
use crate::action::Action;
use crate::clients::Handle;
use crate::dispatch::Verdict;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_protocol::request::{Limits, RequestReader};
use shoal_protocol::{CommandId, OwnedRequest};
use shoal_replication::{Framing, Handshake, HandshakeSettings, Note, Output, Received, ReplicationId};
use shoal_session::{ClientKind, Identity, ReplyMode, Session};
use std::collections::VecDeque;

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
    /// The primary offered a connection of its own for the snapshot and then did not serve it; it is not asked again.
    pub refuses_dual_channel: bool,
}

/// How far the connection has come.
#[derive(Debug)]
pub(crate) enum Link {
    /// There is none; it will be made soon.
    Waiting,
    /// The shell is making it.
    Connecting {
        /// The attempt.
        ticket: u64,
    },
    /// Greeting, authentication, PSYNC.
    Handshake {
        /// The connection.
        handle: Handle,
        /// What is said.
        machine: Box<Handshake>,
    },
    /// A snapshot is arriving.
    Transfer(Box<Single>),
    /// A snapshot is arriving on a connection of its own.
    Dual(Box<Dual>),
    /// The stream is arriving.
    Up(Box<Up>),
}

/// A snapshot that is arriving, with the stream to follow on the same connection.
#[derive(Debug)]
pub(crate) struct Single {
    handle: Handle,
    /// The snapshot.
    pub arriving: Arriving,
    /// The beginning of the stream, which came with the end of the snapshot; no more is read until that is loaded.
    early: Vec<u8>,
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
    /// When a client closed the connection, by CLIENT KILL; its end may be noticed later.
    cut_at: Option<Monotonic>,
    /// The primary knows no offsets.
    is_pre_psync: bool,
    /// The beginning of the stream, which came while the snapshot was being loaded.
    kept: VecDeque<Vec<u8>>,
}

impl Up {
    fn new(handle: Handle, is_pre_psync: bool) -> Self {
        Self {
            handle,
            reader: RequestReader::new(),
            unapplied: Vec::new(),
            is_held: false,
            cut_at: None,
            is_pre_psync,
            kept: VecDeque::new(),
        }
    }

    /// How many bytes have arrived and not been applied yet.
    pub fn unapplied_bytes(&self) -> u64 {
        self.unapplied.len() as u64 + self.kept.iter().map(|block| block.len() as u64).sum::<u64>()
    }
}

impl Upstream {
    /// A primary that nobody has connected to yet.
    pub fn new(host: &str, port: u16, now: Monotonic) -> Self {
        Self {
            host: host.to_owned(),
            port,
            link: Link::Waiting,
            last_io: now,
            down_since: None,
            refuses_dual_channel: false,
        }
    }

    /// The connection, if there is one; not that of a snapshot alone.
    pub fn handle(&self) -> Option<Handle> {
        match &self.link {
            Link::Waiting | Link::Connecting { .. } => None,
            Link::Handshake { handle, .. } => Some(*handle),
            Link::Transfer(single) => Some(single.handle),
            Link::Dual(dual) => Some(dual.main()),
            Link::Up(up) => Some(up.handle),
        }
    }

    /// The snapshot that is arriving.
    pub fn arriving(&self) -> Option<&Arriving> {
        match &self.link {
            Link::Transfer(single) => Some(&single.arriving),
            Link::Dual(dual) => dual.arriving(),
            _ => None,
        }
    }

    /// The snapshot that is arriving.
    pub fn arriving_mut(&mut self) -> Option<&mut Arriving> {
        match &mut self.link {
            Link::Transfer(single) => Some(&mut single.arriving),
            Link::Dual(dual) => dual.arriving_mut(),
            _ => None,
        }
    }

    /// Whether a full synchronisation is under way.
    pub fn is_synchronising(&self) -> bool {
        matches!(self.link, Link::Transfer(_) | Link::Dual(_))
    }

    /// The word that ROLE shows.
    pub fn state(&self) -> &'static str {
        match &self.link {
            Link::Waiting => "connect",
            Link::Connecting { .. } => "connecting",
            Link::Handshake { .. } => "handshake",
            Link::Transfer(_) | Link::Dual(_) => "sync",
            Link::Up(_) => "connected",
        }
    }
}

impl Node {
    /// A session for a connection to the primary.
    pub(super) fn insert_primary(&mut self, now: Now, identity: Identity) -> Handle {
        let mut session = Session::new(self.next_client_id, identity, now);
        self.next_client_id += 1;
        session.kind = ClientKind::Primary;
        session.is_authenticated = true;
        session.reply_mode = ReplyMode::Off;
        self.clients.insert(session)
    }

    pub(super) fn handshake_settings(&self) -> HandshakeSettings {
        let config = &self.config;
        let refuses_dual_channel =
            self.replication.upstream.as_ref().is_some_and(|upstream| upstream.refuses_dual_channel);
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
            has_dual_channel: config.dual_channel_replication_enabled && !refuses_dual_channel,
        }
    }

    /// Bytes from the primary on one of the connections to it: handshake, snapshot, then the stream.
    pub fn primary_input(&mut self, now: Now, host: &mut dyn Host, handle: Handle, bytes: &[u8]) {
        self.stats.replication_input_bytes += bytes.len() as u64;
        if let Some(session) = self.clients.session_mut(handle) {
            session.last_input_at = now.monotonic;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(upstream) = &mut self.replication.upstream else { return };
            let is_main = upstream.handle() == Some(handle);
            if is_main {
                upstream.last_io = now.monotonic;
            }
            let consumed = match &mut upstream.link {
                Link::Dual(_) => self.dual_input(now, host, handle, rest),
                _ if !is_main => return,
                Link::Waiting | Link::Connecting { .. } => return,
                Link::Handshake { machine, .. } => {
                    let mut outputs = Vec::new();
                    let consumed = machine.receive(rest, &mut outputs);
                    self.carry_out(now, host, handle, outputs);
                    consumed
                }
                Link::Transfer(single) if single.arriving.has_arrived() => {
                    single.early.extend_from_slice(rest);
                    rest.len()
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

    /// Whether more input of a connection to the primary is to be read; when it is again, there is a
    /// [`Action::Resume`].
    pub fn wants_primary_input(&self, handle: Handle) -> bool {
        self.replication.held_input != Some(handle)
    }

    /// No more is read from a connection to the primary, or it is again.
    pub(super) fn hold_primary(&mut self, handle: Handle, is_held: bool) {
        let held = is_held.then_some(handle);
        if std::mem::replace(&mut self.replication.held_input, held) == Some(handle) && !is_held {
            self.actions.push(Action::Resume(handle));
        }
    }

    /// What clients notice of a snapshot that is being loaded.
    #[inline]
    pub(crate) fn load_kind(&self) -> LoadKind {
        let upstream = self.replication.upstream.as_ref();
        upstream.and_then(Upstream::arriving).map_or(LoadKind::Hidden, Arriving::kind)
    }

    /// Whether [`Node::load_snapshot_piece`] has something to do.
    pub fn has_snapshot_to_load(&self) -> bool {
        let Some(upstream) = &self.replication.upstream else { return false };
        match &upstream.link {
            Link::Up(up) => !up.kept.is_empty() && !up.is_held,
            _ => upstream.arriving().is_some_and(Arriving::has_arrived),
        }
    }

    /// Does what the handshake wants.
    pub(super) fn carry_out(&mut self, now: Now, host: &mut dyn Host, handle: Handle, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(bytes) => self.write_to(handle, &mut None, &bytes),
                Output::Log(Note::Notice, text) => host.log(LogLevel::Notice, &text),
                Output::Log(Note::Warning, text) => host.log(LogLevel::Warning, &text),
                Output::Continue(id) => self.go_on(now, host, handle, id),
                Output::Snapshot { origin, framing } => {
                    self.finish_failover();
                    self.begin_transfer(now, host, handle, origin, framing);
                }
                Output::DualChannel => {
                    self.finish_failover();
                    self.begin_dual(now, host, handle);
                }
                // It comes on the snapshot's connection only.
                Output::SnapshotEnd(_) => {}
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

    pub(super) fn link_is_up(&mut self, handle: Handle, is_pre_psync: bool) {
        self.replication.can_resume = !is_pre_psync;
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.link = Link::Up(Box::new(Up::new(handle, is_pre_psync)));
        }
    }

    fn begin_transfer(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        origin: Option<(ReplicationId, u64)>,
        framing: Framing,
    ) {
        match self.begin_arriving(now, host, origin, framing) {
            Ok(arriving) => {
                let single = Single { handle, arriving, early: Vec::new() };
                if let Some(upstream) = &mut self.replication.upstream {
                    upstream.link = Link::Transfer(Box::new(single));
                }
                self.report_at_once(now, host);
                if framing == Framing::Length(0) {
                    self.receive_snapshot(now, host, &[]);
                }
            }
            Err(reason) => self.fail_transfer(now, host, &reason),
        }
    }

    /// A snapshot begins, in the way that the configuration asks for.
    pub(super) fn begin_arriving(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        origin: Option<(ReplicationId, u64)>,
        framing: Framing,
    ) -> Result<Arriving, String> {
        let choice = Choice {
            framing,
            origin,
            own_id: self.replication.id,
            mode: self.config.repl_diskless_load,
            keyspace: &self.keyspace,
            build: self.build_options(),
            is_lfu: self.options.lfu,
            key_delay_us: self.config.key_load_delay_us,
        };
        let arriving = Arriving::begin(now, host, choice)?;
        if arriving.kind() != LoadKind::Hidden {
            if self.config.repl_diskless_load != shoal_config::DisklessLoad::SwapDatabase {
                self.leave_history(now);
            }
            host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Loading DB in memory");
        }
        Ok(arriving)
    }

    /// The data that are about to come belong to another history: nobody can go on with this one.
    fn leave_history(&mut self, now: Now) {
        self.disconnect_replicas(now.monotonic);
        self.replication.can_resume = false;
        self.replication.has_backlog = false;
    }

    pub(super) fn fail_transfer(&mut self, now: Now, host: &mut dyn Host, reason: &str) {
        host.log(LogLevel::Warning, reason);
        self.drop_link(now, host);
    }

    /// Takes bytes of the snapshot. Returns how many belonged to it.
    fn receive_snapshot(&mut self, now: Now, host: &mut dyn Host, bytes: &[u8]) -> usize {
        let Some(upstream) = &mut self.replication.upstream else { return bytes.len() };
        let Link::Transfer(single) = &mut upstream.link else { return bytes.len() };
        let received = single.arriving.receive(host, bytes);
        self.received(now, host, received).unwrap_or(bytes.len())
    }

    /// Bytes of a snapshot were taken, or spoilt it. Returns how many belonged to it, if it goes on.
    pub(super) fn received(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        received: Result<(Received, Arrival), String>,
    ) -> Option<usize> {
        match received {
            Err(reason) => {
                self.fail_transfer(now, host, &reason);
                None
            }
            Ok((received, arrival)) => {
                self.arrived(now, host, arrival);
                Some(received.consumed)
            }
        }
    }

    /// Goes on when a snapshot has arrived, or is loaded.
    pub(super) fn arrived(&mut self, now: Now, host: &mut dyn Host, arrival: Arrival) {
        match arrival {
            Arrival::Incomplete => {}
            Arrival::InFile => self.begin_file_load(now, host),
            Arrival::Loaded => self.finish_transfer(now, host),
        }
    }

    /// The snapshot is in a file: the old data make room for it.
    fn begin_file_load(&mut self, now: Now, host: &mut dyn Host) {
        self.cancel_snapshot_for_load(host);
        let (build, is_lfu) = (self.build_options(), self.options.lfu);
        let Some(upstream) = &mut self.replication.upstream else { return };
        let main = upstream.handle();
        let is_single = matches!(upstream.link, Link::Transfer(_));
        let Some(arriving) = upstream.arriving_mut() else { return };
        if let Err(reason) = arriving.begin_file(now, host, &self.keyspace, build, is_lfu) {
            return self.fail_transfer(now, host, &reason);
        }
        self.leave_history(now);
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Flushing old data");
        let empty = self.keyspace.empty_like();
        self.replace_keyspace(host, empty);
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Loading DB in memory");
        if let Some(main) = main.filter(|_| is_single) {
            self.hold_primary(main, true);
        }
    }

    /// The stream that was kept while the snapshot was loaded is applied piece by piece, by
    /// [`Node::load_snapshot_piece`].
    pub(super) fn keep_for_later(&mut self, handle: Handle, blocks: VecDeque<Vec<u8>>) {
        let is_held = !blocks.is_empty();
        if let Some(Link::Up(up)) = self.replication.upstream.as_mut().map(|upstream| &mut upstream.link) {
            up.kept = blocks;
        }
        self.hold_primary(handle, is_held);
    }

    /// Applies the next piece of the stream that was kept.
    fn apply_kept(&mut self, now: Now, host: &mut dyn Host) -> bool {
        let Some(Link::Up(up)) = self.replication.upstream.as_mut().map(|upstream| &mut upstream.link) else {
            return false;
        };
        let handle = up.handle;
        let Some(block) = up.kept.pop_front() else { return true };
        let is_last = up.kept.is_empty();
        self.apply(now, host, &block);
        if is_last {
            self.hold_primary(handle, false);
            self.send_ack();
        }
        true
    }

    /// Goes on with loading: the next piece of a snapshot that has arrived in a file, or of the stream that was kept
    /// meanwhile.
    pub fn load_snapshot_piece(&mut self, now: Now, host: &mut dyn Host) {
        if self.apply_kept(now, host) {
            return;
        }
        let upstream = self.replication.upstream.as_mut();
        let Some(arriving) = upstream.and_then(Upstream::arriving_mut) else { return };
        match arriving.load_piece(host) {
            Ok(arrival) => self.arrived(now, host, arrival),
            Err(reason) => self.fail_transfer(now, host, &reason),
        }
    }

    /// The snapshot is loaded: it takes the place of the old data.
    fn finish_transfer(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &mut self.replication.upstream else { return };
        let single = match std::mem::replace(&mut upstream.link, Link::Waiting) {
            Link::Transfer(single) => single,
            link => {
                upstream.link = link;
                return self.finish_channel(now, host);
            }
        };
        let Single { handle, arriving, early } = *single;
        let (origin, is_marked) = (arriving.origin, arriving.is_marked());
        let is_hidden = arriving.kind() == LoadKind::Hidden;
        let loaded = match arriving.finish() {
            Ok(loaded) => loaded,
            Err(reason) => {
                host.log(LogLevel::Warning, &reason);
                self.replication.held_input = None;
                self.forget_link(handle);
                return;
            }
        };
        let database = loaded.stream_database;
        self.adopt(now, host, loaded, origin, is_hidden);
        if let Some(session) = self.clients.session_mut(handle) {
            session.database = database.min(self.keyspace.database_count() - 1);
        }
        self.link_is_up(handle, origin.is_none());
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Finished with success");
        self.restart_aof(now, host);
        // A primary that streamed the snapshot sends nothing more until it knows that all has arrived.
        if is_marked {
            self.send_ack();
        }
        self.hold_primary(handle, false);
        if !early.is_empty() {
            self.apply(now, host, &early);
        }
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
    pub(super) fn apply(&mut self, now: Now, host: &mut dyn Host, bytes: &[u8]) {
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

    /// Gives up the connection, by this node's will.
    pub(super) fn drop_link(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &mut self.replication.upstream else { return };
        let link = std::mem::replace(&mut upstream.link, Link::Waiting);
        self.replication.held_input = None;
        let handle = match link {
            Link::Waiting => return,
            Link::Connecting { .. } => None,
            Link::Handshake { handle, .. } => Some(handle),
            Link::Transfer(single) => {
                single.arriving.discard(host);
                Some(single.handle)
            }
            Link::Dual(dual) => {
                let main = dual.main();
                self.forget_channel(host, *dual);
                Some(main)
            }
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

    pub(super) fn forget_link(&mut self, handle: Handle) {
        self.clients.remove(handle);
        self.actions.push(Action::DisconnectPrimary);
    }

    /// A client closes a connection. If it is the one to the primary, the data is getting old from now on, even if the command goes on
    /// for long.
    pub(crate) fn note_cut(&mut self, now: Now, handle: Handle) {
        if let Some(Upstream { link: Link::Up(up), .. }) = &mut self.replication.upstream
            && up.handle == handle
        {
            up.cut_at = Some(now.monotonic);
        }
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
            upstream.down_since = Some(up.cut_at.unwrap_or(now.monotonic));
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
        if let Link::Dual(dual) = &upstream.link
            && dual.has_connection(handle)
        {
            self.dual_disconnected(now, host, handle);
            return true;
        }
        if upstream.handle() != Some(handle) {
            return false;
        }
        self.replication.held_input = None;
        match std::mem::replace(&mut upstream.link, Link::Waiting) {
            Link::Up(up) => {
                self.replication.resume_database = session.database;
                self.note_lost_link(now, host, &up);
                self.reconnect(now, host);
            }
            Link::Transfer(single) => {
                single.arriving.discard(host);
                host.log(LogLevel::Warning, "I/O error trying to sync with MASTER: connection lost");
            }
            Link::Handshake { .. } | Link::Dual(_) | Link::Connecting { .. } | Link::Waiting => {
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
