//! Writing the append-only file, and what else is done in its directory.
//!
//! ```text
//!  executor ── bytes ──▶ file                       while the disk is not busy: they are in the system's hands at once
//!           └─ bytes ──▶ queue ──▶ thread ──▶ file  while it is: one slow sync does not stop readers
//!                                  thread ──▶ disk  once a second (`everysec`)
//!           ────── sync ─────────────────▶ disk     before the executor goes on (`always`)
//! ```
//!
//! Only one of the two touches the file at a time: the executor does while the thread is idle and nothing is queued.
//! A sync that failed is final for the file: the system may have given up what was not on the disk, and a later sync that
//! succeeds says nothing about that. Nothing more is written to such a file; the node begins another one.

use crate::disk::{self, DiskFile, SharedDisk};
use shoal_config::AppendFsync;
use shoal_node::AofHealth;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that may wait for the disk; with more the executor waits.
const QUEUE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// How often the file is synced with `everysec`.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// With `everysec` the executor waits for a sync that goes on while something else has waited for the disk this long.
const UNSYNCED_MAX: Duration = Duration::from_secs(2);
/// A write that failed is tried again after so long.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What executor and thread share.
#[derive(Default)]
struct State {
    file: Option<Arc<dyn DiskFile>>,
    queue: Vec<u8>,
    /// The thread is at the file or at the disk.
    is_busy: bool,
    /// The thread is at the disk.
    is_syncing: bool,
    /// Since when something stands in the file that has not reached the disk.
    unsynced_since: Option<Instant>,
    /// Somebody waits for the disk.
    is_sync_wanted: bool,
    /// That of the last append.
    policy: Option<AppendFsync>,
    /// Since when the oldest byte of the queue waits.
    queued_since: Option<Instant>,
    error: Option<String>,
    /// The file's bytes cannot be brought to the disk any more.
    sync_error: Option<String>,
    retry_at: Option<Instant>,
    delayed_syncs: u64,
    /// Bytes that were ever appended, and those of them that have reached the disk.
    appended_bytes: u64,
    synced_bytes: u64,
    is_stopping: bool,
}

impl State {
    fn health(&self) -> AofHealth {
        AofHealth {
            error: self.error.clone(),
            sync_error: self.sync_error.clone(),
            queued_bytes: self.queue.len() as u64,
            is_sync_pending: self.is_syncing,
            delayed_syncs: self.delayed_syncs,
            synced_bytes: self.synced_bytes,
        }
    }

    /// Whether everything was written, and has reached the disk.
    fn is_settled(&self) -> bool {
        self.queue.is_empty() && !self.is_busy && self.unsynced_since.is_none()
    }

    /// Whether waiting for the disk leads to nothing.
    fn has_failed(&self) -> bool {
        self.error.is_some() || self.sync_error.is_some()
    }

    fn sync_due_in(&self, now: Instant) -> Option<Duration> {
        let since = self.unsynced_since.filter(|_| self.sync_error.is_none())?;
        if self.is_sync_wanted {
            return Some(Duration::ZERO);
        }
        (self.policy == Some(AppendFsync::EverySecond))
            .then(|| (since + SYNC_INTERVAL).saturating_duration_since(now))
    }

    fn write_due_in(&self, now: Instant) -> Option<Duration> {
        let is_waiting = !self.queue.is_empty() && self.file.is_some() && self.sync_error.is_none();
        is_waiting.then(|| self.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)))
    }

    fn note_failure(&mut self, error: &io::Error) {
        self.error = Some(describe(error));
        self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
    }

    fn note_sync(&mut self, synced: io::Result<()>) {
        match synced {
            Ok(()) => {
                self.unsynced_since = None;
                if self.queue.is_empty() {
                    self.is_sync_wanted = false;
                }
                // What came meanwhile is still queued.
                self.synced_bytes = self.appended_bytes - self.queue.len() as u64;
            }
            Err(error) => {
                self.give_up(describe(&error));
            }
        }
    }

    /// Nothing more gets into the file.
    fn give_up(&mut self, error: String) {
        self.sync_error = Some(error);
        self.queue = Vec::new();
        self.queued_since = None;
    }

    fn enqueue(&mut self, bytes: &[u8]) {
        if self.queue.is_empty() {
            self.queued_since = Some(Instant::now());
        }
        self.queue.extend_from_slice(bytes);
    }

    /// Whether the disk is at something for so long that `everysec` would not be kept.
    fn is_behind(&self) -> bool {
        self.is_busy && self.queued_since.is_some_and(|since| since.elapsed() >= UNSYNCED_MAX)
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// The thread has something to do.
    work: Condvar,
    /// The thread has done something.
    progress: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The append-only file and its directory.
pub struct AofFiles {
    disk: SharedDisk,
    directory: PathBuf,
    /// The directory's name has reached the disk.
    is_directory_safe: bool,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl AofFiles {
    /// `directory` is `appenddirname`, in the working directory; it is made when it is needed.
    pub fn new(disk: SharedDisk, directory: PathBuf) -> Self {
        Self { disk, directory, is_directory_safe: false, shared: Arc::default(), thread: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn make_directory(&mut self) -> Result<(), String> {
        if self.is_directory_safe && self.directory.is_dir() {
            return Ok(());
        }
        let made = self.disk.make_directory(&self.directory);
        let safe = made.and_then(|()| self.disk.sync_directory(disk::directory_of(&self.directory)));
        self.is_directory_safe = safe.is_ok();
        safe.map_err(|error| {
            let directory = self.directory.display();
            format!("Can't open or create append-only dir {directory}: {}", describe(&error))
        })
    }

    /// See [`shoal_node::Host::append_aof`].
    pub fn append(&mut self, bytes: &[u8], policy: AppendFsync) -> AofHealth {
        let mut state = self.shared.lock();
        state.policy = Some(policy);
        state.appended_bytes += bytes.len() as u64;
        if state.sync_error.is_some() {
            return state.health();
        }
        if !bytes.is_empty() {
            let is_direct = !state.is_busy && state.queue.is_empty();
            match state.file.clone().filter(|_| is_direct) {
                Some(file) => self.write_directly(&mut state, &*file, bytes),
                None => {
                    state.enqueue(bytes);
                    self.shared.work.notify_one();
                }
            }
        }
        while state.queue.len() > QUEUE_MAX_BYTES && !state.has_failed() {
            state = self.wait(state);
        }
        if state.queue.len() > QUEUE_MAX_BYTES {
            // A disk that takes nothing must not fill the memory: the file is given up.
            let error = state.error.take().unwrap_or_default();
            state.give_up(error);
        }
        match policy {
            AppendFsync::Always => state = self.settle(state),
            AppendFsync::EverySecond if state.is_behind() => {
                state.delayed_syncs += 1;
                while state.is_behind() {
                    state = self.wait(state);
                }
            }
            AppendFsync::EverySecond | AppendFsync::No => {}
        }
        state.health()
    }

    /// The thread is idle, and has no reason to do anything else while the lock is held.
    fn write_directly(&self, state: &mut State, file: &dyn DiskFile, bytes: &[u8]) {
        let (written, failure) = write_as_possible(file, bytes);
        let was_unsynced = state.unsynced_since.is_some();
        state.unsynced_since.get_or_insert_with(Instant::now);
        if let Some(error) = failure {
            state.enqueue(&bytes[written..]);
            state.note_failure(&error);
            self.shared.work.notify_one();
            return;
        }
        state.error = None;
        if state.policy == Some(AppendFsync::Always) {
            state.note_sync(file.sync());
        } else if !was_unsynced {
            self.shared.work.notify_one();
        }
    }

    /// Waits until everything has reached the disk, or cannot.
    fn settle<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.file.is_some() && !state.is_settled() && !state.has_failed() {
            if !state.is_sync_wanted {
                state.is_sync_wanted = true;
                self.shared.work.notify_one();
            }
            state = self.wait(state);
        }
        state
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`shoal_node::Host::open_aof`].
    pub fn open(&mut self, name: &str, is_new: bool) -> Result<u64, String> {
        self.make_directory()?;
        self.start_thread()?;
        // A list that names the new file must not outlive the end of the old one, so that comes first.
        let state = self.settle(self.shared.lock());
        if let Some(error) = state.sync_error.as_ref().or(state.error.as_ref()) {
            return Err(error.clone());
        }
        drop(state);
        let path = self.path(name);
        let attempt = || -> io::Result<(Box<dyn DiskFile>, u64)> {
            if is_new {
                self.disk.create(&path)?;
            }
            let file = self.disk.append(&path)?;
            self.disk.sync_directory(&self.directory)?;
            let size = file.size()?;
            Ok((file, size))
        };
        let (file, size) = attempt().map_err(|error| describe(&error))?;
        let mut state = self.shared.lock();
        state.file = Some(Arc::from(file));
        Ok(size)
    }

    /// See [`shoal_node::Host::close_aof`].
    pub fn close(&mut self) {
        let mut state = self.settle(self.shared.lock());
        while state.is_busy {
            state = self.wait(state);
        }
        state.file = None;
        state.queue = Vec::new();
        state.queued_since = None;
        state.unsynced_since = None;
        state.is_sync_wanted = false;
        state.error = None;
        state.sync_error = None;
        state.retry_at = None;
        // What did not get there is of no use any more; what comes next is counted from here.
        state.synced_bytes = state.appended_bytes;
    }

    fn start_thread(&mut self) -> Result<(), String> {
        if self.thread.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("append-only".to_owned()).spawn(move || write(&shared));
        self.thread = Some(thread.map_err(|error| describe(&error))?);
        Ok(())
    }

    /// The path of a file that is written before it gets its name; for the directory's sake.
    pub fn prepare(&mut self, name: &str) -> Result<PathBuf, String> {
        self.make_directory()?;
        Ok(self.path(name))
    }

    /// See [`shoal_node::Host::adopt_aof_base`].
    pub fn adopt(&mut self, process_id: u32, name: &str) -> Result<u64, String> {
        self.make_directory()?;
        let (from, to) = (child_file(process_id), self.path(name));
        let attempt = || -> io::Result<u64> {
            self.disk.rename(&from, &to)?;
            self.disk.sync_directory(&self.directory)?;
            self.disk.size(&to)
        };
        attempt().map_err(|error| {
            let (from, to) = (from.display(), to.display());
            format!(
                "Error trying to rename the temporary AOF base file {from} into {to}: {}",
                describe(&error)
            )
        })
    }

    /// See [`shoal_node::Host::read_aof_file`].
    pub fn read_whole(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        match self.disk.read(&self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{name}: {}", describe(&error))),
        }
    }

    /// See [`shoal_node::Host::replace_aof_file`].
    pub fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.make_directory()?;
        disk::replace(&*self.disk, &self.path(name), bytes).map_err(|error| describe(&error))
    }

    /// See [`shoal_node::Host::rename_aof_file`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), String> {
        let path = self.path(to);
        let renamed = self.disk.rename(&self.path(from), &path);
        let renamed = renamed.and_then(|()| self.disk.sync_directory(&self.directory));
        renamed.map_err(|error| format!("Error trying to rename {from} into {to}: {}", describe(&error)))
    }

    /// See [`shoal_node::Host::remove_aof_file`].
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        // The name goes at once: a new file may get it. To free a large file takes long; a file that stays does no harm.
        let file = self.disk.open(&path);
        let _ = self.disk.remove(&path);
        let free = move || drop(file);
        let _ = std::thread::Builder::new().name("removing".to_owned()).spawn(free);
    }

    /// See [`shoal_node::Host::aof_file_size`].
    pub fn size(&self, name: &str) -> Result<u64, String> {
        self.disk
            .size(&self.path(name))
            .map_err(|error| format!("The append log file {name} cannot be opened: {}", describe(&error)))
    }

    /// See [`shoal_node::Host::read_aof_piece`].
    pub fn read_piece(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        let mut attempt = || -> io::Result<usize> {
            let mut file = self.disk.open(&self.path(name))?;
            file.seek(SeekFrom::Start(offset))?;
            loop {
                match file.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => return other,
                }
            }
        };
        attempt().map_err(|error| describe(&error))
    }

    /// See [`shoal_node::Host::truncate_aof_file`].
    pub fn truncate(&self, name: &str, size: u64) -> Result<(), String> {
        self.disk.truncate(&self.path(name), size).map_err(|error| describe(&error))
    }

    /// See [`shoal_node::Host::move_old_aof_file`].
    pub fn move_old(&mut self, name: &str) -> Result<(), String> {
        let to = self.prepare(name)?;
        let moved = self.disk.rename(Path::new(name), &to);
        let moved = moved.and_then(|()| self.disk.sync_directory(&self.directory));
        moved.map_err(|error| {
            format!("Error trying to move the old AOF file {name} into its directory: {}", describe(&error))
        })
    }
}

impl Drop for AofFiles {
    fn drop(&mut self) {
        self.close();
        self.shared.lock().is_stopping = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a child that rewrites leaves behind, in the working directory.
pub fn child_file(process_id: u32) -> PathBuf {
    PathBuf::from(format!("temp-rewriteaof-bg-{process_id}.aof"))
}

/// Writes as much as the system takes: how much that was, and what was wrong with the rest.
fn write_as_possible(file: &dyn DiskFile, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// The thread: writes what is queued, and syncs.
fn write(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        if state.write_due_in(now) == Some(Duration::ZERO) {
            state = write_queued(shared, state);
        } else if state.sync_due_in(now) == Some(Duration::ZERO) {
            state = sync(shared, state);
        } else {
            if state.is_stopping {
                return;
            }
            let due_in = state.write_due_in(now).into_iter().chain(state.sync_due_in(now)).min();
            state = match due_in {
                None => shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due_in) => {
                    let waited = shared.work.wait_timeout(state, due_in);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            continue;
        }
        shared.progress.notify_all();
    }
}

fn write_queued<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let Some(file) = state.file.clone() else { return state };
    let bytes = std::mem::take(&mut state.queue);
    let queued_since = state.queued_since.take();
    state.is_busy = true;
    drop(state);
    let (written, failure) = write_as_possible(&*file, &bytes);
    let mut state = shared.lock();
    state.is_busy = false;
    if written > 0 {
        let since = queued_since.unwrap_or_else(Instant::now);
        state.unsynced_since.get_or_insert(since);
    }
    match failure {
        None => {
            state.error = None;
            state.retry_at = None;
        }
        Some(error) => {
            // What was queued meanwhile comes behind what is left.
            let later = std::mem::take(&mut state.queue);
            state.queue = [&bytes[written..], &later].concat();
            state.queued_since.get_or_insert_with(Instant::now);
            state.note_failure(&error);
        }
    }
    state
}

fn sync<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let Some(file) = state.file.clone() else {
        state.unsynced_since = None;
        return state;
    };
    state.is_busy = true;
    state.is_syncing = true;
    drop(state);
    let synced = file.sync();
    let mut state = shared.lock();
    state.is_busy = false;
    state.is_syncing = false;
    state.note_sync(synced);
    state
}

/// A reason without the system's error number.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use std::fs;

    /// A directory of its own for a test, deleted in the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("shoal-aof-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn everything_arrives_in_order() {
        let directory = Directory::new("order");
        for policy in [AppendFsync::No, AppendFsync::EverySecond, AppendFsync::Always] {
            let mut files = AofFiles::new(Arc::new(SystemDisk), directory.0.clone());
            assert_eq!(files.open("a", true), Ok(0));
            let mut expected = Vec::new();
            for number in 0..200 {
                let line = format!("line {number}\n");
                expected.extend_from_slice(line.as_bytes());
                let health = files.append(line.as_bytes(), policy);
                assert_eq!(health.error, None);
                if policy == AppendFsync::Always {
                    assert!(!health.is_sync_pending && health.queued_bytes == 0);
                }
                if number == 100 {
                    assert_eq!(files.open("b", true), Ok(0));
                    assert!(fs::read(directory.0.join("a")).unwrap() == expected);
                    expected.clear();
                }
            }
            files.close();
            assert!(fs::read(directory.0.join("b")).unwrap() == expected);
            assert_eq!(files.open("b", false), Ok(expected.len() as u64));
            files.append(b"more", policy);
            drop(files);
            assert!(fs::read(directory.0.join("b")).unwrap().ends_with(b"\nmore"));
        }
    }

    #[test]
    fn a_disk_that_is_full_is_reported() {
        let mut files = AofFiles::new(Arc::new(SystemDisk), PathBuf::from("/dev"));
        for policy in [AppendFsync::No, AppendFsync::Always] {
            if files.open("full", false).is_err() {
                return;
            }
            let health = files.append(b"text", policy);
            assert!(health.error.is_some_and(|error| error.contains("No space left")));
            files.close();
        }
    }
}
