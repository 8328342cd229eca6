//! The executor's loop.
//!
//! Each turn: wait for events; take what the bus thread has to say; read and run requests; carry out the node's
//! actions; a slice of expiry; timers; write all output. Sockets are watched edge by edge, so a connection that was not
//! read empty stands in a list and is read on in the next turn.

mod crash_view;
mod loading;
mod primary;
mod targets;

pub use crash_view::describe_crash;

pub use loading::LoadFailure;

use crate::aof::AofFiles;
use crate::bus::BusHandle;
use crate::clock::Clock;
use crate::connection::{Connection, Purpose, Stream};
use crate::disk::SharedDisk;
use crate::freeing::Freeing;
use crate::host::{ApplyConfiguration, FIRST_CONNECTION, FIRST_LISTENER, FIRST_TARGET, ShellHost};
use crate::listener::Listeners;
use crate::snapshot::SnapshotWriter;
use crate::stopwatch::Stopwatch;
use crate::sync_file::SyncFile;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token, Waker};
use shoal_machine::{Monotonic, Now};
use shoal_node::{Action, Handle, Host, LogLevel, Node, PREFETCHED_REQUESTS, ShutdownRequest, Verdict};
use shoal_protocol::request::Limits;
use shoal_session::Close;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

const WAKER: Token = Token(0);
const SIGNALS: Token = Token(1);
/// The pipe of the snapshot child.
pub(crate) const SNAPSHOT: Token = Token(2);
const CONNECTING: Token = Token(3);
/// The second connection to the primary, for a snapshot.
const CONNECTING_CHANNEL: Token = Token(4);

/// Events taken in one turn.
const EVENTS_PER_TURN: usize = 1024;
/// Connections accepted by one listener in one turn.
const ACCEPTS_PER_TURN: usize = 1000;
/// Requests of one connection run in one turn.
const COMMANDS_PER_TURN: usize = 10_000;
/// Reads from one connection in one turn.
const READS_PER_TURN: usize = 1;
/// Reads in one turn from a connection that is in the middle of a large argument, which needs no copying.
const LARGE_READS_PER_TURN: usize = 4;
/// Slices of one vectored write.
const SLICES_PER_WRITE: usize = 64;
/// Bytes written to one connection in one turn.
const WRITTEN_PER_TURN_BYTES: usize = 1024 * 1024;
/// The buffer that connections without waiting input read into.
const SHARED_BUFFER_BYTES: usize = 64 * 1024;
/// The longest slice of expiry in one turn.
const EXPIRY_SLICE_US: u64 = 500;
/// The share of time that expiry may take, in percent.
const EXPIRY_PERCENT: u64 = 25;

/// Where the server's log lines go.
pub trait Log: Send + Sync {
    /// Writes a line.
    fn write(&self, level: LogLevel, text: &str);
}

/// Why the loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A clean shutdown.
    Shutdown,
}

/// What signals ask for; checked whenever the signals' socket is readable.
pub type TakeSignals = Box<dyn FnMut() -> SignalRequests>;

/// What signals ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignalRequests {
    /// Stop, in this way.
    pub stop: Option<ShutdownRequest>,
    /// Read log, certificates and users anew.
    pub reload: bool,
}

/// What a server is made of.
pub struct ServerSettings {
    /// The node, without data.
    pub node: Node,
    /// The clock that the node was made with.
    pub clock: Clock,
    /// The listening sockets.
    pub listeners: Listeners,
    /// The log.
    pub log: Arc<dyn Log>,
    /// Where files are.
    pub disk: SharedDisk,
    /// Bytes that the allocator has given out, cheap to ask for; zero if it does not count them.
    pub used_memory: fn() -> u64,
    /// A socket that becomes readable with a signal, and what asks for its meaning.
    pub signals: Option<(std::os::unix::net::UnixStream, TakeSignals)>,
    /// Carries out changes of the configuration in the binary.
    pub apply: ApplyConfiguration,
    /// Called on HUP.
    pub reload: Box<dyn FnMut()>,
    /// Called when a shutdown has come to nothing.
    pub shutdown_aborted: Box<dyn FnMut()>,
    /// Called when the node has become a replica (true) or a primary.
    pub role_changed: Box<dyn FnMut(bool)>,
    /// The bus of a cluster node, to be started with the loop.
    pub bus: Option<crate::bus::BusSettings>,
}

/// A server: a node, its sockets and its loop.
pub struct Server {
    node: Node,
    host: ShellHost,
    poll: Poll,
    connections: Vec<Option<Box<Connection>>>,
    /// Connections with more to read or run.
    queued: Vec<Handle>,
    shared_buffer: Vec<u8>,
    pending: Vec<Handle>,
    signals: Option<(UnixStream, TakeSignals)>,
    reload: Box<dyn FnMut()>,
    shutdown_aborted: Box<dyn FnMut()>,
    role_changed: Box<dyn FnMut(bool)>,
    was_replica: bool,
    has_waited_for_cluster: bool,
    /// Listeners whose bound of one turn was reached.
    accept_on: Vec<usize>,
    /// The connections to the primary that are being made, with the node's names for them.
    connecting: Option<(u64, Stream)>,
    connecting_channel: Option<(u64, Stream)>,
    targets: targets::Targets,
    unix_path: String,
    next_cron_at: Monotonic,
    /// Time that expiry may still take until the next cron.
    expiry_budget_us: u64,
    stop: Option<StopReason>,
}

impl Server {
    /// Sets the server up; it serves from [`Server::run`] on.
    ///
    /// # Errors
    /// The system's.
    pub fn new(settings: ServerSettings) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(&registry, WAKER)?);
        let signals = match settings.signals {
            None => None,
            Some((socket, take)) => {
                let mut socket = UnixStream::from_std(socket);
                registry.register(&mut socket, SIGNALS, Interest::READABLE)?;
                Some((socket, take))
            }
        };
        let bus_listeners = settings.bus.iter().flat_map(|bus| bus.listeners.descriptors()).collect();
        let start = |bus| BusHandle::start(bus, settings.clock, Arc::clone(&settings.log), waker);
        let bus = settings.bus.map(start).transpose()?;
        let file_name = settings.node.config().dbfilename.clone();
        let unix_path = settings.node.config().unixsocket.clone();
        let aof_directory = settings.node.config().appenddirname.clone().into();
        let disk = settings.disk;
        let mut host = ShellHost {
            clock: settings.clock,
            stopwatch: Stopwatch::new(settings.clock),
            log: settings.log,
            disk: Arc::clone(&disk),
            used_memory: settings.used_memory,
            freeing: Freeing::start(),
            sync_file: SyncFile::new(Arc::clone(&disk), file_name.clone()),
            snapshots: SnapshotWriter::new(Arc::clone(&disk), file_name),
            aof: AofFiles::new(disk, aof_directory),
            exchanges: crate::exchange::Exchanges::default(),
            bus,
            listeners: settings.listeners,
            bus_listeners,
            registry,
            apply: settings.apply,
        };
        host.register_listeners()?;
        Ok(Self {
            node: settings.node,
            host,
            poll,
            connections: Vec::new(),
            queued: Vec::new(),
            shared_buffer: vec![0; SHARED_BUFFER_BYTES],
            pending: Vec::new(),
            signals,
            reload: settings.reload,
            shutdown_aborted: settings.shutdown_aborted,
            was_replica: false,
            has_waited_for_cluster: false,
            role_changed: settings.role_changed,
            accept_on: Vec::new(),
            connecting: None,
            connecting_channel: None,
            targets: targets::Targets::default(),
            unix_path,
            next_cron_at: settings.clock.monotonic(),
            expiry_budget_us: 0,
            stop: None,
        })
    }

    /// Whether the server is to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Serves until the server is to stop.
    ///
    /// # Errors
    /// Waiting for events fails, which leaves nothing to do.
    pub fn run(&mut self) -> io::Result<StopReason> {
        self.wait_for_cluster();
        if self.stop.is_none() {
            self.node.cluster_data_loaded(self.host.clock.now(), &mut self.host);
        }
        let _view = crash_view::View::open(self);
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut turn_ended_at = self.host.clock.monotonic();
        while self.stop.is_none() {
            let timeout = self.timeout(turn_ended_at);
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            turn_ended_at = self.turn(&events);
        }
        self.host.listeners.close();
        Ok(self.stop.unwrap_or(StopReason::Shutdown))
    }

    /// Closes everything but leaves the data where they are, for a process that ends now: the system takes its memory back at
    /// once, while taking a large keyspace apart key by key takes seconds.
    pub fn close(self) {
        let Self { node, .. } = self;
        std::mem::forget(node);
    }

    /// A cluster node serves nobody before it has its first view.
    fn wait_for_cluster(&mut self) {
        const FIRST_VIEW: Duration = Duration::from_secs(5);
        if std::mem::replace(&mut self.has_waited_for_cluster, true) {
            return;
        }
        if let Some(message) = self.host.bus.as_mut().and_then(|bus| bus.first_event(FIRST_VIEW)) {
            let now = self.host.clock.now();
            self.node.cluster_message(now, &mut self.host, message);
        }
    }

    /// How long to wait for events.
    fn timeout(&self, now: Monotonic) -> Duration {
        let can_go_on = self.host.snapshots.can_go_on(&self.node);
        let has_work = !self.queued.is_empty() || !self.accept_on.is_empty() || self.expiry_budget_us > 0;
        let has_work = has_work || self.node.has_keys_to_drop();
        if has_work || can_go_on || self.node.is_evicting() || self.node.has_snapshot_to_load() {
            return Duration::ZERO;
        }
        let deadline = self.node.next_deadline().map_or(self.next_cron_at, |at| at.min(self.next_cron_at));
        // A millisecond more than too early: a poll that ends before the deadline would only turn around.
        deadline.since(now) + Duration::from_micros(500)
    }

    /// Does what there is to do; returns when it ended. The clocks are read seldom: that costs as much as a small command.
    fn turn(&mut self, events: &Events) -> Monotonic {
        let began = self.host.clock.monotonic();
        self.take_bus_messages();
        for event in events {
            match event.token() {
                WAKER => {}
                SIGNALS => self.take_signals(),
                SNAPSHOT => self.read_snapshot(),
                CONNECTING => self.finish_connecting(false),
                CONNECTING_CHANNEL => self.finish_connecting(true),
                Token(token) if token < FIRST_TARGET => self.accept(token),
                Token(token) if token < FIRST_CONNECTION => self.finish_connecting_target(token),
                Token(token) => {
                    let handle = Handle((token - FIRST_CONNECTION) as u32);
                    if event.is_writable() {
                        self.unblock_writing(handle);
                    }
                    if event.is_readable() || event.is_read_closed() {
                        self.readable(handle, event.is_read_closed());
                    }
                }
            }
        }
        self.read_queued();
        self.accept_more();
        self.carry_out_actions();
        self.expire();
        let now = self.host.clock.now();
        self.cron(now);
        self.node.relieve_memory(now, &mut self.host);
        self.node.drop_keys(now, &mut self.host);
        self.send_files();
        self.load_snapshot_piece();
        if self.host.snapshots.is_writing() {
            self.reap_snapshot();
        }
        self.write_pending();
        self.carry_out_actions();
        if self.node.has_aof_output() {
            self.node.flush_aof(&mut self.host);
        }
        if self.node.is_replica() != self.was_replica {
            self.was_replica = !self.was_replica;
            (self.role_changed)(self.was_replica);
        }
        let ended = self.host.clock.monotonic();
        let stats = self.node.stats_mut();
        stats.loop_cycles += 1;
        stats.loop_us += ended.0.saturating_sub(began.0);
        ended
    }

    fn take_bus_messages(&mut self) {
        while let Some(message) = self.host.bus.as_mut().and_then(BusHandle::try_event) {
            let now = self.host.clock.now();
            self.node.cluster_message(now, &mut self.host, message);
        }
    }

    fn take_signals(&mut self) {
        let Some((socket, take)) = &mut self.signals else { return };
        let mut bytes = [0; 64];
        while socket.read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        let requests = take();
        if requests.reload {
            (self.reload)();
        }
        if let Some(request) = requests.stop {
            self.node.begin_shutdown(request);
        }
    }

    // Connections

    fn accept(&mut self, token: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = if token == FIRST_LISTENER {
                self.host
                    .listeners
                    .unix
                    .as_ref()
                    .map(|listener| listener.accept().map(|(s, _)| Stream::Unix(s)))
            } else {
                let listener = self.host.listeners.tcp.get(token - FIRST_LISTENER - 1);
                listener.map(|listener| listener.accept().map(|(stream, _)| Stream::Tcp(stream)))
            };
            match accepted {
                None => return,
                Some(Ok(stream)) => self.welcome(stream),
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Some(Err(error)) => {
                    self.host.log(LogLevel::Warning, &format!("Accepting client connection: {error}"));
                    return;
                }
            }
        }
        // More may wait, and there will be no further event for them.
        self.accept_on.push(token);
    }

    fn accept_more(&mut self) {
        for token in std::mem::take(&mut self.accept_on) {
            self.accept(token);
        }
    }

    fn welcome(&mut self, mut stream: Stream) {
        stream.configure(self.node.config().tcp_keepalive_seconds);
        let identity = stream.identity(&self.unix_path);
        match self.node.connect(self.host.clock.now(), identity) {
            Ok(handle) => {
                self.add_connection(stream, handle, Purpose::Client);
            }
            Err(error) => {
                let _ = stream.write(format!("-{error}\r\n").as_bytes());
            }
        }
    }

    fn add_connection(&mut self, mut stream: Stream, handle: Handle, purpose: Purpose) {
        let index = handle.0 as usize;
        let token = Token(FIRST_CONNECTION + index);
        let interests = Interest::READABLE | Interest::WRITABLE;
        if self.host.registry.register(stream.source(), token, interests).is_err() {
            self.node.disconnected(self.host.clock.now(), &mut self.host, handle);
            return;
        }
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] = Some(Box::new(Connection::new(stream, handle, purpose)));
    }

    fn connection_mut(&mut self, handle: Handle) -> Option<&mut Connection> {
        self.connections.get_mut(handle.0 as usize)?.as_deref_mut()
    }

    fn close_connection(&mut self, handle: Handle) {
        let Some(mut connection) = self.connections.get_mut(handle.0 as usize).and_then(Option::take) else {
            return;
        };
        let _ = self.host.registry.deregister(connection.stream.source());
        let now = self.host.clock.now();
        self.node.disconnected(now, &mut self.host, handle);
    }

    fn queue(&mut self, handle: Handle) {
        if let Some(connection) = self.connection_mut(handle)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.queued.push(handle);
        }
    }

    fn readable(&mut self, handle: Handle, is_read_closed: bool) {
        let is_waiting = self.node.is_waiting(handle);
        let Some(connection) = self.connection_mut(handle) else { return };
        connection.may_have_input = true;
        connection.is_read_closed |= is_read_closed;
        if is_waiting && connection.purpose == Purpose::Primary && !self.node.wants_primary_input(handle) {
            // It is read on when the node wants more.
            return;
        }
        let Some(connection) = self.connection_mut(handle) else { return };
        if is_waiting && connection.purpose == Purpose::Client {
            // A client that waits is not read; but one that has gone waits for nothing.
            if is_read_closed {
                self.close_connection(handle);
            }
            return;
        }
        self.serve(handle);
    }

    fn read_queued(&mut self) {
        for handle in std::mem::take(&mut self.queued) {
            if let Some(connection) = self.connection_mut(handle) {
                connection.is_queued = false;
                self.serve(handle);
            }
        }
    }

    /// Runs waiting requests of a connection and reads more, within the bounds of one turn.
    fn serve(&mut self, handle: Handle) {
        let Some(mut connection) = self.connections.get_mut(handle.0 as usize).and_then(Option::take) else {
            return;
        };
        match connection.purpose {
            Purpose::Client => self.serve_client(&mut connection),
            Purpose::Primary => self.read_primary(&mut connection),
            Purpose::Target => self.read_target(&mut connection),
        }
        let is_ended = connection.is_ended;
        let has_more = connection.may_have_input || connection.may_have_requests;
        self.connections[handle.0 as usize] = Some(connection);
        if is_ended {
            // What was asked before the end is answered first.
            self.write_output(handle);
            self.close_connection(handle);
        } else if has_more && !self.node.is_waiting(handle) {
            self.queue(handle);
        }
    }

    fn serve_client(&mut self, connection: &mut Connection) {
        connection.reader.lend(&mut self.shared_buffer);
        if connection.may_have_requests {
            let now = self.host.clock.now();
            self.run_requests(now, connection);
        }
        for number in 0..LARGE_READS_PER_TURN {
            let has_had_enough = number >= READS_PER_TURN && !connection.reader.is_in_large_argument();
            if has_had_enough || !connection.may_have_input || self.node.is_waiting(connection.handle) {
                break;
            }
            let space = connection.reader.space();
            let offered = space.len();
            match connection.stream.read(space) {
                Ok(0) => {
                    connection.is_ended = true;
                    connection.may_have_input = false;
                }
                Ok(count) => {
                    connection.reader.advance(count);
                    // A read that does not fill the space has emptied the socket.
                    connection.may_have_input = count == offered || connection.is_read_closed;
                    let waiting = connection.reader.waiting_bytes();
                    let free = connection.reader.free_bytes();
                    let now = self.host.clock.now();
                    self.node.input_arrived(now, connection.handle, count, waiting, free);
                    self.run_requests(now, connection);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.may_have_input = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    connection.is_ended = true;
                    connection.may_have_input = false;
                }
            }
        }
        connection.reader.give_back(&mut self.shared_buffer);
        let waiting = connection.reader.waiting_bytes();
        let free = connection.reader.free_bytes();
        self.node.input_left(connection.handle, waiting, free);
        if self.shared_buffer.is_empty() {
            self.shared_buffer = vec![0; SHARED_BUFFER_BYTES];
        }
    }

    fn run_requests(&mut self, now: Now, connection: &mut Connection) {
        let handle = connection.handle;
        let config = self.node.config();
        let mut limits = Limits {
            max_bulk_bytes: i64::try_from(config.proto_max_bulk_len_bytes).unwrap_or(i64::MAX),
            max_buffer_bytes: usize::try_from(config.client_query_buffer_limit_bytes).unwrap_or(usize::MAX),
            authenticated: self.node.is_authenticated(handle),
        };
        if let Some(bus) = &self.host.bus {
            bus.command_begins();
        }
        self.node.batch_begins(handle);
        connection.may_have_requests = true;
        for number in 0..COMMANDS_PER_TURN {
            if number % PREFETCHED_REQUESTS == 0 {
                self.node.prefetch(handle, &connection.reader);
            }
            let verdict = match connection.reader.next(&limits) {
                Ok(Some(request)) => crash_view::watched(&connection.stream, request, || {
                    self.node.execute(now, &mut self.host, handle, request)
                }),
                Ok(None) => {
                    connection.may_have_requests = false;
                    break;
                }
                Err(error) => {
                    self.node.protocol_error(handle, error);
                    break;
                }
            };
            match verdict {
                Verdict::Done if limits.authenticated => {}
                Verdict::Done => limits.authenticated = self.node.is_authenticated(handle),
                Verdict::Blocked => break,
                Verdict::Postponed => {
                    connection.reader.put_back();
                    break;
                }
            }
        }
        self.node.batch_ends();
        if let Some(bus) = &self.host.bus {
            bus.command_ended();
        }
    }

    // Output

    fn unblock_writing(&mut self, handle: Handle) {
        if let Some(connection) = self.connection_mut(handle)
            && connection.is_write_blocked
        {
            connection.is_write_blocked = false;
            self.write_output(handle);
        }
    }

    fn write_pending(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        self.node.take_pending(&mut pending);
        for &handle in &pending {
            self.write_output(handle);
        }
        self.pending = pending;
    }

    fn write_output(&mut self, handle: Handle) {
        // No reply leaves before the effects that it tells of are safe.
        if self.node.has_aof_output() {
            self.node.flush_aof(&mut self.host);
        }
        let Some(connection) = self.connections.get_mut(handle.0 as usize).and_then(Option::as_deref_mut)
        else {
            return;
        };
        if self.node.close_of(handle) == Close::Now {
            // A connection that is cut gets nothing more: a replica would take it for a part of the stream it has.
            self.close_connection(handle);
            return;
        }
        let mut written = 0;
        let mut is_broken = false;
        while !connection.is_write_blocked && written < WRITTEN_PER_TURN_BYTES {
            let slices = self.node.output_slices(handle, SLICES_PER_WRITE);
            let result = match slices.as_slice() {
                [] => break,
                [slice] => connection.stream.write(slice),
                slices => connection.stream.write_vectored(slices),
            };
            drop(slices);
            match result {
                Ok(count) => {
                    written += count;
                    self.node.output_sent(handle, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.is_write_blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    is_broken = true;
                    break;
                }
            }
        }
        let has_output = self.node.has_output(handle);
        if has_output && !connection.is_write_blocked && !is_broken {
            // The rest follows in the next turn, after the others have had theirs.
            self.node.mark_pending(handle);
            self.next_cron_at = self.next_cron_at.min(self.host.clock.monotonic());
        }
        let close = self.node.close_of(handle);
        if is_broken || close == Close::Now || close == Close::AfterReply && !has_output {
            self.close_connection(handle);
        }
    }

    // Actions, timers

    fn carry_out_actions(&mut self) {
        /// Rounds in which actions lead to further actions.
        const ROUNDS: usize = 16;
        for _ in 0..ROUNDS {
            let actions = self.node.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Resume(handle) => self.queue(handle),
                    Action::ConnectPrimary { ticket, host, port } => {
                        self.disconnect_primary();
                        self.connect_primary(ticket, &host, port, false);
                    }
                    Action::ConnectSnapshotChannel { ticket, host, port } => {
                        self.connect_primary(ticket, &host, port, true);
                    }
                    Action::ConnectTarget { ticket, host, port } => self.connect_target(ticket, &host, port),
                    Action::DelaySmallPackets(handle) => {
                        if let Some(connection) = self.connection_mut(handle) {
                            connection.stream.delay_small_packets();
                        }
                    }
                    Action::DisconnectPrimary => self.disconnect_primary(),
                    Action::ShutdownAborted => (self.shutdown_aborted)(),
                    Action::Shutdown(_) => self.stop = Some(StopReason::Shutdown),
                    Action::SendSnapshotFile(handle) => self.host.snapshots.send_file(handle),
                }
            }
        }
    }

    fn expire(&mut self) {
        if self.expiry_budget_us == 0 {
            return;
        }
        let began = self.host.clock.now();
        loop {
            let now = self.host.clock.now();
            let is_done = self.node.expire_step(now, &mut self.host);
            let spent_us = self.host.clock.monotonic().0.saturating_sub(began.monotonic.0);
            if is_done || spent_us >= self.expiry_budget_us {
                let stats = self.node.stats_mut();
                stats.expire_cycle_us += spent_us;
                stats.expired_time_cap_reached += u64::from(!is_done);
                self.expiry_budget_us = 0;
                return;
            }
            if spent_us >= EXPIRY_SLICE_US {
                self.node.stats_mut().expire_cycle_us += spent_us;
                self.expiry_budget_us -= spent_us;
                return;
            }
        }
    }

    fn cron(&mut self, now: Now) {
        let is_due = now.monotonic >= self.next_cron_at;
        let deadline_passed = self.node.next_deadline().is_some_and(|at| at <= now.monotonic);
        if !is_due && !deadline_passed {
            return;
        }
        self.host.exchanges.close_idle(now.monotonic);
        self.node.tick(now, &mut self.host);
        if is_due {
            self.host.stopwatch.set();
            let period_us = 1_000_000 / u64::from(self.node.config().hz.max(1));
            self.next_cron_at = Monotonic(now.monotonic.0 + period_us);
            self.expiry_budget_us = period_us * EXPIRY_PERCENT / 100;
        }
    }

    // Snapshots

    /// Gives replicas that wait for a snapshot file more of it.
    fn send_files(&mut self) {
        if !self.host.snapshots.is_sending() {
            return;
        }
        let mut ended = Vec::new();
        self.host.snapshots.poll_file_sends(&mut self.node, &mut ended);
        let now = self.host.clock.now();
        for (handle, result) in ended {
            self.node.file_sent(now, &mut self.host, handle, result);
        }
    }

    fn read_snapshot(&mut self) {
        self.host.snapshots.mark_readable();
        self.reap_snapshot();
    }

    /// Reads what the snapshot child has written, and notices its end.
    fn reap_snapshot(&mut self) {
        loop {
            let wants_bytes = self.node.wants_snapshot_bytes();
            let now = self.host.clock.now();
            match self.host.snapshots.read(wants_bytes, &mut self.shared_buffer) {
                crate::snapshot::Progress::Nothing => return,
                crate::snapshot::Progress::Bytes(count) => {
                    self.node.snapshot_chunk(now, &mut self.host, &self.shared_buffer[..count]);
                    self.write_pending();
                }
                crate::snapshot::Progress::Ended(result) => {
                    self.node.snapshot_ended(now, &mut self.host, result);
                    return;
                }
            }
        }
    }
}
