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

use crate::files;
use crate::server::SNAPSHOT;
use mio::unix::pipe;
use mio::{Interest, Registry};
use shoal_machine::Now;
use shoal_node::{Handle, Node, SnapshotContext, SnapshotReport, SnapshotTarget};
use shoal_store::Keyspace;
use shoal_store::snapshot::{Snapshot, SnapshotOptions};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The buffer between snapshot and file.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// The file is synced every so many bytes, so that the system's cache does not fill with dirty pages.
const SYNC_EVERY_BYTES: usize = 4 * 1024 * 1024;
/// The longest reason of a failure that is read from a child.
const REASON_MAX_BYTES: usize = 4096;
/// Bytes of a file that are given to a replica at once.
const FILE_CHUNK_BYTES: usize = 64 * 1024;

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
    file: Option<File>,
}

/// Writes snapshots; one at a time in the background.
pub struct SnapshotWriter {
    /// `dbfilename`, in the working directory.
    pub file_name: String,
    child: Option<Child>,
    sends: Vec<FileSend>,
}

impl SnapshotWriter {
    pub fn new(file_name: String) -> Self {
        Self { file_name, child: None, sends: Vec::new() }
    }

    /// Writes the file while everybody waits; its size in bytes.
    pub fn save(&self, keyspace: &Keyspace, context: &SnapshotContext) -> Result<u64, String> {
        let path = Path::new(&self.file_name);
        let temporary = files::temporary_beside(path);
        write_file(keyspace, context, &temporary, path, |_| {}).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    /// Forks a child that writes.
    pub fn begin(
        &mut self,
        registry: &Registry,
        keyspace: &Keyspace,
        target: SnapshotTarget,
        context: &SnapshotContext,
    ) -> Result<SnapshotStart, String> {
        if self.child.is_some() {
            return Err("a snapshot is being written already".to_owned());
        }
        let (sender, mut receiver) = pipe::new().map_err(|error| error.to_string())?;
        registry.register(&mut receiver, SNAPSHOT, Interest::READABLE).map_err(|error| error.to_string())?;
        let path = PathBuf::from(&self.file_name);
        let began = Instant::now();
        // SAFETY: the child below keeps to what is allowed after a fork of a process with threads: see the module's
        // comment.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error().to_string()),
            0 => {
                drop(receiver);
                let code = run_child(keyspace, context, target, &path, sender);
                exit_at_once(code)
            }
            process_id => {
                let fork_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                drop(sender);
                let temporary = path.with_file_name(format!("temp-{process_id}-{}", self.file_name));
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

    /// Ends the child, if there is one.
    pub fn cancel(&mut self) {
        if let Some(child) = &self.child {
            // SAFETY: the process is a child of this one that has not been waited for, so the number is still its own.
            unsafe { libc::kill(child.process_id, libc::SIGUSR1) };
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
        let is_stream = child.target == SnapshotTarget::Stream;
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
        Progress::Ended(finish(child))
    }

    /// Begins to give the file to a replica.
    pub fn send_file(&mut self, handle: Handle) {
        self.sends.push(FileSend { handle, file: File::open(&self.file_name).ok() });
    }

    /// Gives replicas more of the file as their output empties.
    pub fn poll_file_sends(&mut self, node: &mut Node, now: Now, host: &mut dyn shoal_node::Host) {
        let _ = (node, now, host);
    }
}

/// What is known of a child at once.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotStart {
    pub process_id: u32,
    pub fork_us: u64,
}
