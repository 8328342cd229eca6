//! From a configured process to a serving one, and back to a clean end.

use crate::check;
use crate::log_line;
use crate::logging;
use crate::process::signals::{Signals, StopSignal};
use crate::process::{system, title};
use crate::server::startup::{self, Prepared};
use shoal_cluster::nodes_conf::NodesConf;
use shoal_config::{Change, Config, LogLevel, Mode, SetError, ShutdownOptions};
use shoal_machine::Rng;
use shoal_node::{Node, NodeIdentity, NodeSettings, ShutdownRequest};
use shoal_transport::nodes_file;
use shoal_transport::{
    BusSettings, Clock, Listeners, LoadFailure, Log, Server, ServerSettings, SharedDisk, SignalRequests,
    StopReason, TakeSignals,
};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The last words of a server whose snapshot cannot be loaded.
const TERMINATING: &str = "Terminating server after rdb file reading failure.";

/// The server's log as the transport sees it.
struct ProcessLog;

impl Log for ProcessLog {
    fn write(&self, level: LogLevel, text: &str) {
        let level = match level {
            LogLevel::Debug => logging::Level::Debug,
            LogLevel::Verbose => logging::Level::Verbose,
            LogLevel::Notice => logging::Level::Notice,
            LogLevel::Warning | LogLevel::Nothing => logging::Level::Warning,
        };
        logging::write(level, format_args!("{text}"));
    }
}

/// Random numbers of the system: the seeds of everything that is random in the process.
struct Seeds([u8; 40]);

impl Seeds {
    fn draw() -> io::Result<Self> {
        let mut bytes = [0; 40];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    fn number(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[index * 8..index * 8 + 8]);
        u64::from_le_bytes(bytes)
    }
}

/// Serves until the process is to stop; its exit code.
pub fn serve(mut prepared: Prepared, disk: &SharedDisk) -> i32 {
    match build(&mut prepared, disk).and_then(|mut server| {
        if prepared.config.appendonly {
            server.load_aof()?;
        } else {
            load(&mut server, disk, &prepared.config.dbfilename)?;
        }
        if !server.is_stopping() {
            server.open_aof()?;
            prepared.ready();
        }
        let reason = server.run().map_err(|error| waiting_failed(&error))?;
        Ok((server, reason))
    }) {
        Ok((server, StopReason::Shutdown)) => {
            prepared.supervisor.stopping("Stopping");
            server.close();
            prepared.finish();
            0
        }
        Err(message) => {
            log_line!(Warning, "{message}");
            1
        }
    }
}

fn build(prepared: &mut Prepared, disk: &SharedDisk) -> Result<Server, String> {
    let config = prepared.config.clone();
    let seeds = Seeds::draw().map_err(|error| format!("Cannot read random numbers: {error}"))?;
    let clock = Clock::new();
    crate::process::crash::set_describe(shoal_transport::describe_crash);
    let (signals, wakes) =
        Signals::install().map_err(|error| format!("Can't take over the signals: {error}"))?;
    let listeners = listen(&config)?;
    let bus = if config.cluster_enabled { Some(prepare_bus(&config, disk, seeds.number(3))?) } else { None };
    let settings = NodeSettings {
        identity: identity(&config, prepared, &listeners, seeds.number(4)),
        config,
        seed: seeds.number(0),
        hash_key: (seeds.number(1), seeds.number(2)),
    };
    prepared.announce();
    let node = Node::new(settings, clock.now())?;
    let bus = bus.map(|bus| BusSettings { config: node.cluster_config(), ..bus });
    let score = Arc::new(Mutex::new(prepared.config.clone()));
    let server = Server::new(ServerSettings {
        node,
        clock,
        listeners,
        log: Arc::new(ProcessLog),
        disk: Arc::clone(disk),
        shutdown_aborted: Box::new({
            let signals = signals.clone();
            move || signals.stop_was_aborted()
        }),
        used_memory: crate::allocator::used_bytes,
        signals: Some((wakes, take_signals(signals, &prepared.config))),
        apply: apply_configuration(prepared.program.clone(), Arc::clone(&score)),
        reload: Box::new(logging::reopen),
        role_changed: role_changed(score),
        bus,
    });
    server.map_err(|error| format!("Cannot set up the server: {error}"))
}

/// The sockets for clients.
fn listen(config: &Config) -> Result<Listeners, String> {
    let mut listeners = Listeners::default();
    if config.port != 0 {
        listeners.bind_tcp(&config.bind.0, config.port, config.tcp_backlog).map_err(|error| {
            log_line!(
                Warning,
                "Warning: Could not create server TCP listening socket {}: {}",
                error.address,
                plain(&error.reason)
            );
            format!("Failed listening on port {} (tcp), aborting.", config.port)
        })?;
    }
    if !config.unixsocket.is_empty() {
        listeners.bind_unix(&config.unixsocket, config.unixsocketperm).map_err(|error| {
            log_line!(
                Warning,
                "Warning: Could not create server Unix listening socket {}: {}",
                error.address,
                plain(&error.reason)
            );
            "Failed opening Unix socket: bind".to_owned()
        })?;
    }
    if listeners.tcp.is_empty() && listeners.unix.is_none() {
        return Err("Configured to not listen anywhere, exiting.".to_owned());
    }
    Ok(listeners)
}

/// The bus's sockets and nodes.conf. The configuration comes later, from the node.
fn prepare_bus(config: &Config, disk: &SharedDisk, seed: u64) -> Result<BusSettings, String> {
    let port = if config.cluster_port != 0 {
        config.cluster_port
    } else {
        config.port.checked_add(10_000).ok_or(
        "Redis port number too high for cluster mode: the cluster bus port is the client port plus 10000. Choose a port \
         up to 55535, or set cluster-port.",
    )?
    };
    let mut listeners = Listeners::default();
    listeners
        .bind_tcp(&config.bind.0, port, config.tcp_backlog)
        .map_err(|error| format!("Failed listening on port {port} (cluster), aborting: {error}"))?;
    // Now nobody else uses the file, or the bind would have failed.
    let nodes_conf = PathBuf::from(&config.cluster_config_file);
    let saved = match nodes_file::load(disk, &nodes_conf) {
        Ok(Some(text)) => NodesConf::parse(&String::from_utf8_lossy(&text)).map_err(|error| {
            format!(
                "Unrecoverable error: corrupted cluster config file \"{}\": {error}",
                nodes_conf.display()
            )
        })?,
        Ok(None) => None,
        Err(error) => {
            return Err(format!(
                "Loading the cluster node config from {}: {}",
                nodes_conf.display(),
                plain(&error)
            ));
        }
    };
    Ok(BusSettings {
        config: shoal_cluster::ClusterConfig::default(),
        listeners,
        nodes_conf,
        disk: Arc::clone(disk),
        saved,
        seed,
        source_address: config.bind_source_address.clone(),
        send_buffer_limit_bytes: config.cluster_link_sendbuf_limit_bytes,
    })
}

fn identity(config: &Config, prepared: &Prepared, listeners: &Listeners, seed: u64) -> NodeIdentity {
    let mut shown = Vec::new();
    if config.port != 0 {
        shown.push(format!("name=tcp,bind={},port={}", listeners.addresses.join(",bind="), config.port));
    }
    if !config.unixsocket.is_empty() {
        shown.push(format!("name=unix,bind={}", config.unixsocket));
    }
    NodeIdentity {
        run_id: String::from_utf8_lossy(&Rng::new(seed).hex_id()).into_owned(),
        process_id: std::process::id(),
        executable: std::env::current_exe()
            .map_or_else(|_| prepared.program.clone(), |path| path.to_string_lossy().into_owned()),
        system: system::description(),
        supervised: prepared.supervisor.name(),
        listeners: shown,
    }
}

/// Loads the data from disk; clients that come meanwhile are told so.
fn load(server: &mut Server, disk: &SharedDisk, path: &str) -> Result<(), String> {
    let mut file = match disk.open(Path::new(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(format!("Fatal error loading the DB, check server logs: {}", plain(&error)));
        }
    };
    let total_bytes = disk.size(Path::new(path)).unwrap_or(0);
    server.load(&mut file, total_bytes).map_err(|failure| match failure {
        LoadFailure::Read(error) => format!("Cannot read {path}: {}", plain(&error)),
        LoadFailure::Malformed(error) => {
            log_line!(
                Warning,
                "Cannot load {path}: {error}. The file is left as it is: check it, put a good copy in its place, or move \
                 it away to start without data."
            );
            log_check(path);
            TERMINATING.to_owned()
        }
        LoadFailure::Torn(offset) => {
            log_line!(
                Warning,
                "Cannot load {path}: it ends at byte {offset} in the middle of the data. Put a good copy in its place, or \
                 move it away to start without data."
            );
            log_check(path);
            TERMINATING.to_owned()
        }
        LoadFailure::Poll(error) => waiting_failed(&error),
    })
}

/// What check-rdb says of a file that cannot be loaded: which key is damaged, and what could be read before it.
fn log_check(path: &str) {
    if let Ok(report) = fs::File::open(path).and_then(check::rdb::check) {
        for line in check::rdb::to_text(&report, path).lines() {
            log_line!(Warning, "{line}");
        }
    }
}

fn waiting_failed(error: &io::Error) -> String {
    format!("Waiting for events failed: {error}")
}

/// What signals ask for, by the configuration at start-up.
fn take_signals(signals: Signals, config: &Config) -> TakeSignals {
    let (on_interrupt, on_terminate) = (config.shutdown_on_sigint, config.shutdown_on_sigterm);
    Box::new(move || {
        let stop = signals.take_stop().map(|signal| {
            log_line!(Notice, "{}", signal.message());
            let is_interrupt = signal == StopSignal::Interrupt;
            let options = if is_interrupt { on_interrupt } else { on_terminate };
            // Ctrl-C, and `shoal down`, mean the whole cluster; who terminates one node means the others to go on.
            ShutdownRequest { hand_over: !is_interrupt, ..request(options) }
        });
        SignalRequests { stop, reload: signals.take_hangup() }
    })
}

fn request(options: ShutdownOptions) -> ShutdownRequest {
    let ShutdownOptions { save, nosave: no_save, now, force, .. } = options;
    ShutdownRequest { save, no_save, now, force, ..ShutdownRequest::default() }
}

/// What the process shows of a change of role: the letter in the log, the score of the out-of-memory killer.
/// `score` is the configuration that the score was last computed from.
fn role_changed(score: Arc<Mutex<Config>>) -> Box<dyn FnMut(bool)> {
    Box::new(move |is_replica| {
        logging::set_role(if is_replica { logging::Role::Replica } else { logging::Role::Primary });
        let mut config = score.lock().unwrap_or_else(PoisonError::into_inner);
        config.replica_of.0 = is_replica.then(|| (String::new(), 0));
        startup::set_oom_score(&config);
    })
}

/// What the process has to do when the configuration changes. `program` is the program as it was called.
fn apply_configuration(program: String, score: Arc<Mutex<Config>>) -> shoal_transport::ApplyConfiguration {
    Box::new(move |config, change| {
        apply_change(config, change)?;
        if change.contains("oom-score-adj") || change.contains("oom-score-adj-values") {
            // The role stays as it is: a node of a cluster has it from its peers.
            let mut known = score.lock().unwrap_or_else(PoisonError::into_inner);
            known.oom_score_adj = config.oom_score_adj;
            known.oom_score_adj_values = config.oom_score_adj_values;
            startup::set_oom_score(&known);
        }
        let is_shown = ["proc-title-template", "port", "bind", "unixsocket"];
        if config.set_proc_title && is_shown.iter().any(|name| change.contains(name)) {
            title::set(&title::expand(config, Mode::Server, &program));
        }
        Ok(())
    })
}

fn apply_change(config: &Config, change: &Change) -> Result<(), SetError> {
    if change.contains("loglevel") {
        logging::set_level(config.loglevel);
    }
    if change.contains("maxclients") {
        let possible = crate::process::limits::raise_file_limit(config.maxclients).unwrap_or(0);
        if possible < config.maxclients {
            return Err(SetError::failed(
                "maxclients",
                format!(
                    "The operating system is not able to handle the specified number of clients, try with {possible}"
                ),
            ));
        }
    }
    if change.contains("dir") {
        std::env::set_current_dir(&config.dir.0).map_err(|error| SetError::failed("dir", plain(&error)))?;
    }
    if change.contains("use-exit-on-panic") {
        crate::process::crash::set_exit_on_panic(config.use_exit_on_panic);
    }
    if change.contains("crash-log-enabled") {
        crate::process::crash::set_signals_reported(config.crash_log_enabled);
    }
    Ok(())
}

/// The operating system's words without the number that the standard library adds.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}
