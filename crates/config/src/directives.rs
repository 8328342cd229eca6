//! The table: one row per directive, and the configuration that the rows make up.
//!
//! A row reads `field: Type = default, "name" / "alias", kind, [FLAGS];`. It becomes a field of [`Config`] and a
//! [`Directive`]. Fields are named after their directive, in this century's words and with the unit last. Rows are
//! in alphabetical order within their section; the sections are those of redis.conf. Names, types, bounds and
//! defaults are those of Redis 7.2; a test compares the defaults with what a real server printed.

use crate::choices::*;
use crate::composite::*;
use crate::kind::{Flags, Kind, any_text};
use crate::load::FileDirectives;
use crate::value::{RewrittenLine, Source, Value};

mod checks;

/// The largest value of C's `int`.
const INT: i128 = i32::MAX as i128;
/// The largest value of C's `unsigned int`.
const UNSIGNED: i128 = u32::MAX as i128;
/// The largest value of C's `long`.
const LONG: i128 = i64::MAX as i128;
/// The largest value of C's `unsigned long long`.
const UNSIGNED_LONG: i128 = u64::MAX as i128;

/// Gives the directive's field new arguments.
type Assign = fn(&mut Config, &Kind, &[Vec<u8>], Source) -> Result<(), String>;

/// One directive.
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// An older name, which works everywhere but is never written.
    pub alias: Option<&'static str>,
    /// The type of its value.
    pub kind: Kind,
    /// Its properties.
    pub flags: Flags,
    /// What it does, in a sentence or two.
    pub description: &'static str,
    pub(crate) assign: Assign,
    pub(crate) show: fn(&Config, &Kind) -> Vec<u8>,
    pub(crate) rewrite: fn(&Config, &str, &Config, &Kind) -> Vec<RewrittenLine>,
    pub(crate) is_equal: fn(&Config, &Config) -> bool,
}

macro_rules! directives {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr,
        $name:literal $(/ $alias:literal)?, $kind:expr, [$($flag:ident)*];)+) => {
        /// All settings of a server, one field per directive.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)+
            /// What stands in files only: renamed commands, users, Sentinel's lines.
            pub file: FileDirectives,
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($field: $default,)+ file: FileDirectives::default() }
            }
        }

        pub(crate) static DIRECTIVES: &[Directive] = &[$(Directive {
            name: $name,
            alias: first_of(&[$($alias)?]),
            kind: $kind,
            flags: Flags::NONE $(.with(Flags::$flag))*,
            description: concat!($($doc),+).trim_ascii(),
            assign: |config, kind, arguments, source| config.$field.assign(kind, arguments, source),
            show: |config, kind| config.$field.show(kind),
            rewrite: |config, name, default, kind| config.$field.rewrite(name, &default.$field, kind),
            is_equal: |left, right| left.$field == right.$field,
        },)+];
    };
}

/// The alias of a row, if it has one.
const fn first_of(aliases: &[&'static str]) -> Option<&'static str> {
    match aliases {
        [first, ..] => Some(first),
        [] => None,
    }
}

const fn integer(lower: i128, upper: i128) -> Kind {
    Kind::Integer { lower, upper }
}

const fn memory(lower: i128, upper: i128) -> Kind {
    Kind::Memory { lower, upper }
}

/// A path, password or name that is not set when it is empty.
const OPTIONAL: Kind = Kind::OptionalText(any_text);
/// A text that may be empty.
const TEXT: Kind = Kind::Text(any_text);

directives! {
    // Network
    /// The addresses to listen on.
    bind: BindAddresses = BindAddresses(vec!["*".into(), "-::*".into()]), "bind", Kind::Special("up to 16 addresses"), [MULTIPLE];
    /// The address that outgoing connections leave from.
    bind_source_address: String = String::new(), "bind-source-addr", OPTIONAL, [];
    /// The TCP port; 0 for none.
    port: u16 = 6379, "port", integer(0, 65535), [];
    /// Whether clients from other machines are refused while there is no password.
    protected_mode: bool = true, "protected-mode", Kind::Bool, [];
    /// The mark set on all sockets; 0 for none.
    socket_mark_id: u32 = 0, "socket-mark-id", integer(0, UNSIGNED), [IMMUTABLE WITHOUT_EFFECT];
    /// How many connections may wait to be accepted.
    tcp_backlog: u32 = 511, "tcp-backlog", integer(0, INT), [IMMUTABLE];
    /// Seconds of silence after which a connection is probed; 0 for never.
    tcp_keepalive_seconds: u32 = 300, "tcp-keepalive", integer(0, INT), [];
    /// Seconds after which an idle client is disconnected; 0 for never.
    timeout_seconds: u32 = 0, "timeout", integer(0, INT), [];
    /// The path of the Unix socket, if there is one.
    unixsocket: String = String::new(), "unixsocket", OPTIONAL, [IMMUTABLE];
    /// The permissions of the Unix socket; 0 leaves them to the umask.
    unixsocketperm: u32 = 0, "unixsocketperm", Kind::Octal { lower: 0, upper: 0o777 }, [IMMUTABLE];
    // TLS
    /// Whether clients must show a certificate.
    tls_auth_clients: AuthClients = AuthClients::Yes, "tls-auth-clients", Kind::Choice(AuthClients::WORDS), [WITHOUT_EFFECT];
    /// A directory of certificates of authorities.
    tls_ca_cert_dir: String = String::new(), "tls-ca-cert-dir", OPTIONAL, [VOLATILE WITHOUT_EFFECT];
    /// A file of certificates of authorities.
    tls_ca_cert_file: String = String::new(), "tls-ca-cert-file", OPTIONAL, [VOLATILE WITHOUT_EFFECT];
    /// The server's certificate.
    tls_cert_file: String = String::new(), "tls-cert-file", OPTIONAL, [VOLATILE WITHOUT_EFFECT];
    /// Ciphers of TLS 1.2 and older.
    tls_ciphers: String = String::new(), "tls-ciphers", OPTIONAL, [WITHOUT_EFFECT];
    /// Cipher suites of TLS 1.3.
    tls_ciphersuites: String = String::new(), "tls-ciphersuites", OPTIONAL, [WITHOUT_EFFECT];
    /// The certificate shown on outgoing connections.
    tls_client_cert_file: String = String::new(), "tls-client-cert-file", OPTIONAL, [VOLATILE WITHOUT_EFFECT];
    /// The key of the certificate shown on outgoing connections.
    tls_client_key_file: String = String::new(), "tls-client-key-file", OPTIONAL, [VOLATILE WITHOUT_EFFECT];
    /// The password of that key.
    tls_client_key_file_pass: String = String::new(), "tls-client-key-file-pass", OPTIONAL, [SENSITIVE WITHOUT_EFFECT];
    /// Whether the cluster bus uses TLS.
    tls_cluster: bool = false, "tls-cluster", Kind::Bool, [WITHOUT_EFFECT];
    /// Parameters of the Diffie-Hellman exchange.
    tls_dh_params_file: String = String::new(), "tls-dh-params-file", OPTIONAL, [VOLATILE WITHOUT_EFFECT];
    /// The key of the server's certificate.
    tls_key_file: String = String::new(), "tls-key-file", OPTIONAL, [VOLATILE WITHOUT_EFFECT];
    /// The password of that key.
    tls_key_file_pass: String = String::new(), "tls-key-file-pass", OPTIONAL, [SENSITIVE WITHOUT_EFFECT];
    /// The port for TLS connections; 0 for none.
    tls_port: u16 = 0, "tls-port", integer(0, 65535), [WITHOUT_EFFECT];
    /// Whether the server's order of ciphers counts.
    tls_prefer_server_ciphers: bool = false, "tls-prefer-server-ciphers", Kind::Bool, [WITHOUT_EFFECT];
    /// The versions of TLS that are spoken.
    tls_protocols: String = String::new(), "tls-protocols", OPTIONAL, [WITHOUT_EFFECT];
    /// Whether the link to the primary uses TLS.
    tls_replication: bool = false, "tls-replication", Kind::Bool, [WITHOUT_EFFECT];
    /// How many TLS sessions are kept for resumption.
    tls_session_cache_size: u32 = 20480, "tls-session-cache-size", integer(0, INT), [WITHOUT_EFFECT];
    /// Seconds for which a TLS session can be resumed.
    tls_session_cache_timeout_seconds: u32 = 300, "tls-session-cache-timeout", integer(0, INT), [WITHOUT_EFFECT];
    /// Whether TLS sessions can be resumed.
    tls_session_caching: bool = true, "tls-session-caching", Kind::Bool, [WITHOUT_EFFECT];
    // General
    /// Whether the logo is shown even if the log is no terminal.
    always_show_logo: bool = false, "always-show-logo", Kind::Bool, [IMMUTABLE];
    /// Whether a crash is reported in the log.
    crash_log_enabled: bool = true, "crash-log-enabled", Kind::Bool, [];
    /// Whether a crash report ends with a test of the memory.
    crash_memcheck_enabled: bool = true, "crash-memcheck-enabled", Kind::Bool, [WITHOUT_EFFECT];
    /// Whether the server runs in the background.
    daemonize: bool = false, "daemonize", Kind::Bool, [IMMUTABLE];
    /// The number of databases.
    databases: u32 = 16, "databases", integer(1, INT), [IMMUTABLE];
    /// Whether transparent huge pages are switched off for the process.
    disable_thp: bool = true, "disable-thp", Kind::Bool, [IMMUTABLE];
    /// Who may use DEBUG.
    enable_debug_command: ProtectedAction = ProtectedAction::No, "enable-debug-command", Kind::Choice(ProtectedAction::WORDS), [IMMUTABLE];
    /// Who may use MODULE.
    enable_module_command: ProtectedAction = ProtectedAction::No, "enable-module-command", Kind::Choice(ProtectedAction::WORDS), [IMMUTABLE];
    /// Who may change protected directives.
    enable_protected_configs: ProtectedAction = ProtectedAction::No, "enable-protected-configs", Kind::Choice(ProtectedAction::WORDS), [IMMUTABLE];
    /// Warnings at the start that are not to stop the server.
    ignore_warnings: String = String::new(), "ignore-warnings", TEXT, [WITHOUT_EFFECT];
    /// The collation of SORT's ALPHA.
    locale_collate: String = String::new(), "locale-collate", TEXT, [WITHOUT_EFFECT];
    /// The log file; empty for the standard output.
    logfile: String = String::new(), "logfile", TEXT, [IMMUTABLE];
    /// The least important message that is logged.
    loglevel: LogLevel = LogLevel::Notice, "loglevel", Kind::Choice(LogLevel::WORDS), [];
    /// How the kernel's out-of-memory score is set.
    oom_score_adj: OomScoreAdjust = OomScoreAdjust::No, "oom-score-adj", Kind::Choice(OomScoreAdjust::WORDS), [];
    /// The out-of-memory scores of a primary, a replica and a writing child.
    oom_score_adj_values: OomScoreValues = OomScoreValues { primary: 0, replica: 200, child: 800 }, "oom-score-adj-values", Kind::Special("three numbers from -2000 to 2000"), [MULTIPLE];
    /// The file that holds the process id.
    pidfile: String = String::new(), "pidfile", OPTIONAL, [IMMUTABLE];
    /// The form of the process title.
    proc_title_template: String = "{title} {listen-addr} {server-mode}".into(), "proc-title-template", Kind::Text(checks::proc_title_template), [];
    /// Whether the process title is set.
    set_proc_title: bool = true, "set-proc-title", Kind::Bool, [IMMUTABLE];
    /// What SIGINT does.
    shutdown_on_sigint: ShutdownOptions = ShutdownOptions::default(), "shutdown-on-sigint", Kind::Choice(ShutdownOptions::WORDS), [MULTIPLE];
    /// What SIGTERM does.
    shutdown_on_sigterm: ShutdownOptions = ShutdownOptions::default(), "shutdown-on-sigterm", Kind::Choice(ShutdownOptions::WORDS), [MULTIPLE];
    /// Seconds for which a stopping server waits for its replicas.
    shutdown_timeout_seconds: u32 = 10, "shutdown-timeout", integer(0, INT), [];
    /// The supervisor that started the server.
    supervised: Supervised = Supervised::No, "supervised", Kind::Choice(Supervised::WORDS), [IMMUTABLE];
    /// Whether messages go to syslog too.
    syslog_enabled: bool = false, "syslog-enabled", Kind::Bool, [IMMUTABLE];
    /// The facility of these messages.
    syslog_facility: SyslogFacility = SyslogFacility::Local0, "syslog-facility", Kind::Choice(SyslogFacility::WORDS), [IMMUTABLE];
    /// The name under which syslog shows them.
    syslog_ident: String = "redis".into(), "syslog-ident", TEXT, [IMMUTABLE];
    /// Whether a failed assertion leaves by exit rather than by a signal.
    use_exit_on_panic: bool = false, "use-exit-on-panic", Kind::Bool, [HIDDEN];
    /// Milliseconds after which a hanging server is reported; 0 for never.
    watchdog_period_ms: u32 = 0, "watchdog-period", integer(0, INT), [HIDDEN WITHOUT_EFFECT];
    // Snapshots
    /// The name of the snapshot file.
    dbfilename: String = "dump.rdb".into(), "dbfilename", Kind::Text(checks::snapshot_file_name), [PROTECTED];
    /// Where data files are; also the working directory.
    dir: Directory = Directory(String::new()), "dir", Kind::Special("a directory"), [PROTECTED DENIED_WHILE_LOADING];
    /// Microseconds to wait per key while loading, for tests.
    key_load_delay_us: i32 = 0, "key-load-delay", integer(-INT - 1, INT), [HIDDEN];
    /// Bytes after which a loading server serves its clients.
    loading_process_events_interval_bytes: u32 = 2097152, "loading-process-events-interval-bytes", integer(1024, INT), [HIDDEN];
    /// Whether a replica without persistence deletes snapshots once they are synchronised.
    rdb_del_sync_files: bool = false, "rdb-del-sync-files", Kind::Bool, [];
    /// Microseconds to wait per key while saving, for tests.
    rdb_key_save_delay_us: i32 = 0, "rdb-key-save-delay", integer(-INT - 1, INT), [HIDDEN];
    /// Whether a growing snapshot is flushed to disk in steps.
    rdb_save_incremental_fsync: bool = true, "rdb-save-incremental-fsync", Kind::Bool, [];
    /// The RDB version of everything that leaves the server: 11 as Redis 7.2, or 10, which Redis 7.0 reads.
    /// Shoal's own.
    rdb_version_compat: u16 = 11, "rdb-version-compat", integer(10, 11), [];
    /// Whether snapshots end with a checksum.
    rdbchecksum: bool = true, "rdbchecksum", Kind::Bool, [IMMUTABLE];
    /// Whether strings in snapshots are compressed.
    rdbcompression: bool = true, "rdbcompression", Kind::Bool, [];
    /// Whether incoming serialized values are checked in depth.
    sanitize_dump_payload: SanitizePayload = SanitizePayload::No, "sanitize-dump-payload", Kind::Choice(SanitizePayload::WORDS), [];
    /// When snapshots are made by themselves.
    save: SavePoints = SavePoints(vec![SavePoint { seconds: 3600, changes: 1 }, SavePoint { seconds: 300, changes: 100 }, SavePoint { seconds: 60, changes: 10000 }]), "save", Kind::Special("pairs of seconds and changes"), [MULTIPLE];
    /// Whether writes are refused after a snapshot failed.
    stop_writes_on_bgsave_error: bool = true, "stop-writes-on-bgsave-error", Kind::Bool, [];
    // Replication
    /// Whether the snapshot of a full synchronisation may come on a connection of its own. Both sides have to want it.
    dual_channel_replication_enabled: bool = false, "dual-channel-replication-enabled", Kind::Bool, [];
    /// The password that a replica shows its primary.
    primary_auth: Vec<u8> = Vec::new(), "masterauth", OPTIONAL, [SENSITIVE];
    /// The user as which a replica logs in to its primary.
    primary_user: Vec<u8> = Vec::new(), "masteruser", OPTIONAL, [SENSITIVE];
    /// Seconds within which a replica must have answered to count for `min-replicas-to-write`.
    min_replicas_max_lag_seconds: u32 = 10, "min-replicas-max-lag" / "min-slaves-max-lag", integer(0, INT), [];
    /// How many replicas must be connected for writes to be accepted.
    min_replicas_to_write: u32 = 0, "min-replicas-to-write" / "min-slaves-to-write", integer(0, INT), [];
    /// What a replica does when a command of its primary fails.
    propagation_error_behavior: PropagationErrorBehavior = PropagationErrorBehavior::Ignore, "propagation-error-behavior", Kind::Choice(PropagationErrorBehavior::WORDS), [];
    /// The size of the replication backlog.
    repl_backlog_size_bytes: u64 = 1048576, "repl-backlog-size", memory(1, LONG), [];
    /// Seconds after the last replica left until the backlog is freed; 0 for never.
    repl_backlog_ttl_seconds: u64 = 3600, "repl-backlog-ttl", integer(0, LONG), [];
    /// Whether small packets to replicas are held back to be joined.
    repl_disable_tcp_nodelay: bool = false, "repl-disable-tcp-nodelay", Kind::Bool, [];
    /// How a replica loads a snapshot that arrives over the network.
    repl_diskless_load: DisklessLoad = DisklessLoad::Disabled, "repl-diskless-load", Kind::Choice(DisklessLoad::WORDS), [DENIED_WHILE_LOADING];
    /// Whether snapshots for replicas go straight to the network.
    repl_diskless_sync: bool = true, "repl-diskless-sync", Kind::Bool, [];
    /// Seconds for which a diskless transfer waits for further replicas.
    repl_diskless_sync_delay_seconds: u32 = 5, "repl-diskless-sync-delay", integer(0, INT), [];
    /// How many waiting replicas start a diskless transfer at once; 0 for no such number.
    repl_diskless_sync_max_replicas: u32 = 0, "repl-diskless-sync-max-replicas", integer(0, INT), [];
    /// Seconds between a primary's pings.
    repl_ping_replica_period_seconds: u32 = 10, "repl-ping-replica-period" / "repl-ping-slave-period", integer(1, INT), [];
    /// Seconds of silence after which a replication link is lost.
    repl_timeout_seconds: u32 = 60, "repl-timeout", integer(1, INT), [];
    /// The address that a replica gives its primary for others.
    replica_announce_ip: String = String::new(), "replica-announce-ip" / "slave-announce-ip", OPTIONAL, [];
    /// The port that a replica gives its primary for others; 0 for its own.
    replica_announce_port: u16 = 0, "replica-announce-port" / "slave-announce-port", integer(0, 65535), [];
    /// Whether Sentinel lists the replica.
    replica_announced: bool = true, "replica-announced", Kind::Bool, [];
    /// Whether a replica goes on when it cannot write its file.
    replica_ignore_disk_write_errors: bool = false, "replica-ignore-disk-write-errors", Kind::Bool, [];
    /// Whether a replica leaves eviction to its primary.
    replica_ignore_maxmemory: bool = true, "replica-ignore-maxmemory" / "slave-ignore-maxmemory", Kind::Bool, [];
    /// Whether a replica frees its old data in the background before a full synchronisation.
    replica_lazy_flush: bool = false, "replica-lazy-flush" / "slave-lazy-flush", Kind::Bool, [];
    /// The rank for promotion, lower first; 0 for never by itself. Sentinel heeds it, and replicas in a cluster that are all Shoal.
    replica_priority: u32 = 100, "replica-priority" / "slave-priority", integer(0, INT), [];
    /// Whether a replica refuses writes.
    replica_read_only: bool = true, "replica-read-only" / "slave-read-only", Kind::Bool, [];
    /// Whether a replica answers while its link is down.
    replica_serve_stale_data: bool = true, "replica-serve-stale-data" / "slave-serve-stale-data", Kind::Bool, [];
    /// The primary to follow.
    replica_of: ReplicaOf = ReplicaOf(None), "replicaof" / "slaveof", Kind::Special("host and port, or no one"), [IMMUTABLE MULTIPLE];
    // Security
    /// Which channels a new user may use.
    acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels, "acl-pubsub-default", Kind::Choice(AclPubsubDefault::WORDS), [];
    /// The file of users.
    aclfile: String = String::new(), "aclfile", TEXT, [IMMUTABLE];
    /// The length of the log of refused commands.
    acllog_max_len: u64 = 128, "acllog-max-len", integer(0, LONG), [];
    /// The password of the default user.
    requirepass: Vec<u8> = Vec::new(), "requirepass", OPTIONAL, [SENSITIVE];
    // Clients
    /// The most bytes that a client may send ahead.
    client_query_buffer_limit_bytes: u64 = 1073741824, "client-query-buffer-limit", memory(1048576, LONG), [];
    /// How much output may wait for a client.
    client_output_buffer_limit: OutputBufferLimits = OutputBufferLimits {
        normal: OutputBufferLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
        replica: OutputBufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
        pubsub: OutputBufferLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_seconds: 60 },
    }, "client-output-buffer-limit", Kind::Special("class, hard limit, soft limit and seconds, for each class"), [MULTIPLE];
    /// The most clients at a time.
    maxclients: u32 = 10000, "maxclients", integer(1, UNSIGNED), [];
    /// The most memory of all clients together.
    maxmemory_clients: MemoryLimit = MemoryLimit::Bytes(0), "maxmemory-clients", Kind::MemoryOrPercent, [];
    /// The longest argument of a command.
    proto_max_bulk_len_bytes: u64 = 536870912, "proto-max-bulk-len", memory(1048576, LONG), [];
    /// How many keys client-side caching may follow; 0 for any number.
    tracking_table_max_keys: u64 = 1000000, "tracking-table-max-keys", integer(0, LONG), [];
    // Memory
    /// The least share of CPU time for defragmentation, in percent.
    active_defrag_cycle_min: u32 = 1, "active-defrag-cycle-min", integer(1, 99), [WITHOUT_EFFECT];
    /// The largest share of CPU time for defragmentation, in percent.
    active_defrag_cycle_max: u32 = 25, "active-defrag-cycle-max", integer(1, 99), [WITHOUT_EFFECT];
    /// Waste below which nothing is defragmented.
    active_defrag_ignore_bytes: u64 = 104857600, "active-defrag-ignore-bytes", memory(1, LONG), [WITHOUT_EFFECT];
    /// Elements beyond which a value is defragmented in steps.
    active_defrag_max_scan_fields: u64 = 1000, "active-defrag-max-scan-fields", integer(1, LONG), [WITHOUT_EFFECT];
    /// Fragmentation in percent at which defragmentation starts.
    active_defrag_threshold_lower: u32 = 10, "active-defrag-threshold-lower", integer(0, 1000), [WITHOUT_EFFECT];
    /// Fragmentation in percent at which it runs at full speed.
    active_defrag_threshold_upper: u32 = 100, "active-defrag-threshold-upper", integer(0, 1000), [WITHOUT_EFFECT];
    /// Whether memory is defragmented.
    activedefrag: bool = false, "activedefrag", Kind::Bool, [WITHOUT_EFFECT];
    /// How hard expired keys are searched for, 1 to 10.
    active_expire_effort: u32 = 1, "active-expire-effort", integer(1, 10), [];
    /// Whether jemalloc frees in the background.
    jemalloc_bg_thread: bool = true, "jemalloc-bg-thread", Kind::Bool, [WITHOUT_EFFECT];
    /// Whether evicted values are freed in the background.
    lazyfree_lazy_eviction: bool = false, "lazyfree-lazy-eviction", Kind::Bool, [];
    /// Whether expired values are freed in the background.
    lazyfree_lazy_expire: bool = false, "lazyfree-lazy-expire", Kind::Bool, [];
    /// Whether overwritten values are freed in the background.
    lazyfree_lazy_server_del: bool = false, "lazyfree-lazy-server-del", Kind::Bool, [];
    /// Whether DEL frees as UNLINK does.
    lazyfree_lazy_user_del: bool = false, "lazyfree-lazy-user-del", Kind::Bool, [];
    /// Whether FLUSHALL and FLUSHDB free in the background by default.
    lazyfree_lazy_user_flush: bool = false, "lazyfree-lazy-user-flush", Kind::Bool, [];
    /// Minutes after which a key's use counter is lowered.
    lfu_decay_time_minutes: u32 = 1, "lfu-decay-time", integer(0, INT), [];
    /// How slowly a key's use counter grows.
    lfu_log_factor: u32 = 10, "lfu-log-factor", integer(0, INT), [];
    /// The most memory; 0 for no limit.
    maxmemory_bytes: u64 = 0, "maxmemory", memory(0, UNSIGNED_LONG), [];
    /// How long one command may evict, 0 to 100.
    maxmemory_eviction_tenacity: u32 = 10, "maxmemory-eviction-tenacity", integer(0, 100), [];
    /// What is evicted when the memory is used up.
    maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction, "maxmemory-policy", Kind::Choice(MaxmemoryPolicy::WORDS), [];
    /// How many keys are compared to find one to evict.
    maxmemory_samples: u32 = 5, "maxmemory-samples", integer(1, INT), [];
    // Threads and rhythm
    /// Whether tables are rehashed between commands.
    activerehashing: bool = true, "activerehashing", Kind::Bool, [WITHOUT_EFFECT];
    /// Processors for rewriting the append-only file.
    aof_rewrite_cpulist: String = String::new(), "aof_rewrite_cpulist", OPTIONAL, [IMMUTABLE WITHOUT_EFFECT];
    /// Processors for saving snapshots.
    bgsave_cpulist: String = String::new(), "bgsave_cpulist", OPTIONAL, [IMMUTABLE WITHOUT_EFFECT];
    /// Processors for background threads.
    bio_cpulist: String = String::new(), "bio_cpulist", OPTIONAL, [IMMUTABLE WITHOUT_EFFECT];
    /// Whether the rhythm quickens with many clients.
    dynamic_hz: bool = true, "dynamic-hz", Kind::Bool, [];
    /// How often per second housekeeping runs, kept between 1 and 500.
    hz: u32 = 10, "hz", integer(0, INT), [];
    /// How many threads read and write sockets.
    io_threads: u32 = 1, "io-threads", integer(1, 128), [IMMUTABLE WITHOUT_EFFECT];
    /// Whether these threads read too.
    io_threads_do_reads: bool = false, "io-threads-do-reads", Kind::Bool, [IMMUTABLE WITHOUT_EFFECT];
    /// Processors for the server's main thread.
    server_cpulist: String = String::new(), "server_cpulist", OPTIONAL, [IMMUTABLE WITHOUT_EFFECT];
    // Append-only file
    /// Whether files of former rewrites are kept, for tests.
    aof_disable_auto_gc: bool = false, "aof-disable-auto-gc", Kind::Bool, [HIDDEN];
    /// Whether a torn end is cut off on loading.
    aof_load_truncated: bool = true, "aof-load-truncated", Kind::Bool, [];
    /// Whether a growing rewrite is flushed to disk in steps.
    aof_rewrite_incremental_fsync: bool = true, "aof-rewrite-incremental-fsync", Kind::Bool, [];
    /// Whether times are noted in the file.
    aof_timestamp_enabled: bool = false, "aof-timestamp-enabled", Kind::Bool, [];
    /// Whether a rewrite begins with a snapshot.
    aof_use_rdb_preamble: bool = true, "aof-use-rdb-preamble", Kind::Bool, [];
    /// The directory of append-only files.
    appenddirname: String = "appendonlydir".into(), "appenddirname", Kind::Text(checks::append_directory_name), [IMMUTABLE];
    /// The base name of append-only files.
    appendfilename: String = "appendonly.aof".into(), "appendfilename", Kind::Text(checks::append_file_name), [IMMUTABLE];
    /// When the append-only file is flushed to disk.
    appendfsync: AppendFsync = AppendFsync::EverySecond, "appendfsync", Kind::Choice(AppendFsync::WORDS), [];
    /// Whether writes go to an append-only file.
    appendonly: bool = false, "appendonly", Kind::Bool, [DENIED_WHILE_LOADING];
    /// The size below which no rewrite starts by itself.
    auto_aof_rewrite_min_size_bytes: u64 = 67108864, "auto-aof-rewrite-min-size", memory(0, LONG), [];
    /// The growth in percent at which a rewrite starts by itself; 0 for never.
    auto_aof_rewrite_percentage: u32 = 100, "auto-aof-rewrite-percentage", integer(0, INT), [];
    /// Whether flushing pauses while a child writes.
    no_appendfsync_on_rewrite: bool = false, "no-appendfsync-on-rewrite", Kind::Bool, [];
    // Scripts
    /// Milliseconds after which a running script lets other clients hear BUSY; 0 for never.
    busy_reply_threshold_ms: u64 = 5000, "busy-reply-threshold" / "lua-time-limit", integer(0, LONG), [];
    /// Whether scripts may use functions that were removed from the sandbox.
    lua_enable_deprecated_api: bool = false, "lua-enable-deprecated-api", Kind::Bool, [IMMUTABLE HIDDEN WITHOUT_EFFECT];
    // Cluster
    /// Whether sharded channels work while the cluster is down.
    cluster_allow_pubsubshard_when_down: bool = true, "cluster-allow-pubsubshard-when-down", Kind::Bool, [];
    /// Whether reads work while the cluster is down.
    cluster_allow_reads_when_down: bool = false, "cluster-allow-reads-when-down", Kind::Bool, [];
    /// Whether CLUSTER SLOT-STATS counts time and bytes (Valkey 8).
    cluster_slot_stats_enabled: bool = false, "cluster-slot-stats-enabled", Kind::Bool, [];
    /// Whether replicas move to primaries that have none.
    cluster_allow_replica_migration: bool = true, "cluster-allow-replica-migration", Kind::Bool, [];
    /// The bus port given to other nodes; 0 for its own.
    cluster_announce_bus_port: u16 = 0, "cluster-announce-bus-port", integer(0, 65535), [];
    /// The address given to clients that are connected by IPv4, if it is not the one given to nodes (Valkey 8).
    cluster_announce_client_ipv4: String = String::new(), "cluster-announce-client-ipv4", Kind::OptionalText(checks::ipv4), [];
    /// The address given to clients that are connected by IPv6, if it is not the one given to nodes (Valkey 8).
    cluster_announce_client_ipv6: String = String::new(), "cluster-announce-client-ipv6", Kind::OptionalText(checks::ipv6), [];
    /// The port given to clients; 0 for the one given to nodes (Valkey 9).
    cluster_announce_client_port: u16 = 0, "cluster-announce-client-port", integer(0, 65535), [];
    /// The TLS port given to clients; 0 for the one given to nodes (Valkey 9).
    cluster_announce_client_tls_port: u16 = 0, "cluster-announce-client-tls-port", integer(0, 65535), [];
    /// The host name given to clients.
    cluster_announce_hostname: String = String::new(), "cluster-announce-hostname", Kind::OptionalText(checks::host_name), [];
    /// A name for people, shown in the logs of the cluster.
    cluster_announce_human_nodename: String = String::new(), "cluster-announce-human-nodename", Kind::OptionalText(checks::human_node_name), [];
    /// The address given to other nodes.
    cluster_announce_ip: String = String::new(), "cluster-announce-ip", OPTIONAL, [];
    /// The port given to other nodes; 0 for its own.
    cluster_announce_port: u16 = 0, "cluster-announce-port", integer(0, 65535), [];
    /// The TLS port given to other nodes; 0 for its own.
    cluster_announce_tls_port: u16 = 0, "cluster-announce-tls-port", integer(0, 65535), [];
    /// The file in which the node keeps what it knows of the cluster.
    cluster_config_file: String = "nodes.conf".into(), "cluster-config-file", TEXT, [IMMUTABLE];
    /// Whether the server is a node of a cluster.
    cluster_enabled: bool = false, "cluster-enabled", Kind::Bool, [IMMUTABLE];
    /// The most bytes that may wait on a bus link; 0 for no limit.
    cluster_link_sendbuf_limit_bytes: u64 = 0, "cluster-link-sendbuf-limit", memory(0, UNSIGNED_LONG), [];
    /// Whether the death of a primary's process is noticed at once, and not after node-timeout only. Shoal's own.
    cluster_fast_failure_detection: bool = true, "cluster-fast-failure-detection", Kind::Bool, [];
    /// Whether a primary that is told to end by SIGTERM asks its best replica to take over first. Shoal's own.
    cluster_handover_on_shutdown: bool = true, "cluster-handover-on-shutdown", Kind::Bool, [];
    /// How many replicas a primary keeps when one of them moves away.
    cluster_migration_barrier: u32 = 1, "cluster-migration-barrier", integer(0, INT), [];
    /// Milliseconds of silence after which a node is suspected.
    cluster_node_timeout_ms: u64 = 15000, "cluster-node-timeout", integer(0, LONG), [];
    /// Milliseconds between the pings of a random node.
    cluster_ping_interval_ms: u32 = 1000, "cluster-ping-interval", integer(0, INT), [HIDDEN];
    /// The bus port; 0 for the client port and 10000.
    cluster_port: u16 = 0, "cluster-port", integer(0, 65535), [IMMUTABLE];
    /// What clients are told a node is called.
    cluster_preferred_endpoint_type: EndpointType = EndpointType::Ip, "cluster-preferred-endpoint-type", Kind::Choice(EndpointType::WORDS), [];
    /// Whether this replica never takes its primary's place by itself.
    cluster_replica_no_failover: bool = false, "cluster-replica-no-failover" / "cluster-slave-no-failover", Kind::Bool, [];
    /// How old a replica's data may be for a failover, in node timeouts; 0 for any age.
    cluster_replica_validity_factor: u32 = 10, "cluster-replica-validity-factor" / "cluster-slave-validity-factor", integer(0, INT), [];
    /// How many migrations of slots that are over CLUSTER GETSLOTMIGRATIONS shows.
    cluster_slot_migration_log_max_len: u32 = 1000, "cluster-slot-migration-log-max-len", integer(0, INT), [];
    /// How many bytes a second a migration of slots sends while it sends the keys; 0 for as many as it can.
    cluster_slot_migration_max_rate_bytes: u64 = 0, "cluster-slot-migration-max-rate", memory(0, UNSIGNED_LONG), [];
    /// Whether one uncovered slot stops the whole cluster.
    cluster_require_full_coverage: bool = true, "cluster-require-full-coverage", Kind::Bool, [];
    // Observation
    /// Milliseconds from which an event is recorded by LATENCY; 0 for none.
    latency_monitor_threshold_ms: u64 = 0, "latency-monitor-threshold", integer(0, LONG), [];
    /// Whether the latency of each command is kept.
    latency_tracking: bool = true, "latency-tracking", Kind::Bool, [];
    /// The percentiles that INFO shows.
    latency_tracking_info_percentiles: Percentiles = Percentiles(vec![50.0, 99.0, 99.9]), "latency-tracking-info-percentiles", Kind::Special("numbers from 0 to 100"), [MULTIPLE];
    /// Which changes of keys are published.
    notify_keyspace_events: KeyspaceEvents = KeyspaceEvents(0), "notify-keyspace-events", Kind::Special("letters of Ag$lshzxeKEtmdn"), [];
    /// Microseconds from which a command is logged as slow; -1 for none.
    slowlog_log_slower_than_us: i64 = 10000, "slowlog-log-slower-than", integer(-1, LONG), [];
    /// The length of the slow log.
    slowlog_max_len: u64 = 128, "slowlog-max-len", integer(0, LONG), [];
    // Encodings
    /// The most fields of a hash in a listpack.
    hash_max_listpack_entries: u64 = 512, "hash-max-listpack-entries" / "hash-max-ziplist-entries", integer(0, LONG), [];
    /// The longest element of a hash in a listpack.
    hash_max_listpack_value_bytes: u64 = 64, "hash-max-listpack-value" / "hash-max-ziplist-value", memory(0, LONG), [];
    /// The largest HyperLogLog in its sparse form.
    hll_sparse_max_bytes: u64 = 3000, "hll-sparse-max-bytes", memory(0, LONG), [];
    /// How many nodes at each end of a list stay uncompressed; 0 for no compression.
    list_compress_depth: u32 = 0, "list-compress-depth", integer(0, INT), [];
    /// The size of a list's node: elements, or a class of bytes if negative.
    list_max_listpack_size: i32 = -2, "list-max-listpack-size" / "list-max-ziplist-size", integer(-INT - 1, INT), [];
    /// The most numbers of a set in an intset.
    set_max_intset_entries: u64 = 512, "set-max-intset-entries", integer(0, LONG), [];
    /// The most members of a set in a listpack.
    set_max_listpack_entries: u64 = 128, "set-max-listpack-entries", integer(0, LONG), [];
    /// The longest member of a set in a listpack.
    set_max_listpack_value_bytes: u64 = 64, "set-max-listpack-value", memory(0, LONG), [];
    /// The largest node of a stream; 0 for any size.
    stream_node_max_bytes: u64 = 4096, "stream-node-max-bytes", memory(0, LONG), [];
    /// The most entries of a stream's node; 0 for any number.
    stream_node_max_entries: u64 = 100, "stream-node-max-entries", integer(0, LONG), [];
    /// The most members of a sorted set in a listpack.
    zset_max_listpack_entries: u64 = 128, "zset-max-listpack-entries" / "zset-max-ziplist-entries", integer(0, LONG), [];
    /// The longest member of a sorted set in a listpack.
    zset_max_listpack_value_bytes: u64 = 64, "zset-max-listpack-value" / "zset-max-ziplist-value", memory(0, LONG), [];
}
