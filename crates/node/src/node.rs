//! The node: its parts, and what the shell tells it.

use crate::action::Action;
use crate::aof::Aof;
use crate::blocking::Blocking;
use crate::clients::{Clients, Handle};
use crate::cluster::ClusterSide;
use crate::commands::migrate::Targets;
use crate::host::{Host, LogLevel};
use crate::latency::LatencyMonitor;
use crate::loading::StartupLoad;
use crate::names::Names;
use crate::pause::{PauseReason, Pauses};
use crate::persistence::Persistence;
use crate::propagation::Unit;
use crate::replication::Replication;
use crate::shutdown::PendingShutdown;
use crate::slot_migration::Migrations;
use crate::slow_log::SlowLog;
use crate::snapshot::RunningSnapshot;
use crate::stats::Stats;
use crate::watch::Watchers;
use shoal_config::Config;
use shoal_machine::{Monotonic, Now, Rng};
use shoal_protocol::{ErrorReply, OutputBuffer};
use shoal_session::{ClientKind, Close, Identity, Session, Subscribers};
use shoal_store::{Effects, EncodingLimits, Hasher, Keyspace, Layout, StoreOptions};

/// How often rates are sampled.
const SAMPLE_INTERVAL_MS: u64 = 100;

/// How often the used memory is looked at, for its peak.
const MEMORY_SAMPLE_INTERVAL_MS: u64 = 1000;

/// What identifies a running node.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// 40 hexadecimal characters, new with each start.
    pub run_id: String,
    /// The process's number.
    pub process_id: u32,
    /// The path of the binary.
    pub executable: String,
    /// The system's name, release and machine.
    pub system: String,
    /// How the process is supervised: `no`, `systemd`, `upstart`, `unknown`.
    pub supervised: &'static str,
    /// The addresses it listens on, as INFO shows them: `name=tcp,bind=…,port=…`.
    pub listeners: Vec<String>,
}

/// What a node starts with.
#[derive(Debug)]
pub struct NodeSettings {
    /// The configuration.
    pub config: Config,
    /// What identifies it.
    pub identity: NodeIdentity,
    /// The seed of its random numbers.
    pub seed: u64,
    /// The secret key of its hash tables.
    pub hash_key: (u64, u64),
}

/// One whole server without sockets.
pub struct Node {
    pub(crate) config: Config,
    pub(crate) identity: NodeIdentity,
    pub(crate) options: StoreOptions,
    pub(crate) keyspace: Keyspace,
    pub(crate) clients: Clients,
    pub(crate) names: Names,
    pub(crate) effects: Effects,
    pub(crate) stats: Stats,
    pub(crate) rng: Rng,
    pub(crate) watchers: Watchers,
    pub(crate) blocking: Blocking,
    pub(crate) subscribers: Subscribers<Handle>,
    pub(crate) pauses: Pauses,
    pub(crate) unit: Unit,
    pub(crate) replication: Replication,
    /// The snapshot that is being written in the background.
    pub(crate) snapshot: Option<RunningSnapshot>,
    pub(crate) cluster: Option<ClusterSide>,
    /// Slots on their way to or from this node.
    pub(crate) migrations: Migrations,
    pub(crate) actions: Vec<Action>,
    pub(crate) started_at: Now,
    pub(crate) next_client_id: u64,
    /// The client whose requests are being carried out one after another.
    pub(crate) batch: crate::plain::Batch,
    pub(crate) recent_command: crate::plain::RecentCommand,
    /// When the last command of the current batch ended.
    pub(crate) stopwatch_us: Option<u64>,
    /// Changes since the last snapshot.
    pub(crate) changes_since_save: u64,
    /// Clients whose command is put off by a pause.
    pub(crate) postponed: Vec<Handle>,
    /// What the running command pushes to its own client; it follows the reply.
    pub(crate) own_pushes: OutputBuffer,
    /// Clients whose output may be over a limit.
    pub(crate) crowded: Vec<Handle>,
    /// Clients in MONITOR.
    pub(crate) monitors: Vec<Handle>,
    pub(crate) slow_log: SlowLog,
    pub(crate) latency: LatencyMonitor,
    pub(crate) persistence: Persistence,
    pub(crate) aof: Aof,
    /// The code of function libraries: kept, and written into every snapshot.
    pub(crate) functions: Vec<Vec<u8>>,
    /// A shutdown that waits for replicas.
    pub(crate) shutdown: Option<PendingShutdown>,
    /// A shutdown that a signal has asked for, to begin with the next tick.
    pub(crate) shutdown_asked: Option<crate::action::ShutdownRequest>,
    /// The servers that MIGRATE has moved keys to.
    pub(crate) targets: Targets,
    /// The most memory that was ever used.
    pub(crate) memory_peak_bytes: u64,
    /// The memory that was used when the node started; none before it was first asked for.
    pub(crate) memory_at_start_bytes: Option<u64>,
    pub(crate) is_loading: bool,
    /// The snapshot that is being loaded at start-up.
    pub(crate) startup_load: Option<StartupLoad>,
    /// DEBUG PAUSE-CRON: ticks do nothing.
    pub(crate) is_housekeeping_paused: bool,
    pub(crate) active_expire_enabled: bool,
    pub(crate) eviction: crate::eviction::Eviction,
    pub(crate) client_memory: crate::client_memory::ClientMemory,
    /// Keys that this replica has to expire itself.
    pub(crate) own_keys: crate::expiry::OwnKeys,
    next_sample_at: Monotonic,
    next_memory_sample_at: Monotonic,
}

impl Node {
    /// A node without data and clients.
    ///
    /// # Errors
    /// The text to show for a configuration that cannot be carried out.
    pub fn new(settings: NodeSettings, now: Now) -> Result<Self, String> {
        let NodeSettings { config, identity, seed, hash_key } = settings;
        let names = Names::new(&config.file.renamed_commands)?;
        let (layout, databases) = if config.cluster_enabled {
            (Layout::PerSlot, 1)
        } else {
            (Layout::Single, config.databases as usize)
        };
        let mut rng = Rng::new(seed);
        let primary = config.replica_of.0.as_ref();
        let mut node = Self {
            options: StoreOptions::default(),
            keyspace: Keyspace::new(databases, layout, Hasher::new(hash_key.0, hash_key.1)),
            clients: Clients::default(),
            names,
            effects: Effects::default(),
            stats: Stats::default(),
            watchers: Watchers::default(),
            blocking: Blocking::default(),
            subscribers: Subscribers::default(),
            pauses: Pauses::default(),
            unit: Unit::default(),
            replication: Replication::new(&mut rng, now.monotonic, primary),
            snapshot: None,
            rng,
            cluster: config.cluster_enabled.then(ClusterSide::default),
            migrations: Migrations::default(),
            actions: Vec::new(),
            started_at: now,
            next_client_id: 1,
            batch: crate::plain::Batch::default(),
            recent_command: crate::plain::RecentCommand::default(),
            stopwatch_us: None,
            changes_since_save: 0,
            postponed: Vec::new(),
            own_pushes: OutputBuffer::new(),
            crowded: Vec::new(),
            monitors: Vec::new(),
            slow_log: SlowLog::default(),
            latency: LatencyMonitor::default(),
            persistence: Persistence::new(now),
            aof: Aof::default(),
            functions: Vec::new(),
            shutdown: None,
            shutdown_asked: None,
            targets: Targets::default(),
            memory_peak_bytes: 0,
            memory_at_start_bytes: None,
            next_memory_sample_at: now.monotonic,
            is_loading: false,
            startup_load: None,
            is_housekeeping_paused: false,
            active_expire_enabled: true,
            eviction: crate::eviction::Eviction::default(),
            client_memory: crate::client_memory::ClientMemory::default(),
            own_keys: crate::expiry::OwnKeys::default(),
            next_sample_at: now.monotonic,
            config,
            identity,
        };
        node.configuration_changed();
        Ok(node)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The counters, for what the shell counts.
    pub fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// The data.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Takes over what follows from the configuration.
    pub(crate) fn configuration_changed(&mut self) {
        use shoal_config::{MaxmemoryPolicy, SanitizePayload};
        let config = &self.config;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        self.options = StoreOptions {
            lfu: matches!(
                config.maxmemory_policy,
                MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu
            ),
            own_integers: config.maxmemory_bytes > 0
                && matches!(
                    config.maxmemory_policy,
                    MaxmemoryPolicy::AllkeysLru
                        | MaxmemoryPolicy::AllkeysLfu
                        | MaxmemoryPolicy::VolatileLru
                        | MaxmemoryPolicy::VolatileLfu
                ),
            lfu_log_factor: config.lfu_log_factor,
            lfu_decay_minutes: config.lfu_decay_time_minutes,
            max_string_bytes: size(config.proto_max_bulk_len_bytes),
            rdb_version: config.rdb_version_compat,
            sanitize_payload: config.sanitize_dump_payload != SanitizePayload::No,
            compress: config.rdbcompression,
            lazy_user_del: config.lazyfree_lazy_user_del,
            lazy_user_flush: config.lazyfree_lazy_user_flush,
            lazy_expire: config.lazyfree_lazy_expire,
            lazy_server_del: config.lazyfree_lazy_server_del,
            skip_checksum: self.options.skip_checksum,
            limits: EncodingLimits {
                list_max_listpack_size: config.list_max_listpack_size,
                list_compress_depth: config.list_compress_depth,
                set_max_intset_entries: size(config.set_max_intset_entries),
                set_max_listpack_entries: size(config.set_max_listpack_entries),
                set_max_listpack_value_bytes: size(config.set_max_listpack_value_bytes),
                hash_max_listpack_entries: size(config.hash_max_listpack_entries),
                hash_max_listpack_value_bytes: size(config.hash_max_listpack_value_bytes),
                zset_max_listpack_entries: size(config.zset_max_listpack_entries),
                zset_max_listpack_value_bytes: size(config.zset_max_listpack_value_bytes),
                stream_node_max_bytes: size(config.stream_node_max_bytes),
                stream_node_max_entries: size(config.stream_node_max_entries),
                hll_sparse_max_bytes: size(config.hll_sparse_max_bytes),
                quicklist_packed_threshold_bytes: self.options.limits.quicklist_packed_threshold_bytes,
            },
        };
        self.effects.track_events = config.notify_keyspace_events.0 != 0;
        self.client_limit_changed();
    }

    /// A client has connected.
    ///
    /// # Errors
    /// The error to send before the connection is closed.
    pub fn connect(&mut self, now: Now, identity: Identity) -> Result<Handle, ErrorReply> {
        self.stats.connections += 1;
        if self.clients.len() >= self.config.maxclients as usize {
            self.stats.rejected_connections += 1;
            return Err(ErrorReply::new("ERR max number of clients reached"));
        }
        if self.config.protected_mode && self.config.requirepass.is_empty() && !identity.is_local {
            self.stats.rejected_connections += 1;
            return Err(ErrorReply::new(PROTECTED_MODE));
        }
        let mut session = Session::new(self.next_client_id, identity, now);
        session.is_authenticated = self.config.requirepass.is_empty();
        self.next_client_id += 1;
        Ok(self.clients.insert(session))
    }

    /// Input of a client has arrived; `buffered_bytes` wait to be read as requests.
    pub fn input_arrived(
        &mut self,
        now: Now,
        handle: Handle,
        count: usize,
        buffered_bytes: usize,
        free_bytes: usize,
    ) {
        self.stats.input_bytes += count as u64;
        self.stats.reads += 1;
        if let Some(session) = self.clients.session_mut(handle) {
            session.last_input_at = now.monotonic;
            session.input_bytes = buffered_bytes;
            session.input_free_bytes = free_bytes;
            if session.kind == shoal_session::ClientKind::Replica {
                self.heard_from_replica(now.monotonic, handle);
            } else {
                self.note_client_memory(handle);
            }
        }
    }

    /// What is left of a client's input when its requests have run: bytes that wait, and space held for more.
    #[inline]
    pub fn input_left(&mut self, handle: Handle, buffered_bytes: usize, free_bytes: usize) {
        if let Some(session) = self.clients.session_mut(handle) {
            session.input_bytes = buffered_bytes;
            session.input_free_bytes = free_bytes;
        }
    }

    /// Whether a client's input is read as that of somebody who may run commands.
    pub fn is_authenticated(&self, handle: Handle) -> bool {
        self.clients.session(handle).is_some_and(|session| session.is_authenticated)
    }

    /// Whether a client's further input has to wait.
    pub fn is_waiting(&self, handle: Handle) -> bool {
        self.clients
            .session(handle)
            .is_none_or(|session| session.is_blocked || session.is_postponed || session.close != Close::No)
            || self.replication.held_input == Some(handle)
    }

    /// How a client's connection is to end.
    pub fn close_of(&self, handle: Handle) -> Close {
        self.clients.session(handle).map_or(Close::Now, |session| session.close)
    }

    /// What waits to be sent to a client.
    pub fn output_mut(&mut self, handle: Handle) -> Option<&mut OutputBuffer> {
        self.clients.session_mut(handle).map(|session| &mut session.output)
    }

    /// The input of a client breaks the protocol: it gets this error and is closed.
    pub fn protocol_error(&mut self, handle: Handle, error: shoal_protocol::request::ProtocolError) {
        if let Some(session) = self.clients.session_mut(handle) {
            if error == shoal_protocol::request::ProtocolError::BufferLimit {
                self.stats.query_limit_disconnections += 1;
                session.close = Close::Now;
            } else {
                session.reply().error(&ErrorReply::from(format!("ERR {error}")));
                session.close = Close::AfterReply;
            }
            self.stats.count_error("ERR");
            self.clients.mark_pending(handle);
        }
    }

    /// A connection has ended, by whoever's will.
    pub fn disconnected(&mut self, now: Now, host: &mut dyn Host, handle: Handle) {
        let Some(mut session) = self.clients.remove(handle) else { return };
        self.forget_client_memory(&mut session);
        self.forget_watches(handle, &mut session);
        self.subscribers.remove(handle, &mut session.subscriptions);
        self.postponed.retain(|&other| other != handle);
        self.forget_blocked(handle);
        self.replication.waits.retain(|wait| wait.handle != handle);
        match session.kind {
            ClientKind::Import => self.import_link_lost(now, host, handle),
            ClientKind::Export => self.export_link_lost(now, host, handle),
            _ if self.primary_disconnected(now, host, handle, &session) => {}
            _ => self.forget_peer(now, host, handle, &session),
        }
        self.forget_shutdown_client(handle);
        self.crowded.retain(|&other| other != handle);
        self.monitors.retain(|&other| other != handle);
    }

    pub(crate) fn forget_watches(&mut self, handle: Handle, session: &mut Session) {
        for (database, key) in session.watched.drain(..) {
            self.watchers.remove(database, &key, handle);
        }
        session.watched_expired.clear();
        session.watched_bytes = 0;
        session.is_watch_broken = false;
    }

    /// Notes that a connection still has something to send.
    pub fn mark_pending(&mut self, handle: Handle) {
        self.clients.mark_pending(handle);
    }

    /// The connections that have something to send or are to be closed, since the last call.
    pub fn take_pending(&mut self, handles: &mut Vec<Handle>) {
        self.clients.take_pending(handles);
    }

    /// What is to be done, in this order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Housekeeping; `hz` times a second.
    pub fn tick(&mut self, now: Now, host: &mut dyn Host) {
        if self.pauses.expire(now.monotonic) {
            self.resume_postponed();
        }
        self.note_aof_time(now);
        self.go_on_applying(now, host);
        self.tick_migrations(now, host);
        self.expire_blocked(now, host);
        self.serve_blocked(host);
        if self.is_housekeeping_paused {
            return;
        }
        if now.monotonic >= self.next_sample_at {
            self.next_sample_at = now.monotonic.plus_ms(SAMPLE_INTERVAL_MS);
            self.stats.sample(now.monotonic.as_ms());
        }
        if now.monotonic >= self.next_memory_sample_at {
            self.next_memory_sample_at = now.monotonic.plus_ms(MEMORY_SAMPLE_INTERVAL_MS);
            let used_bytes = host.facts().used_memory_bytes;
            self.note_memory(used_bytes);
        }
        self.close_idle_clients(now);
        self.check_crowded(now, host);
        self.flush_aof(host);
        self.rewrite_if_due(now, host);
        self.save_if_due(now, host);
        self.begin_asked_shutdown(now, host);
        self.continue_shutdown(now, host);
        if !self.is_loading {
            self.replication_tick(now, host);
        }
        self.report_to_cluster(now, host);
        self.free_garbage(host);
    }

    /// When a tick is wanted earlier than `hz` asks for.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let is_due =
            self.can_go_on_applying() || self.shutdown_asked.is_some() && !self.is_housekeeping_paused;
        let due = is_due.then_some(Monotonic(0));
        let waits = self.next_wait_deadline();
        let others = self.pauses.next_deadline().into_iter().chain(self.blocking.next_deadline());
        let migrations = self.migrations.next_deadline();
        waits.into_iter().chain(due).chain(others).chain(migrations).min()
    }

    /// Hands memory that takes long to free to the shell.
    pub fn free_garbage(&mut self, host: &mut dyn Host) {
        if self.keyspace.has_garbage() {
            let garbage = self.keyspace.take_garbage();
            self.stats.lazily_freed_objects += garbage.iter().map(|part| part.objects() as u64).sum::<u64>();
            host.free(garbage);
        }
    }

    /// Lets clients go on whose command was put off, if no pause is in force.
    pub(crate) fn resume_postponed(&mut self) {
        for handle in std::mem::take(&mut self.postponed) {
            if let Some(session) = self.clients.session_mut(handle) {
                session.is_postponed = false;
                self.actions.push(Action::Resume(handle));
            }
        }
    }

    /// Ends a pause.
    pub(crate) fn end_pause(&mut self, reason: PauseReason) {
        if self.pauses.end(reason) {
            self.resume_postponed();
        }
    }

    fn close_idle_clients(&mut self, now: Now) {
        let timeout_ms = u64::from(self.config.timeout_seconds) * 1000;
        if timeout_ms == 0 {
            return;
        }
        let idle: Vec<Handle> = self
            .clients
            .iter()
            .filter(|(_, session)| {
                session.kind == shoal_session::ClientKind::Normal
                    && !session.is_blocked
                    && session.subscriptions.is_empty()
                    && now.monotonic.ms_since(session.last_input_at) > timeout_ms
            })
            .map(|(handle, _)| handle)
            .collect();
        for handle in idle {
            self.close(handle, Close::Now);
        }
    }

    /// Lets a connection end.
    pub(crate) fn close(&mut self, handle: Handle, close: Close) {
        if let Some(session) = self.clients.session_mut(handle) {
            session.close = close;
            self.clients.mark_pending(handle);
        }
    }

    /// Writes a notice to the log.
    #[allow(dead_code)]
    pub(crate) fn notice(host: &mut dyn Host, text: &str) {
        host.log(LogLevel::Notice, text);
    }
}

const PROTECTED_MODE: &str = "DENIED Redis is running in protected mode because protected mode is enabled and no \
password is set for the default user. In this mode connections are only accepted from the loopback interface. If you \
want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable \
protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis \
from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do \
so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by \
editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. \
3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an \
authentication password for the default user. NOTE: You only need to do one of the above things in order for the \
server to start accepting connections from the outside.";
