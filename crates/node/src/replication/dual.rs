//! A full synchronisation on two connections, on the replica's side.
//!
//! ```text
//!  main      parked ───────── snapshot's end known ─▶ handshake ─▶ stream, kept ──┐
//!  snapshot  connecting ─▶ handshake ─┴─▶ snapshot ─▶ loaded ─────────────────────┴─▶ stream applied, link up
//! ```
//!
//! What is written meanwhile waits here and not at the primary. The room for it has a bound, beyond which the main
//! connection is not read, so that the rest waits at the primary as it would on one connection. If either connection
//! ends before both are done, the synchronisation comes to nothing, and the next attempt begins anew.

use super::NO_TICKET;
use super::arriving::{Arriving, LoadKind, Loaded};
use super::replica::{Link, Upstream};
use crate::action::Action;
use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_machine::{Monotonic, Now};
use shoal_replication::{Failure, MainChannel, Note, Output, SnapshotChannel, SnapshotEnd};
use shoal_session::{Close, Identity};
use std::collections::VecDeque;

/// The most of the stream that is kept here, if `client-output-buffer-limit replica` sets no hard limit.
pub(crate) const KEPT_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of the stream that are applied at once when the snapshot is loaded.
const KEPT_BLOCK_BYTES: usize = 256 * 1024;

/// Both connections.
#[derive(Debug)]
pub(crate) struct Dual {
    main: Handle,
    stream: MainStream,
    channel: Channel,
    /// Where the stream begins, as soon as that is known.
    end: Option<SnapshotEnd>,
    /// When bytes last came on the snapshot's connection.
    pub channel_io: Monotonic,
}

/// How far the main connection has come.
#[derive(Debug)]
enum MainStream {
    /// It waits for the snapshot's end to be known.
    Parked,
    /// The stream is asked for.
    Handshake(Box<MainChannel>),
    /// The stream arrives, and is kept.
    Kept { blocks: VecDeque<Vec<u8>>, bytes: u64 },
}

/// How far the snapshot's connection has come.
#[derive(Debug)]
enum Channel {
    /// The shell is making it.
    Connecting { ticket: u64 },
    /// Greeting, authentication, SYNC.
    Handshake(Handle, Box<SnapshotChannel>),
    /// The snapshot arrives, or is being loaded.
    Transfer(Handle, Box<Arriving>),
    /// The snapshot is loaded, and waits for the main connection.
    Done(Box<Loaded>, LoadKind),
}

impl Dual {
    /// The main connection.
    pub fn main(&self) -> Handle {
        self.main
    }

    /// The snapshot's connection, if there is one.
    fn channel(&self) -> Option<Handle> {
        match self.channel {
            Channel::Handshake(handle, _) | Channel::Transfer(handle, _) => Some(handle),
            Channel::Connecting { .. } | Channel::Done(..) => None,
        }
    }

    /// Whether a connection is one of the two.
    pub fn has_connection(&self, handle: Handle) -> bool {
        self.main == handle || self.channel() == Some(handle)
    }

    /// The snapshot that is arriving.
    pub fn arriving(&self) -> Option<&Arriving> {
        if let Channel::Transfer(_, arriving) = &self.channel { Some(arriving) } else { None }
    }

    /// The snapshot that is arriving.
    pub fn arriving_mut(&mut self) -> Option<&mut Arriving> {
        if let Channel::Transfer(_, arriving) = &mut self.channel { Some(arriving) } else { None }
    }

    /// Whether bytes are due on the snapshot's connection.
    pub fn awaits_snapshot(&self) -> bool {
        match &self.channel {
            Channel::Connecting { .. } | Channel::Handshake(..) => true,
            Channel::Transfer(_, arriving) => !arriving.has_arrived(),
            Channel::Done(..) => false,
        }
    }

    /// Bytes of the stream that are kept.
    pub fn kept_bytes(&self) -> u64 {
        if let MainStream::Kept { bytes, .. } = self.stream { bytes } else { 0 }
    }
}

impl Node {
    fn dual_mut(&mut self) -> Option<&mut Dual> {
        match self.replication.upstream.as_mut().map(|upstream| &mut upstream.link) {
            Some(Link::Dual(dual)) => Some(dual),
            _ => None,
        }
    }

    /// The primary wants to give the snapshot on a connection of its own: it is asked for.
    pub(super) fn begin_dual(&mut self, now: Now, host: &mut dyn Host, main: Handle) {
        let ticket = self.replication.new_ticket();
        let Some(upstream) = &mut self.replication.upstream else { return };
        upstream.link = Link::Dual(Box::new(Dual {
            main,
            stream: MainStream::Parked,
            channel: Channel::Connecting { ticket },
            end: None,
            channel_io: now.monotonic,
        }));
        let (name, port) = (upstream.host.clone(), upstream.port);
        self.actions.push(Action::ConnectSnapshotChannel { ticket, host: name, port });
        host.log(LogLevel::Notice, "Connecting to MASTER for the snapshot (dual channel)");
    }

    /// The connection that [`Action::ConnectSnapshotChannel`] asked for is there. Its input goes to
    /// [`Node::primary_input`]; its output is that of the session. `None` if that attempt has been given up: the connection
    /// is to be closed.
    pub fn snapshot_channel_connected(
        &mut self,
        now: Now,
        _host: &mut dyn Host,
        ticket: u64,
        identity: Identity,
    ) -> Option<Handle> {
        if !self.is_connecting_channel(ticket) {
            return None;
        }
        let handle = self.insert_primary(now, identity);
        let settings = self.handshake_settings();
        let dual = self.dual_mut()?;
        let mut outputs = Vec::new();
        dual.channel = Channel::Handshake(handle, Box::new(SnapshotChannel::new(&settings, &mut outputs)));
        dual.channel_io = now.monotonic;
        for output in outputs {
            if let Output::Send(bytes) = output {
                self.write_to(handle, &mut None, &bytes);
            }
        }
        Some(handle)
    }

    fn is_connecting_channel(&mut self, ticket: u64) -> bool {
        let channel = self.dual_mut().map(|dual| &dual.channel);
        matches!(channel, Some(Channel::Connecting { ticket: awaited }) if *awaited == ticket)
    }

    /// The connection that [`Action::ConnectSnapshotChannel`] asked for cannot be made; `reason` is the system's text.
    pub fn snapshot_channel_unreachable(&mut self, now: Now, host: &mut dyn Host, ticket: u64, reason: &str) {
        if self.is_connecting_channel(ticket) {
            let text = format!("Error condition on socket for dual channel replication: {reason}");
            self.fail_transfer(now, host, &text);
        }
    }

    /// Bytes on either connection. Returns how many were used; the rest is to be given again.
    pub(super) fn dual_input(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        handle: Handle,
        bytes: &[u8],
    ) -> usize {
        let Some(dual) = self.dual_mut() else { return bytes.len() };
        if handle == dual.main {
            return self.main_input(now, host, bytes);
        }
        if dual.channel() != Some(handle) {
            return bytes.len();
        }
        dual.channel_io = now.monotonic;
        match &mut dual.channel {
            Channel::Handshake(_, machine) => {
                let mut outputs = Vec::new();
                let consumed = machine.receive(bytes, &mut outputs);
                self.carry_out_channel(now, host, handle, outputs);
                consumed
            }
            Channel::Transfer(_, arriving) if !arriving.has_arrived() => {
                let received = arriving.receive(host, bytes);
                self.received(now, host, received).unwrap_or(bytes.len())
            }
            // Nothing follows the snapshot.
            Channel::Connecting { .. } | Channel::Transfer(..) | Channel::Done(..) => bytes.len(),
        }
    }

    /// Does what the handshake on the snapshot's connection wants.
    fn carry_out_channel(&mut self, now: Now, host: &mut dyn Host, handle: Handle, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(bytes) => self.write_to(handle, &mut None, &bytes),
                Output::Log(note, text) => host.log(level_of(note), &text),
                Output::SnapshotEnd(end) => self.ask_for_stream(now, host, end),
                Output::Snapshot { origin, framing } => match self.begin_arriving(now, host, origin, framing)
                {
                    Err(reason) => self.fail_transfer(now, host, &reason),
                    Ok(arriving) => {
                        if let Some(dual) = self.dual_mut() {
                            dual.channel = Channel::Transfer(handle, Box::new(arriving));
                        }
                    }
                },
                Output::Failed(failure) => self.fail_dual(now, host, failure),
                Output::Continue(_) | Output::DualChannel => {}
            }
        }
    }

    /// The snapshot's end is known: the main connection asks for what follows.
    fn ask_for_stream(&mut self, now: Now, host: &mut dyn Host, end: SnapshotEnd) {
        let Some(dual) = self.dual_mut() else { return };
        let mut outputs = Vec::new();
        dual.end = Some(end);
        dual.stream = MainStream::Handshake(Box::new(MainChannel::new(end, &mut outputs)));
        let main = dual.main;
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.last_io = now.monotonic;
        }
        self.carry_out_main(now, host, main, outputs);
    }

    fn main_input(&mut self, now: Now, host: &mut dyn Host, bytes: &[u8]) -> usize {
        let limit = self.kept_limit_bytes();
        let Some(dual) = self.dual_mut() else { return bytes.len() };
        let main = dual.main;
        match &mut dual.stream {
            MainStream::Parked => {
                if bytes.iter().any(|byte| !b"\r\n".contains(byte)) {
                    let text = "Dual channel sync failed on the main connection: the primary says something before the \
                                snapshot has begun";
                    self.fail_transfer(now, host, text);
                }
                bytes.len()
            }
            MainStream::Handshake(machine) => {
                let mut outputs = Vec::new();
                let consumed = machine.receive(bytes, &mut outputs);
                self.carry_out_main(now, host, main, outputs);
                consumed
            }
            MainStream::Kept { blocks, bytes: count } => {
                *count += bytes.len() as u64;
                let is_full = *count >= limit;
                match blocks.back_mut() {
                    Some(block) if block.len() + bytes.len() <= KEPT_BLOCK_BYTES => {
                        block.extend_from_slice(bytes);
                    }
                    _ => blocks.push_back(bytes.to_vec()),
                }
                if is_full {
                    host.log(LogLevel::Notice, "Replication buffer limit reached, stopping buffering.");
                    self.hold_primary(main, true);
                }
                bytes.len()
            }
        }
    }

    /// How much of the stream may be kept here.
    pub(crate) fn kept_limit_bytes(&self) -> u64 {
        match self.config.client_output_buffer_limit.replica.hard_bytes {
            0 => KEPT_MAX_BYTES,
            limit => limit,
        }
    }

    /// Does what the second handshake on the main connection wants.
    fn carry_out_main(&mut self, now: Now, host: &mut dyn Host, main: Handle, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(bytes) => self.write_to(main, &mut None, &bytes),
                Output::Log(note, text) => host.log(level_of(note), &text),
                Output::Continue(_) => {
                    let Some(dual) = self.dual_mut() else { return };
                    dual.stream = MainStream::Kept { blocks: VecDeque::new(), bytes: 0 };
                    self.join_channels(now, host);
                }
                Output::Failed(failure) => self.fail_dual(now, host, failure),
                Output::DualChannel | Output::SnapshotEnd(_) | Output::Snapshot { .. } => {}
            }
        }
    }

    /// The primary did not do what it offered; the next attempt is without the offer if it never will.
    fn fail_dual(&mut self, now: Now, host: &mut dyn Host, failure: Failure) {
        self.drop_link(now, host);
        if let Some(upstream) = &mut self.replication.upstream {
            upstream.refuses_dual_channel |= failure == Failure::Refused;
        }
    }

    /// The snapshot is loaded.
    pub(super) fn finish_channel(&mut self, now: Now, host: &mut dyn Host) {
        let Some(dual) = self.dual_mut() else { return };
        let (handle, arriving) =
            match std::mem::replace(&mut dual.channel, Channel::Connecting { ticket: NO_TICKET }) {
                Channel::Transfer(handle, arriving) => (handle, arriving),
                other => {
                    dual.channel = other;
                    return;
                }
            };
        let kind = arriving.kind();
        match arriving.finish() {
            Err(reason) => {
                self.close(handle, Close::Now);
                self.fail_transfer(now, host, &reason);
            }
            Ok(loaded) => {
                if let Some(dual) = self.dual_mut() {
                    dual.channel = Channel::Done(Box::new(loaded), kind);
                }
                self.close(handle, Close::Now);
                self.join_channels(now, host);
            }
        }
    }

    /// If both the snapshot is loaded and the stream has begun, the data are taken over and the stream is applied.
    fn join_channels(&mut self, now: Now, host: &mut dyn Host) {
        let Some(upstream) = &mut self.replication.upstream else { return };
        let Link::Dual(dual) = &upstream.link else { return };
        let is_ready = matches!((&dual.channel, &dual.stream), (Channel::Done(..), MainStream::Kept { .. }));
        let Some(end) = dual.end.filter(|_| is_ready) else { return };
        let Link::Dual(dual) = std::mem::replace(&mut upstream.link, Link::Waiting) else { return };
        let Dual {
            main, channel: Channel::Done(loaded, kind), stream: MainStream::Kept { blocks, .. }, ..
        } = *dual
        else {
            return;
        };
        self.adopt(now, host, *loaded, Some((end.id, end.offset)), kind == LoadKind::Hidden);
        if let Some(session) = self.clients.session_mut(main) {
            let database = usize::try_from(end.database).unwrap_or(0);
            session.database = database.min(self.keyspace.database_count() - 1);
        }
        self.link_is_up(main, false);
        self.keep_for_later(main, blocks);
        host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Finished with success");
        self.restart_aof(now, host);
        self.send_ack();
    }

    /// One of the connections has ended, by the primary's will.
    pub(super) fn dual_disconnected(&mut self, now: Now, host: &mut dyn Host, handle: Handle) {
        let Some(dual) = self.dual_mut() else { return };
        let has_snapshot = !dual.awaits_snapshot();
        if handle != dual.main && has_snapshot {
            // The primary has said all it had to say there.
            return;
        }
        let which = if handle == dual.main { "main" } else { "snapshot's" };
        let text = format!("Dual channel sync failed: the {which} connection is lost");
        self.fail_transfer(now, host, &text);
    }

    /// The synchronisation comes to nothing.
    pub(super) fn forget_channel(&mut self, host: &mut dyn Host, dual: Dual) {
        match dual.channel {
            Channel::Connecting { .. } | Channel::Done(..) => {}
            Channel::Handshake(handle, _) => drop(self.clients.remove(handle)),
            Channel::Transfer(handle, arriving) => {
                self.clients.remove(handle);
                arriving.discard(host);
            }
        }
    }

    /// What keeps the primary waiting while a snapshot is loaded: an empty line on the main connection.
    pub(super) fn send_sign_of_life(&mut self) {
        let Some(upstream) = &self.replication.upstream else { return };
        let is_due = match &upstream.link {
            Link::Transfer(single) => single.arriving.has_arrived(),
            Link::Dual(dual) => matches!(dual.stream, MainStream::Kept { .. }),
            _ => false,
        };
        if let Some(handle) = upstream.handle().filter(|_| is_due) {
            self.write_to(handle, &mut None, b"\n");
        }
    }

    /// Whether one of the connections has been silent for too long.
    pub(super) fn is_dual_silent(
        &self,
        upstream: &Upstream,
        dual: &Dual,
        now: Monotonic,
        timeout_ms: u64,
    ) -> bool {
        // A connection that is not read cannot be heard.
        let is_heard = !matches!(dual.stream, MainStream::Parked) && self.wants_primary_input(dual.main);
        let is_main_silent = is_heard && now.ms_since(upstream.last_io) > timeout_ms;
        is_main_silent || dual.awaits_snapshot() && now.ms_since(dual.channel_io) > timeout_ms
    }
}

fn level_of(note: Note) -> LogLevel {
    match note {
        Note::Notice => LogLevel::Notice,
        Note::Warning => LogLevel::Warning,
    }
}
