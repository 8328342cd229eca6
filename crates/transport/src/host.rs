//! The node's [`Host`]: what it asks for at once.

use crate::aof::{self, AofFiles};
use crate::bus::BusHandle;
use crate::clock::Clock;
use crate::disk::{self, SharedDisk};
use crate::exchange::Exchanges;
use crate::facts;
use crate::freeing::Freeing;
use crate::listener::Listeners;
use crate::server::Log;
use crate::snapshot::SnapshotWriter;
use crate::stopwatch::Stopwatch;
use crate::sync_file::SyncFile;
use mio::{Interest, Registry, Token};
use shoal_cluster::interface::LinkId;
use shoal_cluster::{ClusterCommand, NodeMessage};
use shoal_config::{AppendFsync, Change, Config, SetError};
use shoal_machine::Now;
use shoal_node::{
    AofHealth, ClusterAnswer, Crash, Exchange, Exchanged, Host, LinkBuffer, LogLevel, ProcessFacts,
    SnapshotContext, SnapshotProgress, SnapshotStart, SnapshotTarget,
};
use shoal_store::{Garbage, Keyspace};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Carries out what the binary has to do when the configuration changes.
pub type ApplyConfiguration = Box<dyn FnMut(&Config, &Change) -> Result<(), SetError>>;

/// The first token of listeners.
pub const FIRST_LISTENER: usize = 8;
/// The first token of connections that are being made to nodes which slots are moved to.
pub const FIRST_TARGET: usize = 40;
/// The first token of connections; listeners and targets end before it.
pub const FIRST_CONNECTION: usize = 64;

/// What stands between the node and the world.
pub struct ShellHost {
    pub clock: Clock,
    /// Set by the loop with each of its rounds.
    pub stopwatch: Stopwatch,
    pub log: Arc<dyn Log>,
    pub disk: SharedDisk,
    pub used_memory: fn() -> u64,
    pub freeing: Freeing,
    pub snapshots: SnapshotWriter,
    pub sync_file: SyncFile,
    pub aof: AofFiles,
    pub exchanges: Exchanges,
    pub bus: Option<BusHandle>,
    pub listeners: Listeners,
    /// Those of the cluster bus; its thread has them as long as the process lives.
    pub bus_listeners: Vec<std::os::fd::RawFd>,
    pub registry: Registry,
    pub apply: ApplyConfiguration,
}

impl ShellHost {
    /// Registers all listeners, the Unix socket first.
    pub fn register_listeners(&mut self) -> std::io::Result<()> {
        if let Some(listener) = &mut self.listeners.unix {
            self.registry.register(listener, Token(FIRST_LISTENER), Interest::READABLE)?;
        }
        for (index, listener) in self.listeners.tcp.iter_mut().enumerate() {
            let token = Token((FIRST_LISTENER + 1 + index).min(FIRST_TARGET - 1));
            self.registry.register(listener, token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Listens at other addresses or another port; the old ones stay if that fails.
    fn listen_anew(&mut self, config: &Config, changed: &'static str) -> Result<(), SetError> {
        let log = std::sync::Arc::clone(&self.log);
        let failed = |error: &dyn std::fmt::Display| {
            log.write(LogLevel::Warning, &format!("Could not create server TCP listening socket {error}"));
            let reason = if changed == "bind" {
                "Failed to bind to specified addresses."
            } else {
                "Unable to listen on this port. Check server logs."
            };
            SetError::failed(changed, reason.to_owned())
        };
        let previous = std::mem::take(&mut self.listeners.tcp);
        for mut listener in previous {
            let _ = self.registry.deregister(&mut listener);
        }
        self.listeners.addresses.clear();
        if config.port == 0 {
            return Ok(());
        }
        let bound = self.listeners.bind_tcp(&config.bind.0, config.port, config.tcp_backlog);
        bound.map_err(|error| failed(&error))?;
        for (index, listener) in self.listeners.tcp.iter_mut().enumerate() {
            let token = Token((FIRST_LISTENER + 1 + index).min(FIRST_TARGET - 1));
            let registered = self.registry.register(listener, token, Interest::READABLE);
            registered.map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

impl Host for ShellHost {
    fn stopwatch_us(&mut self) -> u64 {
        self.stopwatch.read_us()
    }

    fn now(&mut self) -> Now {
        self.clock.now()
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.log.write(level, text);
    }

    fn begin_cluster_command(&mut self, command: ClusterCommand) -> u64 {
        self.bus.as_mut().map_or(0, |bus| bus.begin(command))
    }

    fn wait_for_cluster(&mut self, ticket: u64) -> ClusterAnswer {
        match &mut self.bus {
            Some(bus) => bus.wait(ticket),
            None => ClusterAnswer::Done(Err("ERR This instance has cluster support disabled".into())),
        }
    }

    fn link_buffers(&mut self) -> BTreeMap<LinkId, LinkBuffer> {
        self.bus.as_ref().map(BusHandle::link_buffers).unwrap_or_default()
    }

    fn tell_cluster(&mut self, message: NodeMessage) {
        if let Some(bus) = &self.bus {
            bus.tell(message);
        }
    }

    fn save(&mut self, keyspace: &Keyspace, context: &SnapshotContext) -> Result<u64, String> {
        self.snapshots.save(keyspace, context)
    }

    fn read_snapshot(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<bool, String>) -> Result<(), String> {
        self.snapshots.read_file(take)
    }

    fn sync_file(&mut self) -> &mut dyn shoal_node::SyncFile {
        &mut self.sync_file
    }

    fn begin_snapshot(
        &mut self,
        keyspace: &Keyspace,
        target: SnapshotTarget,
        context: &SnapshotContext,
    ) -> Result<SnapshotStart, String> {
        let listeners = [self.listeners.descriptors(), self.bus_listeners.clone()].concat();
        self.snapshots.begin(&self.registry, &listeners, keyspace, target, context)
    }

    fn snapshot_progress(&self) -> SnapshotProgress {
        self.snapshots.progress()
    }

    fn remove_snapshot(&mut self) -> Result<(), String> {
        self.disk.remove(std::path::Path::new(&self.snapshots.file_name)).map_err(|error| error.to_string())
    }

    fn cancel_snapshot(&mut self) {
        self.snapshots.cancel();
    }

    fn append_aof(&mut self, bytes: &[u8], policy: AppendFsync) -> AofHealth {
        self.aof.append(bytes, policy)
    }

    fn open_aof(&mut self, name: &str, is_new: bool) -> Result<u64, String> {
        self.aof.open(name, is_new)
    }

    fn close_aof(&mut self) {
        self.aof.close();
    }

    fn write_aof_base(
        &mut self,
        keyspace: &Keyspace,
        context: &SnapshotContext,
        name: &str,
    ) -> Result<u64, String> {
        let path = self.aof.prepare(name)?;
        let temporary = disk::temporary_beside(&path);
        crate::snapshot::write_file(&*self.disk, keyspace, context, (&temporary, &path), &mut |_| ())
    }

    fn adopt_aof_base(&mut self, process_id: u32, name: &str) -> Result<u64, String> {
        self.aof.adopt(process_id, name)
    }

    fn discard_aof_base(&mut self, process_id: u32) {
        let _ = self.disk.remove(&aof::child_file(process_id));
    }

    fn read_aof_file(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        self.aof.read_whole(name)
    }

    fn replace_aof_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.aof.replace(name, bytes)
    }

    fn rename_aof_file(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.aof.rename(from, to)
    }

    fn remove_aof_file(&mut self, name: &str) {
        self.aof.remove(name);
    }

    fn aof_file_size(&mut self, name: &str) -> Result<u64, String> {
        self.aof.size(name)
    }

    fn read_aof_piece(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        self.aof.read_piece(name, offset, buffer)
    }

    fn truncate_aof_file(&mut self, name: &str, size: u64) -> Result<(), String> {
        self.aof.truncate(name, size)
    }

    fn has_old_aof_file(&mut self, name: &str) -> bool {
        self.disk.size(Path::new(name)).is_ok()
    }

    fn move_old_aof_file(&mut self, name: &str) -> Result<(), String> {
        self.aof.move_old(name)
    }

    fn apply_configuration(&mut self, config: &Config, change: &Change) -> Result<(), SetError> {
        (self.apply)(config, change)?;
        self.snapshots.file_name.clone_from(&config.dbfilename);
        self.sync_file.file_name.clone_from(&config.dbfilename);
        if let Some(bus) = &self.bus {
            bus.limit_send_buffers(config.cluster_link_sendbuf_limit_bytes);
        }
        for directive in ["port", "bind"] {
            if change.contains(directive) {
                if let Err(error) = self.listen_anew(config, directive) {
                    // The old addresses were fine a moment ago.
                    let _ = self.listen_anew(change.previous(), directive);
                    let _ = (self.apply)(change.previous(), change);
                    return Err(error);
                }
                break;
            }
        }
        Ok(())
    }

    fn read_configuration(&mut self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match self.disk.read(Path::new(path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn write_configuration(&mut self, path: &str, text: &[u8]) -> Result<(), String> {
        disk::replace(&*self.disk, Path::new(path), text).map_err(|error| error.to_string())
    }

    fn facts(&mut self) -> ProcessFacts {
        let cluster_link_bytes = self.bus.as_ref().map_or(0, BusHandle::link_bytes);
        let facts = facts::read();
        let counted_bytes = (self.used_memory)();
        let used_memory_bytes = if counted_bytes > 0 { counted_bytes } else { facts.used_memory_bytes };
        let pending_objects = self.freeing.pending() as u64;
        let exchange_connections = self.exchanges.count();
        ProcessFacts { used_memory_bytes, cluster_link_bytes, pending_objects, exchange_connections, ..facts }
    }

    fn used_memory_bytes(&mut self) -> u64 {
        match (self.used_memory)() {
            0 => facts::read().used_memory_bytes,
            bytes => bytes,
        }
    }

    fn open_exchange(&mut self, host: &str, port: u16, timeout_ms: u64) -> Result<bool, String> {
        self.exchanges.open(self.clock.monotonic(), host, port, timeout_ms)
    }

    fn exchange(&mut self, exchange: Exchange<'_>) -> Exchanged {
        self.exchanges.exchange(exchange)
    }

    fn close_exchange(&mut self, host: &str, port: u16) {
        self.exchanges.close(host, port);
    }

    fn sleep_us(&mut self, duration_us: u64, counts_as_alive: bool) {
        let hang = self.bus.as_ref().filter(|_| !counts_as_alive).map(|bus| bus.pretend_to_hang());
        std::thread::sleep(Duration::from_micros(duration_us));
        drop(hang);
    }

    fn crash(&mut self, crash: Crash) {
        match crash {
            Crash::SegmentationFault => crate::snapshot::raise(libc::SIGSEGV),
            Crash::Abort => crate::snapshot::exit_at_once(1),
            Crash::Panic => panic!("DEBUG PANIC called at Unix time {}", self.clock.now().unix_s()),
            Crash::OutOfMemory => {
                let Ok(layout) = std::alloc::Layout::array::<u8>(isize::MAX as usize / 2) else { return };
                let text = format!("Out Of Memory allocating {} bytes!", layout.size());
                self.log.write(LogLevel::Warning, &text);
                std::alloc::handle_alloc_error(layout)
            }
            Crash::Assertion => panic!("=== ASSERTION FAILED === DEBUG ASSERT called"),
        }
    }

    fn purge_memory(&mut self) {
        facts::purge();
    }

    fn free(&mut self, garbage: Vec<Garbage>) {
        self.freeing.free(garbage);
    }
}
