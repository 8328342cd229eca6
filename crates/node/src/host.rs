//! What a node asks of the shell that drives it.

use shoal_cluster::interface::LinkId;
use shoal_cluster::{ClusterCommand, CommandResult, MachineMessage, NodeMessage};
use shoal_config::{AppendFsync, Change, Config, SetError};
use shoal_machine::Now;
use shoal_protocol::value::Value;
use shoal_store::snapshot::SnapshotOptions;
use shoal_store::{Garbage, Keyspace};
use std::collections::BTreeMap;

pub use shoal_config::LogLevel;

/// Facts about the process that only the shell knows.
#[derive(Clone, Debug, Default)]
pub struct ProcessFacts {
    /// Bytes that the allocator has given out.
    pub used_memory_bytes: u64,
    /// Bytes that wait to be sent on the links of the cluster bus.
    pub cluster_link_bytes: u64,
    /// Keys and databases' entries that wait to be freed elsewhere.
    pub pending_objects: u64,
    /// Bytes in pages with data, as the allocator sees them.
    pub allocator_active_bytes: u64,
    /// Bytes that the allocator has from the system.
    pub allocator_resident_bytes: u64,
    /// The allocator and its version: `jemalloc-5.3.0`.
    pub allocator: String,
    /// Connections that exchanges with other servers have left open.
    pub exchange_connections: usize,
    /// Bytes of memory that the process occupies.
    pub resident_bytes: u64,
    /// Bytes of memory that the machine has.
    pub system_memory_bytes: u64,
    /// Processor time in the kernel, in microseconds: the process, its ended children, the executor.
    pub system_cpu_us: [u64; 3],
    /// Processor time in user mode, in microseconds: the process, its ended children, the executor.
    pub user_cpu_us: [u64; 3],
}

/// Why a background snapshot is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotTarget {
    /// The configured file (BGSAVE and save points); it also serves replicas that wait for one.
    File,
    /// A pipe back to the node, whose bytes go to the replicas that wait.
    Stream,
    /// The next base of the append-only file.
    AofBase,
    /// A pipe back to the node, whose bytes are the keys of slots that move to another node.
    Slots,
}

/// What is known of a snapshot when it has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotStart {
    /// The number of the process that writes it.
    pub process_id: u32,
    /// How long everybody waited for the process to begin.
    pub fork_us: u64,
}

/// How a snapshot went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The size of the file; of no meaning for a pipe.
    pub size_bytes: u64,
    /// Memory that was copied because it was written to meanwhile.
    pub copied_bytes: u64,
}

/// What the process that writes a snapshot has said of itself last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Keys that are written.
    pub keys: u64,
    /// Memory that was copied because it was written to meanwhile.
    pub copied_bytes: u64,
    /// The most of it.
    pub peak_copied_bytes: u64,
    /// Its average over all measurements.
    pub average_copied_bytes: u64,
    /// Seconds since it was measured last.
    pub age_s: u64,
}

/// How a snapshot is to be written.
#[derive(Clone, Debug)]
pub struct SnapshotContext {
    /// What it says beside the keys.
    pub options: SnapshotOptions,
    /// Microseconds to wait after each key; a debugging aid.
    pub key_delay_us: u64,
    /// The file is synced every few megabytes while it is written, and not only at its end.
    pub sync_often: bool,
}

/// How writing the append-only file goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AofHealth {
    /// What went wrong with what was written last, as a text; it is tried again.
    pub error: Option<String>,
    /// The file's bytes could not be brought to the disk. This stays so until the file is closed or another one is opened,
    /// whatever later syncs say: nothing more is written to it.
    pub sync_error: Option<String>,
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    /// Bytes are on their way to the disk at this moment.
    pub is_sync_pending: bool,
    /// How often a write had to wait for the disk.
    pub delayed_syncs: u64,
    /// Of all bytes that were ever appended, how many have reached the disk.
    pub synced_bytes: u64,
}

/// Ways to die on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// An invalid memory access.
    SegmentationFault,
    /// A panic.
    Panic,
    /// A failed assertion.
    Assertion,
    /// Memory that is not to be had.
    OutOfMemory,
    /// Ends at once, as if killed.
    Abort,
}

/// What comes while a CLUSTER command is being carried out.
#[derive(Debug)]
pub enum ClusterAnswer {
    /// This has to be handled first; then wait on.
    First(Box<MachineMessage>),
    /// The command's result.
    Done(CommandResult),
}

/// What waits to be sent on a link of the cluster bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkBuffer {
    /// The memory taken for it, in bytes.
    pub allocated_bytes: u64,
    /// The bytes that wait.
    pub used_bytes: u64,
}

/// Requests to another server; everybody waits for the replies.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The server's name or address.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The requests, encoded.
    pub requests: &'a [u8],
    /// How many replies they have.
    pub reply_count: usize,
    /// How long the other side may do nothing: not take any bytes, or not give the next reply.
    pub timeout_ms: u64,
}

/// How an exchange broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeFailure {
    /// The requests had not all been sent.
    pub was_writing: bool,
    /// The other side did nothing for too long; otherwise the connection ended, or what came was no reply.
    pub is_timeout: bool,
}

/// How an exchange went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchanged {
    /// The replies that came; all of them, unless there was a failure.
    pub replies: Vec<Value>,
    /// What went wrong.
    pub failure: Option<ExchangeFailure>,
}

/// A file by way of which a snapshot arrives from the primary.
pub trait SyncFile {
    /// Begins a file; one that was begun before is forgotten.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn begin(&mut self) -> Result<(), String>;

    /// Appends to it.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn append(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// It is complete: it reaches the disk and takes the place of the configured snapshot file. Returns its size in bytes.
    ///
    /// # Errors
    /// What went wrong, as a text; the old snapshot file is still there.
    fn finish(&mut self) -> Result<u64, String>;

    /// Reads from the file that was completed last, from an offset on. Returns how many bytes; 0 at the end.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, String>;

    /// Forgets a file that was begun.
    fn discard(&mut self);
}

/// The shell, as a node sees it. Everything here happens at once, before the call returns.
pub trait Host {
    /// A monotonic clock in microseconds, for measuring how long commands take.
    fn stopwatch_us(&mut self) -> u64;

    /// Both clocks, read afresh: after something that took long.
    fn now(&mut self) -> Now;

    /// Writes a line to the log.
    fn log(&mut self, level: LogLevel, text: &str);

    /// Hands a CLUSTER command that changes state to the machine; the result names it for
    /// [`Host::wait_for_cluster`].
    fn begin_cluster_command(&mut self, command: ClusterCommand) -> u64;

    /// Waits, for a bounded time, until the command is done and saved, or until the machine says something that has
    /// to be handled before.
    fn wait_for_cluster(&mut self, ticket: u64) -> ClusterAnswer;

    /// What waits on the links of the cluster bus.
    fn link_buffers(&mut self) -> BTreeMap<LinkId, LinkBuffer> {
        BTreeMap::new()
    }

    /// Tells the cluster machine something.
    fn tell_cluster(&mut self, message: NodeMessage);

    /// Writes all keys to the configured snapshot file while everybody waits. Returns its size in bytes.
    ///
    /// # Errors
    /// What went wrong, as a text; the old file is still there.
    fn save(&mut self, keyspace: &Keyspace, context: &SnapshotContext) -> Result<u64, String>;

    /// Reads the configured snapshot file and gives its bytes to `take`, piece by piece, until that says true.
    ///
    /// # Errors
    /// The file cannot be read, or the error of `take`.
    fn read_snapshot(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<bool, String>) -> Result<(), String>;

    /// The file by way of which snapshots arrive from the primary.
    fn sync_file(&mut self) -> &mut dyn SyncFile;

    /// Begins to write all keys as they are now, without anybody waiting.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn begin_snapshot(
        &mut self,
        keyspace: &Keyspace,
        target: SnapshotTarget,
        context: &SnapshotContext,
    ) -> Result<SnapshotStart, String>;

    /// How far the snapshot in the background is, or was when it ended.
    fn snapshot_progress(&self) -> SnapshotProgress {
        SnapshotProgress::default()
    }

    /// Removes the configured snapshot file.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn remove_snapshot(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Ends a snapshot that is being written; its end will be reported as a failure.
    fn cancel_snapshot(&mut self);

    /// Appends to the append-only file that was opened last, and returns when the bytes are as safe as `policy` says: on
    /// disk for `always`; with the other policies the disk may be behind.
    fn append_aof(&mut self, bytes: &[u8], policy: AppendFsync) -> AofHealth;

    /// Opens a file in `appenddirname` for appending, made if it is not there, and emptied if `is_new`. The one before is
    /// written to its end, and reaches the disk. Returns the file's size in bytes.
    ///
    /// # Errors
    /// What went wrong, as a text; the file before stays open.
    fn open_aof(&mut self, name: &str, is_new: bool) -> Result<u64, String>;

    /// Closes the append-only file, after everything has reached the disk.
    fn close_aof(&mut self);

    /// Writes all keys to a file in `appenddirname` while everybody waits. Returns its size in bytes.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn write_aof_base(
        &mut self,
        keyspace: &Keyspace,
        context: &SnapshotContext,
        name: &str,
    ) -> Result<u64, String>;

    /// Gives the file that the child wrote its name in `appenddirname`. Returns its size in bytes.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn adopt_aof_base(&mut self, process_id: u32, name: &str) -> Result<u64, String>;

    /// Deletes what the child wrote.
    fn discard_aof_base(&mut self, process_id: u32);

    /// A small file in `appenddirname`; `None` if there is none.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn read_aof_file(&mut self, name: &str) -> Result<Option<Vec<u8>>, String>;

    /// Replaces a small file in `appenddirname` at once.
    ///
    /// # Errors
    /// What went wrong, as a text; the old file is still there.
    fn replace_aof_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), String>;

    /// Renames a file in `appenddirname`.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn rename_aof_file(&mut self, from: &str, to: &str) -> Result<(), String>;

    /// Deletes a file in `appenddirname`, without anybody waiting for that.
    fn remove_aof_file(&mut self, name: &str);

    /// The size of a file in `appenddirname`, in bytes.
    ///
    /// # Errors
    /// It is not there, or cannot be looked at: a text.
    fn aof_file_size(&mut self, name: &str) -> Result<u64, String>;

    /// Reads from a file in `appenddirname`, from an offset on. Returns how many bytes; 0 at the end.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn read_aof_piece(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, String>;

    /// Cuts a file in `appenddirname` off.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn truncate_aof_file(&mut self, name: &str, size: u64) -> Result<(), String>;

    /// Whether there is an append-only file of old, in the working directory.
    fn has_old_aof_file(&mut self, name: &str) -> bool;

    /// Moves it into `appenddirname`.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn move_old_aof_file(&mut self, name: &str) -> Result<(), String>;

    /// Carries out the consequences of a changed configuration (ports, log, limits).
    ///
    /// # Errors
    /// The change cannot be carried out and is to be taken back.
    fn apply_configuration(&mut self, config: &Config, change: &Change) -> Result<(), SetError>;

    /// The text of the configuration file; `None` if there is no such file yet.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn read_configuration(&mut self, path: &str) -> Result<Option<Vec<u8>>, String>;

    /// Replaces the configuration file at once.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn write_configuration(&mut self, path: &str, text: &[u8]) -> Result<(), String>;

    /// Facts about the process.
    fn facts(&mut self) -> ProcessFacts;

    /// Bytes that the allocator has given out, as in [`Host::facts`]; it is asked for before every command.
    fn used_memory_bytes(&mut self) -> u64 {
        self.facts().used_memory_bytes
    }

    /// Connects to another server, or finds the connection of an earlier exchange with it. True if it is new.
    ///
    /// # Errors
    /// What went wrong, as a text.
    fn open_exchange(&mut self, host: &str, port: u16, timeout_ms: u64) -> Result<bool, String>;

    /// Sends requests over the connection that [`Host::open_exchange`] made or found, and waits for the replies.
    fn exchange(&mut self, exchange: Exchange<'_>) -> Exchanged;

    /// Ends the connection to another server.
    fn close_exchange(&mut self, host: &str, port: u16);

    /// Waits; everybody else waits, too. `counts_as_alive` is false for DEBUG SLEEP, which simulates a hang.
    fn sleep_us(&mut self, duration_us: u64, counts_as_alive: bool);

    /// Dies.
    fn crash(&mut self, crash: Crash);

    /// Asks the allocator to give unused pages back to the system, if it can be asked.
    fn purge_memory(&mut self) {}

    /// Frees memory elsewhere.
    fn free(&mut self, garbage: Vec<Garbage>);
}
