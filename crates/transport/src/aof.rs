//! Writing the append-only file, and what else is done in its directory.
//!
//! ```text
//!  executor ── bytes ──▶ file                       while the disk is not busy: they are in the system's hands at once
//!           └─ bytes ──▶ queue ──▶ thread ──▶ file  while it is: one slow sync does not stop readers
//!                                  thread ──▶ disk  once a second, or before the executor goes on (`always`)
//! ```
//!
//! Only one of the two touches the file at a time: the executor writes while the thread is idle and nothing is queued.

use crate::files;
use shoal_config::AppendFsync;
use shoal_node::AofHealth;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that may wait for the disk; with more the executor waits.
const QUEUE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// How often the file is synced with `everysec`.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// A write that failed is tried again after so long.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What executor and thread share.
#[derive(Default)]
struct State {
    file: Option<Arc<File>>,
    queue: Vec<u8>,
    /// Files that are done with, but have not reached the disk.
    closing: Vec<Arc<File>>,
    /// The thread is at the file or at the disk.
    is_busy: bool,
    /// Something was written that has not reached the disk.
    is_unsynced: bool,
    /// Somebody waits for the disk.
    is_sync_wanted: bool,
    /// That of the last append.
    policy: Option<AppendFsync>,
    last_sync: Option<Instant>,
    error: Option<String>,
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
            queued_bytes: self.queue.len() as u64,
            is_sync_pending: self.is_unsynced,
            delayed_syncs: self.delayed_syncs,
            synced_bytes: self.synced_bytes,
        }
    }

    /// Whether everything was written, and has reached the disk.
    fn is_settled(&self) -> bool {
        self.queue.is_empty() && !self.is_busy && !self.is_unsynced
    }

    fn sync_due_in(&self, now: Instant) -> Option<Duration> {
        if !self.is_unsynced {
            return None;
        }
        if self.is_sync_wanted {
            return Some(Duration::ZERO);
        }
        let last = self.last_sync.unwrap_or(now);
        (self.policy == Some(AppendFsync::EverySecond))
            .then(|| (last + SYNC_INTERVAL).saturating_duration_since(now))
    }

    fn write_due_in(&self, now: Instant) -> Option<Duration> {
        let is_waiting = !self.queue.is_empty() && self.file.is_some();
        is_waiting.then(|| self.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now)))
    }

    fn note_failure(&mut self, error: &io::Error) {
        self.error = Some(describe(error));
        self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
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
    directory: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl AofFiles {
    /// `directory` is `appenddirname`, in the working directory; it is made when it is needed.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, shared: Arc::default(), thread: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn make_directory(&self) -> Result<(), String> {
        match fs::create_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let directory = self.directory.display();
                Err(format!("Can't open or create append-only dir {directory}: {}", describe(&error)))
            }
            _ => Ok(()),
        }
    }

    /// See [`shoal_node::Host::append_aof`].
    pub fn append(&mut self, bytes: &[u8], policy: AppendFsync) -> AofHealth {
        let mut state = self.shared.lock();
        state.policy = Some(policy);
        if bytes.is_empty() {
            return state.health();
        }
        state.appended_bytes += bytes.len() as u64;
        let is_direct = !state.is_busy && state.queue.is_empty() && policy != AppendFsync::Always;
        match state.file.clone().filter(|_| is_direct) {
            Some(file) => {
                let (written, failure) = write_as_possible(&file, bytes);
                let was_unsynced = std::mem::replace(&mut state.is_unsynced, true);
                match failure {
                    None => state.error = None,
                    Some(error) => {
                        state.queue.extend_from_slice(&bytes[written..]);
                        state.note_failure(&error);
                    }
                }
                if !was_unsynced || !state.queue.is_empty() {
                    self.shared.work.notify_one();
                }
            }
            None => {
                state.delayed_syncs += u64::from(policy == AppendFsync::EverySecond);
                state.queue.extend_from_slice(bytes);
                state.is_sync_wanted |= policy == AppendFsync::Always;
                self.shared.work.notify_one();
            }
        }
        while state.queue.len() > QUEUE_MAX_BYTES {
            state = self.wait(state);
        }
        if policy == AppendFsync::Always {
            while !state.is_settled() && state.error.is_none() {
                state = self.wait(state);
            }
        }
        state.health()
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is queued.
    ///
    /// # Errors
    /// The file cannot be written to.
    fn drain(&self) -> Result<MutexGuard<'_, State>, String> {
        let mut state = self.shared.lock();
        while !state.queue.is_empty() || state.is_busy {
            if let Some(error) = state.error.clone().filter(|_| !state.is_busy) {
                return Err(error);
            }
            state = self.wait(state);
        }
        Ok(state)
    }

    /// See [`shoal_node::Host::open_aof`].
    pub fn open(&mut self, name: &str, is_new: bool) -> Result<u64, String> {
        self.make_directory()?;
        self.start_thread()?;
        let path = self.path(name);
        let attempt = || -> io::Result<(File, u64)> {
            let mut options = OpenOptions::new();
            let file = match is_new {
                true => File::create(&path).and_then(|_| options.append(true).open(&path))?,
                false => options.append(true).create(true).open(&path)?,
            };
            files::sync_directory(&path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        };
        let (file, size) = attempt().map_err(|error| describe(&error))?;
        let mut state = self.drain()?;
        if let Some(old) = state.file.replace(Arc::new(file))
            && state.is_unsynced
        {
            // The new file is synced after it, as then everything is known to be on the disk.
            state.closing.push(old);
            self.shared.work.notify_one();
        }
        state.error = None;
        Ok(size)
    }

    /// See [`shoal_node::Host::close_aof`].
    pub fn close(&mut self) {
        let mut state = self.shared.lock();
        state.is_sync_wanted = true;
        self.shared.work.notify_one();
        while state.file.is_some() && !state.is_settled() && state.error.is_none() {
            state = self.wait(state);
        }
        state.file = None;
        state.queue = Vec::new();
        state.is_unsynced = false;
        state.error = None;
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
    pub fn prepare(&self, name: &str) -> Result<PathBuf, String> {
        self.make_directory()?;
        Ok(self.path(name))
    }

    /// See [`shoal_node::Host::adopt_aof_base`].
    pub fn adopt(&self, process_id: u32, name: &str) -> Result<u64, String> {
        self.make_directory()?;
        let (from, to) = (child_file(process_id), self.path(name));
        let attempt = || -> io::Result<u64> {
            fs::rename(&from, &to)?;
            files::sync_directory(&to)?;
            Ok(fs::metadata(&to)?.len())
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
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{name}: {}", describe(&error))),
        }
    }

    /// See [`shoal_node::Host::replace_aof_file`].
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.make_directory()?;
        files::replace(&self.path(name), bytes).map_err(|error| describe(&error))
    }

    /// See [`shoal_node::Host::rename_aof_file`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), String> {
        let path = self.path(to);
        let renamed = fs::rename(self.path(from), &path).and_then(|()| files::sync_directory(&path));
        renamed.map_err(|error| format!("Error trying to rename {from} into {to}: {}", describe(&error)))
    }

    /// See [`shoal_node::Host::remove_aof_file`].
    pub fn remove(&self, name: &str) {
        let path = self.path(name);
        // Large files take long to delete; a file that stays does no harm.
        let remove = move || drop(fs::remove_file(path));
        let _ = std::thread::Builder::new().name("removing".to_owned()).spawn(remove);
    }

    /// See [`shoal_node::Host::aof_file_size`].
    pub fn size(&self, name: &str) -> Result<u64, String> {
        match fs::metadata(self.path(name)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) => Err(format!("The append log file {name} cannot be opened: {}", describe(&error))),
        }
    }

    /// See [`shoal_node::Host::read_aof_piece`].
    pub fn read_piece(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        let mut attempt = || -> io::Result<usize> {
            let mut file = File::open(self.path(name))?;
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
        let attempt = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(self.path(name))?;
            file.set_len(size)?;
            file.sync_all()
        };
        attempt().map_err(|error| describe(&error))
    }

    /// See [`shoal_node::Host::move_old_aof_file`].
    pub fn move_old(&self, name: &str) -> Result<(), String> {
        let to = self.prepare(name)?;
        let moved = fs::rename(name, &to).and_then(|()| files::sync_directory(&to));
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
fn write_as_possible(mut file: &File, bytes: &[u8]) -> (usize, Option<io::Error>) {
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
        if let Some(file) = state.closing.pop() {
            state.is_busy = true;
            drop(state);
            let synced = file.sync_data();
            drop(file);
            state = shared.lock();
            state.is_busy = false;
            if let Err(error) = synced {
                state.note_failure(&error);
            }
        } else if state.write_due_in(now) == Some(Duration::ZERO) {
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
    state.is_busy = true;
    drop(state);
    let (written, failure) = write_as_possible(&file, &bytes);
    let mut state = shared.lock();
    state.is_busy = false;
    state.is_unsynced |= written > 0;
    match failure {
        None => {
            state.error = None;
            state.retry_at = None;
        }
        Some(error) => {
            // What was queued meanwhile comes behind what is left.
            let later = std::mem::take(&mut state.queue);
            state.queue = [&bytes[written..], &later].concat();
            state.note_failure(&error);
        }
    }
    state
}

fn sync<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let Some(file) = state.file.clone() else {
        state.is_unsynced = false;
        return state;
    };
    state.is_busy = true;
    drop(state);
    let synced = file.sync_data();
    let mut state = shared.lock();
    state.is_busy = false;
    state.last_sync = Some(Instant::now());
    // A sync that failed is not worth repeating: the system has given the pages up.
    state.is_unsynced = false;
    if state.queue.is_empty() {
        state.is_sync_wanted = false;
    }
    match synced {
        // What came meanwhile is still queued.
        Ok(()) => state.synced_bytes = state.appended_bytes - state.queue.len() as u64,
        Err(error) => state.note_failure(&error),
    }
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
            let mut files = AofFiles::new(directory.0.clone());
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
        let mut files = AofFiles::new(PathBuf::from("/dev"));
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
