//! Writing snapshots: at once, or in a forked child whose copy of the memory stands still.
//!
//! ```text
//!  executor ──fork──▶ child: writes the keys to a file, or into the pipe, and leaves by _exit
//!      ▲                 │
//!      └────── pipe ─────┘   stream: the snapshot's bytes; file: the reason of a failure
//! ```
//!
//! The child has one thread and a copy of everything else, locks held by other threads included: it takes none, logs
//! nothing and runs no destructors. The allocator makes itself usable after a fork.

#![allow(unsafe_code)]

use crate::child_report::{ChildReport, Reporter};
use crate::disk::{self, Disk, DiskWriter, ReadFile, SharedDisk};
use crate::server::SNAPSHOT;
use mio::unix::pipe;
use mio::{Interest, Registry};
use shoal_node::{
    Handle, Node, SnapshotContext, SnapshotProgress, SnapshotReport, SnapshotStart, SnapshotTarget,
};
use shoal_store::Keyspace;
use shoal_store::snapshot::Snapshot;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A child that writes a file gives way to who serves clients, if there are not processors enough for both. (Nobody waits for the
/// file, as a replica or another node waits for a stream.)
const FILE_CHILD_NICENESS: i32 = 5;
/// The system's greatest.
const NICENESS_MAX: i32 = 19;
/// How long such a child may run before it is somebody else's turn. A system that knows lengths of turns (Linux from 6.12 on) lets
/// who wakes up with a shorter one, as the server has when a request arrives, run at once, and not at the next tick of its clock.
const FILE_CHILD_TURN: Duration = Duration::from_millis(10);
/// The buffer between snapshot and file.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// The file is synced every so many bytes, so that the system's cache does not fill with dirty pages.
const SYNC_EVERY_BYTES: usize = 4 * 1024 * 1024;
/// The longest reason of a failure that is read from a child.
const REASON_MAX_BYTES: usize = 4096;
/// Bytes of a file that are given to a replica at once.
const FILE_CHUNK_BYTES: usize = 64 * 1024;
/// A replica gets more of the file while less than this waits to be sent to it.
const FILE_SEND_LOW_BYTES: usize = 1024 * 1024;

/// What the child has to say.
pub enum Progress {
    /// Nothing new.
    Nothing,
    /// So many bytes of the snapshot are in the buffer.
    Bytes(usize),
    /// It is over.
    Ended(Result<SnapshotReport, String>),
}

struct Child {
    process_id: i32,
    target: SnapshotTarget,
    pipe: pipe::Receiver,
    is_readable: bool,
    has_ended: bool,
    reason: Vec<u8>,
    temporary: PathBuf,
}

struct FileSend {
    handle: Handle,
    file: Option<Box<dyn ReadFile>>,
}

/// Writes snapshots; one at a time in the background.
pub struct SnapshotWriter {
    /// `dbfilename`, in the working directory.
    pub file_name: String,
    disk: SharedDisk,
    child: Option<Child>,
    /// What the child says of itself, or the last one has said.
    report: Option<ChildReport>,
    sends: Vec<FileSend>,
}

impl SnapshotWriter {
    pub fn new(disk: SharedDisk, file_name: String) -> Self {
        Self { file_name, disk, child: None, report: None, sends: Vec::new() }
    }

    /// Writes the file while everybody waits; its size in bytes.
    pub fn save(&self, keyspace: &Keyspace, context: &SnapshotContext) -> Result<u64, String> {
        let path = Path::new(&self.file_name);
        let temporary = temporary_of(std::process::id(), SnapshotTarget::File, path);
        write_file(&*self.disk, keyspace, context, (&temporary, path), &mut |_| ())
    }

    /// Gives the file to `take`, piece by piece, until that says true.
    pub fn read_file(&self, take: &mut dyn FnMut(&[u8]) -> Result<bool, String>) -> Result<(), String> {
        let mut file = self.disk.open(Path::new(&self.file_name)).map_err(|error| error.to_string())?;
        let mut buffer = vec![0; FILE_CHUNK_BYTES];
        loop {
            let count = file.read(&mut buffer).map_err(|error| error.to_string())?;
            if count == 0 || take(&buffer[..count])? {
                return Ok(());
            }
        }
    }

    /// Forks a child that writes.
    pub fn begin(
        &mut self,
        registry: &Registry,
        listeners: &[RawFd],
        keyspace: &Keyspace,
        target: SnapshotTarget,
        context: &SnapshotContext,
    ) -> Result<SnapshotStart, String> {
        if self.child.is_some() {
            return Err("a snapshot is being written already".to_owned());
        }
        let (sender, mut receiver) = pipe::new().map_err(|error| error.to_string())?;
        registry.register(&mut receiver, SNAPSHOT, Interest::READABLE).map_err(|error| error.to_string())?;
        // Without the page the snapshot is written all the same; only its progress is not known.
        self.report = ChildReport::new().ok();
        let path = PathBuf::from(&self.file_name);
        let began = Instant::now();
        // SAFETY: the child below keeps to what is allowed after a fork of a process with threads: see the module's
        // comment.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error().to_string()),
            0 => {
                drop(receiver);
                if !is_piped(target) {
                    give_way();
                }
                for &listener in listeners {
                    // SAFETY: the child has a copy of its own of each descriptor, and does not accept connections.
                    unsafe { libc::close(listener) };
                }
                let code =
                    run_child(&*self.disk, keyspace, context, (target, &path), sender, self.report.as_ref());
                exit_at_once(code)
            }
            process_id => {
                let fork_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                drop(sender);
                let temporary = temporary_of(process_id.unsigned_abs(), target, &path);
                self.child = Some(Child {
                    process_id,
                    target,
                    pipe: receiver,
                    is_readable: true,
                    has_ended: false,
                    reason: Vec::new(),
                    temporary,
                });
                Ok(SnapshotStart { process_id: process_id.unsigned_abs(), fork_us })
            }
        }
    }

    /// What the child says of itself, or the last one has said.
    pub fn progress(&self) -> SnapshotProgress {
        self.report.as_ref().map(ChildReport::progress).unwrap_or_default()
    }

    /// Ends the child, if there is one.
    pub fn cancel(&mut self) {
        if let Some(child) = &self.child {
            // SAFETY: the process is a child of this one that has not been waited for, so the number is still its own.
            unsafe { libc::kill(child.process_id, libc::SIGUSR1) };
            // The process may end before it hears of the child's end.
            let _ = self.disk.remove(&child.temporary);
        }
    }

    /// The pipe has something to read.
    pub fn mark_readable(&mut self) {
        if let Some(child) = &mut self.child {
            child.is_readable = true;
        }
    }

    /// Reads what the child has written; bytes of a stream only if they are wanted.
    pub fn read(&mut self, wants_bytes: bool, buffer: &mut [u8]) -> Progress {
        let Some(child) = &mut self.child else { return Progress::Nothing };
        let is_stream = is_piped(child.target);
        while child.is_readable && !child.has_ended && (wants_bytes || !is_stream) {
            match child.pipe.read(buffer) {
                Ok(0) => child.has_ended = true,
                Ok(count) if is_stream => return Progress::Bytes(count),
                Ok(count) => {
                    let room = REASON_MAX_BYTES - child.reason.len().min(REASON_MAX_BYTES);
                    child.reason.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => child.is_readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => child.has_ended = true,
            }
        }
        if !child.has_ended {
            return Progress::Nothing;
        }
        let Some(child) = self.child.take() else { return Progress::Nothing };
        let copied_bytes = self.progress().copied_bytes;
        Progress::Ended(
            finish(&*self.disk, child, &self.file_name)
                .map(|size_bytes| SnapshotReport { size_bytes, copied_bytes }),
        )
    }

    /// Begins to give the file to a replica.
    pub fn send_file(&mut self, handle: Handle) {
        self.sends.push(FileSend { handle, file: self.disk.open(Path::new(&self.file_name)).ok() });
    }

    /// Gives replicas more of the file as far as `wants` it: the replica's output is low.
    /// Those that are done, or cannot go on, are put into `ended`.
    pub fn poll_file_sends(&mut self, node: &mut Node, ended: &mut Vec<(Handle, Result<(), String>)>) {
        let mut buffer = vec![0; FILE_CHUNK_BYTES];
        self.sends.retain_mut(|send| {
            loop {
                match node.output_waiting_bytes(send.handle) {
                    // The replica has gone.
                    None => return false,
                    Some(waiting) if waiting >= FILE_SEND_LOW_BYTES => return true,
                    Some(_) => {}
                }
                let Some(file) = &mut send.file else {
                    ended.push((send.handle, Err("the snapshot file cannot be opened".to_owned())));
                    return false;
                };
                match file.read(&mut buffer) {
                    Ok(0) => {
                        ended.push((send.handle, Ok(())));
                        return false;
                    }
                    Ok(count) => node.file_chunk(send.handle, &buffer[..count]),
                    Err(error) => {
                        ended.push((send.handle, Err(error.to_string())));
                        return false;
                    }
                }
            }
        });
    }

    /// Whether a child is writing a snapshot.
    pub fn is_writing(&self) -> bool {
        self.child.is_some()
    }

    /// Whether there is more for replicas that could be given to them now, without waiting for an event.
    pub fn can_go_on(&self, node: &Node) -> bool {
        let is_low = |send: &FileSend| {
            node.output_waiting_bytes(send.handle).is_none_or(|waiting| waiting < FILE_SEND_LOW_BYTES)
        };
        let child = self.child.as_ref();
        child.is_some_and(|child| child.is_readable && !child.has_ended) && node.wants_snapshot_bytes()
            || self.sends.iter().any(is_low)
    }

    /// Whether files are being given to replicas.
    pub fn is_sending(&self) -> bool {
        !self.sends.is_empty()
    }
}

/// Lets others run first. Without it the snapshot is written all the same.
fn give_way() {
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the structure is plain data for which zero is valid; the system writes no more than `size` bytes into it, and
    // changes the priority of this process alone.
    unsafe {
        let mut attributes: libc::sched_attr = std::mem::zeroed();
        if libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) == 0 {
            attributes.sched_nice =
                attributes.sched_nice.saturating_add(FILE_CHILD_NICENESS).min(NICENESS_MAX);
            attributes.sched_runtime = u64::try_from(FILE_CHILD_TURN.as_nanos()).unwrap_or(0);
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
        }
    }
}

fn run_child(
    disk: &dyn Disk,
    keyspace: &Keyspace,
    context: &SnapshotContext,
    (target, path): (SnapshotTarget, &Path),
    mut pipe: pipe::Sender,
    report: Option<&ChildReport>,
) -> i32 {
    let mut reporter = report.map(Reporter::new);
    let progress = &mut |keys| {
        if let Some(reporter) = &mut reporter {
            reporter.wrote(keys);
        }
    };
    // The executor's signals are not the child's; by default USR1 ends it.
    let written = match target {
        SnapshotTarget::Stream | SnapshotTarget::Slots => {
            write_stream(keyspace, context, &mut pipe, progress)
        }
        SnapshotTarget::File => {
            let temporary = temporary_of(std::process::id(), target, path);
            write_file(disk, keyspace, context, (&temporary, path), progress)
        }
        SnapshotTarget::AofBase => {
            let process_id = std::process::id();
            let temporary = temporary_of(process_id, target, path);
            write_file(disk, keyspace, context, (&temporary, &crate::aof::child_file(process_id)), progress)
        }
    };
    // While the pipe is open the parent does not wait for the end of this process.
    if let Some(reporter) = &mut reporter {
        reporter.look();
    }
    match written {
        Ok(_) => 0,
        Err(reason) => {
            if !is_piped(target) {
                let _ = pipe.write_all(reason.as_bytes());
            }
            1
        }
    }
}

/// Whether the pipe takes the snapshot itself, and not the reason of a failure.
fn is_piped(target: SnapshotTarget) -> bool {
    matches!(target, SnapshotTarget::Stream | SnapshotTarget::Slots)
}

/// Where a process writes before the file gets its name; tools know it by this one.
fn temporary_of(process_id: u32, target: SnapshotTarget, path: &Path) -> PathBuf {
    if target == SnapshotTarget::AofBase {
        return PathBuf::from(format!("temp-rewriteaof-{process_id}.aof"));
    }
    path.with_file_name(format!("temp-{process_id}.rdb"))
}

/// Writes into the pipe, waiting when it is full.
fn write_stream(
    keyspace: &Keyspace,
    context: &SnapshotContext,
    pipe: &mut pipe::Sender,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, String> {
    let blocking = pipe.set_nonblocking(false);
    blocking.map_err(|error| error.to_string())?;
    let mut writer = BufWriter::with_capacity(FILE_CHUNK_BYTES, pipe);
    write_keys(keyspace, context, &mut writer, progress, |_| Ok(()))
}

/// Writes a file beside the final one and puts it in its place. `progress` hears of the keys that are written.
pub fn write_file(
    disk: &dyn Disk,
    keyspace: &Keyspace,
    context: &SnapshotContext,
    (temporary, path): (&Path, &Path),
    progress: &mut dyn FnMut(u64),
) -> Result<u64, String> {
    let mut attempt = || -> Result<u64, String> {
        let text = |error: io::Error| error.to_string();
        let file = disk.create(temporary).map_err(text)?;
        let mut unsynced = 0;
        let mut writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, DiskWriter(&*file));
        let size = write_keys(keyspace, context, &mut writer, progress, |count| {
            unsynced += count;
            if context.sync_often && unsynced >= SYNC_EVERY_BYTES {
                unsynced = 0;
                file.sync()?;
            }
            Ok(())
        })?;
        drop(writer);
        file.sync().map_err(text)?;
        disk.rename(temporary, path).map_err(text)?;
        disk.sync_directory(disk::directory_of(path)).map_err(text)?;
        Ok(size)
    };
    attempt().inspect_err(|_| {
        let _ = disk.remove(temporary);
    })
}

/// Writes all keys; the size in bytes. `progress` hears of the keys of every piece, `written` of its bytes.
fn write_keys(
    keyspace: &Keyspace,
    context: &SnapshotContext,
    writer: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
    mut written: impl FnMut(usize) -> io::Result<()>,
) -> Result<u64, String> {
    let mut failure = None;
    let mut keys = 0;
    let outcome = Snapshot::new(keyspace, &context.options).write_to(&mut |chunk| {
        let delay_us = context.key_delay_us.saturating_mul(chunk.keys - keys);
        keys = chunk.keys;
        progress(keys);
        if delay_us > 0 {
            std::thread::sleep(std::time::Duration::from_micros(delay_us));
        }
        let result = writer.write_all(chunk.bytes).and_then(|()| written(chunk.bytes.len()));
        failure = result.err();
        failure.is_none()
    });
    match (outcome, failure) {
        (Ok(summary), None) => {
            writer.flush().map_err(|error| error.to_string())?;
            Ok(summary.bytes)
        }
        (_, failure) => Err(failure.map_or_else(|| "interrupted".to_owned(), |error| error.to_string())),
    }
}

/// Waits for a child that has closed its pipe, and says how it went: the size of the file.
fn finish(disk: &dyn Disk, child: Child, file_name: &str) -> Result<u64, String> {
    let mut status = 0;
    // SAFETY: the process is a child of this one that has not been waited for; it has closed its pipe as the last thing.
    let waited = unsafe { libc::waitpid(child.process_id, &raw mut status, 0) };
    let is_good = waited == child.process_id && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
    if is_good {
        // Replicas are told the size before they get the file.
        let size_bytes = match child.target {
            SnapshotTarget::File => disk.size(Path::new(file_name)).map_err(|error| error.to_string())?,
            SnapshotTarget::Stream | SnapshotTarget::Slots | SnapshotTarget::AofBase => 0,
        };
        return Ok(size_bytes);
    }
    let _ = disk.remove(&child.temporary);
    if libc::WIFSIGNALED(status) {
        return Err(format!("terminated by signal {}", libc::WTERMSIG(status)));
    }
    let reason = String::from_utf8_lossy(&child.reason).into_owned();
    Err(if reason.is_empty() { "the child failed".to_owned() } else { reason })
}

/// Ends the process without running anything else.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: the call does not return.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to this process itself.
pub fn raise(signal: i32) {
    // SAFETY: raising a signal touches no memory.
    unsafe { libc::raise(signal) };
}
