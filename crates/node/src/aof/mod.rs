//! The append-only file: what goes into it, when it begins anew, and what its directory holds.
//!
//! ```text
//! Off ──CONFIG SET appendonly yes──▶ Starting ──the base is written──▶ On
//!                                       │ commands go to a file that        │ a rewrite begins a new file of commands
//!                                       │ the list does not name yet        │ when the child forks; when it has written the
//!  ◀──────── CONFIG SET appendonly no ──┴───────────────────────────────────┘ new base, the older files go
//! ```
//!
//! Commands are collected here until the shell flushes them, which it does before any reply leaves.

mod load;
mod rewrite;
#[cfg(test)]
mod tests;

pub(crate) use load::AofLoad;
pub(crate) use rewrite::RewriteAnswer;

use crate::host::{Crash, Host, LogLevel, SnapshotContext};
use crate::node::Node;
use shoal_config::AppendFsync;
use shoal_formats::aof::{BaseForm, Manifest};
use shoal_machine::{Monotonic, Now};

/// How far the append-only file is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AofState {
    /// Not at all.
    #[default]
    Off,
    /// It waits for its first base.
    Starting,
    /// Every effect goes into it.
    On,
}

/// What the node knows of its append-only file.
#[derive(Debug, Default)]
pub(crate) struct Aof {
    pub state: AofState,
    /// A file is open and takes what is collected.
    is_open: bool,
    manifest: Manifest,
    /// What the shell has not been given yet.
    buffer: Vec<u8>,
    /// The database that the file has selected last.
    selected_database: Option<usize>,
    /// The time that the next command gets if commands are to say when they were written, in seconds since 1970.
    now_s: Option<u64>,
    /// The time that stands in the file last.
    noted_s: u64,
    /// Bytes of base and commands.
    pub current_size: u64,
    /// Bytes when it began with its present base.
    pub base_size: u64,
    /// Bytes of the file of commands that is open.
    increment_size: u64,
    /// What went wrong with the last write; writes of clients are refused until it is repeated with success.
    pub write_error: Option<String>,
    /// Since when the file is being rewritten, and by which process.
    pub rewrite: Option<Rewrite>,
    /// A rewrite is to begin when nothing stands in its way.
    pub is_scheduled: bool,
    pub last_rewrite_failed: bool,
    /// Rewrites that failed one after the other.
    pub failures: u32,
    /// Not before this one more is tried.
    retry_at: Option<Monotonic>,
    /// The log has said that one has to wait.
    is_limit_logged: bool,
    pub last_duration_s: Option<u64>,
    /// Rewrites that were begun.
    pub rewrites: u64,
    pub last_copied_bytes: u64,
    /// Writes that had to wait for the disk.
    pub delayed_syncs: u64,
    /// Bytes that wait for the disk.
    pub queued_bytes: u64,
    /// What was written has not reached the disk yet.
    pub is_sync_pending: bool,
    /// Bytes that were ever given to the shell, and those of them that have reached the disk.
    appended_bytes: u64,
    pub synced_bytes: u64,
    /// Where the replication stream was after so many bytes; looked at again when they have reached the disk.
    mark: Option<(u64, u64)>,
    /// The offset of the replication stream up to which everything has reached the disk.
    pub synced_offset: u64,
}

/// A rewrite that is going on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rewrite {
    pub since: Monotonic,
    pub process_id: u32,
    /// What it writes.
    pub form: BaseForm,
    /// It was told to end, which is no failure.
    pub is_cancelled: bool,
}

/// The capacity that the buffer keeps.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;

impl Aof {
    /// Whether effects go into the file.
    #[inline]
    pub(crate) fn takes_effects(&self) -> bool {
        self.is_open
    }

    /// Collects a command; `encoded` is its form in the file.
    pub(crate) fn append(&mut self, database: usize, encoded: &[u8]) {
        if let Some(now_s) = self.now_s.filter(|now_s| *now_s > self.noted_s) {
            self.noted_s = now_s;
            self.buffer.extend_from_slice(format!("#TS:{now_s}\r\n").as_bytes());
        }
        if self.selected_database != Some(database) {
            self.selected_database = Some(database);
            let select = shoal_protocol::OwnedRequest::new(["SELECT", &database.to_string()]);
            crate::propagation::encode(&select.as_request(), &mut self.buffer);
        }
        self.buffer.extend_from_slice(encoded);
    }

    /// How many bytes were ever appended.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.appended_bytes + self.buffer.len() as u64
    }

    /// Notes what has reached the disk; the stream is at `offset` now.
    fn note_synced(&mut self, synced_bytes: u64, offset: u64) {
        self.synced_bytes = synced_bytes;
        if let Some((bytes, marked)) = self.mark
            && synced_bytes >= bytes
        {
            self.synced_offset = marked;
            self.mark = None;
        }
        if synced_bytes >= self.appended_bytes {
            self.synced_offset = offset;
        } else {
            self.mark.get_or_insert((self.appended_bytes, offset));
        }
    }

    /// Bytes that have not been given to the shell.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }
}

impl Node {
    /// Whether [`Node::flush_aof`] has something to do before replies may leave.
    #[inline]
    pub fn has_aof_output(&self) -> bool {
        !self.aof.buffer.is_empty()
    }

    /// Gives what was collected to the shell. Returns when it is as safe as `appendfsync` says.
    pub fn flush_aof(&mut self, host: &mut dyn Host) {
        if !self.aof.is_open {
            return;
        }
        let mut bytes = std::mem::take(&mut self.aof.buffer);
        let is_put_off = self.config.no_appendfsync_on_rewrite && self.snapshot.is_some();
        let policy = if is_put_off { AppendFsync::No } else { self.config.appendfsync };
        let health = host.append_aof(&bytes, policy);
        self.aof.current_size += bytes.len() as u64;
        self.aof.increment_size += bytes.len() as u64;
        self.aof.appended_bytes += bytes.len() as u64;
        bytes.clear();
        if bytes.capacity() <= BUFFER_KEPT_BYTES {
            self.aof.buffer = bytes;
        }
        self.aof.queued_bytes = health.queued_bytes;
        self.aof.delayed_syncs = health.delayed_syncs;
        self.aof.is_sync_pending = health.is_sync_pending;
        let offset = self.replication_offset();
        if self.aof.state == AofState::On && health.sync_error.is_none() {
            self.aof.note_synced(health.synced_bytes, offset);
            self.serve_waits();
        }
        if let Some(reason) = health.sync_error {
            self.note_lost_sync(host, &reason);
            return;
        }
        match health.error {
            // After a lost sync only a new base helps.
            None if self.aof.state == AofState::Starting => {}
            None => {
                if self.aof.write_error.take().is_some() {
                    let text = "AOF write error looks solved, Redis can write again.";
                    host.log(LogLevel::Warning, text);
                }
            }
            Some(error) => self.note_aof_error(host, error),
        }
    }

    /// What was written may not be on the disk, and will not get there. With `always` no reply may leave any more. Otherwise
    /// the file stays as it is, writes of clients are refused, and a rewrite gives the data a new base as after
    /// `CONFIG SET appendonly yes`: the list must not name a file behind one that may be torn.
    fn note_lost_sync(&mut self, host: &mut dyn Host, reason: &str) {
        if self.config.appendfsync == AppendFsync::Always {
            let text = format!(
                "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {reason}. Exiting..."
            );
            host.log(LogLevel::Warning, &text);
            host.crash(Crash::Abort);
        }
        host.log(LogLevel::Warning, &format!("Fail to fsync the AOF file: {reason}"));
        host.log(LogLevel::Warning, "The AOF file is not written to any more; a rewrite replaces it.");
        self.aof.write_error = Some(reason.to_owned());
        self.aof.state = AofState::Starting;
        self.aof.is_scheduled = true;
        self.aof.is_open = false;
        self.aof.buffer = Vec::new();
        host.close_aof();
        self.cancel_rewrite(host);
    }

    fn note_aof_error(&mut self, host: &mut dyn Host, error: String) {
        if self.aof.write_error.as_ref() == Some(&error) {
            return;
        }
        host.log(LogLevel::Warning, &format!("Error writing to the AOF file: {error}"));
        if self.config.appendfsync == AppendFsync::Always {
            // Replies that promise what is not on disk must not leave.
            let text = "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...";
            host.log(LogLevel::Warning, text);
            host.crash(Crash::Abort);
        }
        self.aof.write_error = Some(error);
    }

    /// Opens the file at the start of the server, after what it held was loaded.
    ///
    /// # Errors
    /// The server cannot serve as it is configured to: the reason.
    pub fn open_aof(&mut self, now: Now, host: &mut dyn Host) -> Result<(), String> {
        if !self.config.appendonly {
            return Ok(());
        }
        let prefix = self.config.appendfilename.clone();
        let mut manifest = self.aof.manifest.clone();
        if manifest.is_empty() {
            let mut context = self.snapshot_context(now, host);
            let form = self.shape_base(&mut context);
            let name = manifest.next_base_name(&prefix, form);
            let size = host.write_aof_base(&self.keyspace, &context, &name)?;
            host.log(LogLevel::Notice, &format!("Creating AOF base file {name} on server start"));
            manifest.replace_base(&prefix, form, 0);
            self.aof.current_size = size;
            self.aof.base_size = size;
        }
        // A file of that name which the list does not name holds what is not part of the data.
        let (verb, is_new, name) = match manifest.increments.last() {
            Some(file) => ("Opening", false, file.name.clone()),
            None => ("Creating", true, manifest.add_increment(&prefix)),
        };
        self.aof.increment_size = host
            .open_aof(&name, is_new)
            .map_err(|reason| format!("Can't open the append-only file {name}: {reason}"))?;
        self.save_manifest(host, manifest)?;
        host.log(LogLevel::Notice, &format!("{verb} AOF incr file {name} on server start"));
        self.aof.state = AofState::On;
        self.aof.is_open = true;
        self.delete_history(host);
        Ok(())
    }

    /// Makes what is written the base of an append-only file.
    pub(crate) fn shape_base(&self, context: &mut SnapshotContext) -> BaseForm {
        let options = &mut context.options;
        options.aof_base = true;
        // Functions have no command yet that would make them again.
        options.as_commands = !self.config.aof_use_rdb_preamble && options.functions.is_empty();
        options.timestamps = self.config.aof_timestamp_enabled;
        if options.as_commands { BaseForm::Commands } else { BaseForm::Snapshot }
    }

    /// Commands that are collected from now on were carried out at this time.
    #[inline]
    pub(crate) fn note_aof_time(&mut self, now: Now) {
        self.aof.now_s = self.config.aof_timestamp_enabled.then(|| now.unix_s());
    }

    /// Puts a list in the place of the old one, on disk and here.
    fn save_manifest(&mut self, host: &mut dyn Host, manifest: Manifest) -> Result<(), String> {
        if manifest == self.aof.manifest {
            return Ok(());
        }
        let name = self.manifest_name();
        host.replace_aof_file(&name, manifest.to_string().as_bytes())
            .map_err(|reason| format!("Fail to persist the AOF manifest file {name}: {reason}"))?;
        self.aof.manifest = manifest;
        Ok(())
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.config.appendfilename)
    }

    /// Deletes what has been replaced. Files that stay do no harm.
    pub(crate) fn delete_history(&mut self, host: &mut dyn Host) {
        if self.config.aof_disable_auto_gc || self.aof.manifest.history.is_empty() {
            return;
        }
        let mut manifest = self.aof.manifest.clone();
        let history = std::mem::take(&mut manifest.history);
        // The list first: a file that it names must be there.
        if let Err(reason) = self.save_manifest(host, manifest) {
            host.log(LogLevel::Warning, &reason);
            return;
        }
        for file in history {
            host.log(LogLevel::Notice, &format!("Removing the history file {} in the background", file.name));
            host.remove_aof_file(&file.name);
        }
    }

    /// `appendonly` was changed while the server runs.
    ///
    /// # Errors
    /// It cannot be begun; everything is as before.
    pub(crate) fn change_appendonly(&mut self, now: Now, host: &mut dyn Host) -> Result<(), String> {
        match (self.config.appendonly, self.aof.state) {
            (true, AofState::Off) => self.start_aof(now, host),
            (false, AofState::Starting | AofState::On) => {
                self.stop_aof(host);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start_aof(&mut self, now: Now, host: &mut dyn Host) -> Result<(), String> {
        self.aof.state = AofState::Starting;
        self.aof.write_error = None;
        if self.aof.rewrite.is_some() {
            let text = "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF \
                        and starting a rewrite now.";
            host.log(LogLevel::Warning, text);
            self.cancel_rewrite(host);
            self.aof.is_scheduled = true;
        } else if self.snapshot.is_some() || self.unit.is_open {
            let obstacle = match self.snapshot {
                Some(_) => "but there is already another background operation",
                None => "during a transaction",
            };
            let plan = "An AOF background was scheduled to start when possible.";
            host.log(LogLevel::Warning, &format!("AOF was enabled {obstacle}. {plan}"));
            self.aof.is_scheduled = true;
        } else if let Err(reason) = self.begin_rewrite(now, host) {
            self.close_aof_file(host);
            self.aof.state = AofState::Off;
            let text = "Redis needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the \
                        above logs for more info about the error.";
            host.log(LogLevel::Warning, text);
            return Err(reason);
        }
        Ok(())
    }

    /// No more effects go into the file; all until now are on disk.
    pub(crate) fn stop_aof(&mut self, host: &mut dyn Host) {
        self.close_aof_file(host);
        if self.aof.state == AofState::Starting {
            self.remove_temporary(host);
        }
        self.aof.state = AofState::Off;
        self.aof.is_scheduled = false;
        self.aof.write_error = None;
        self.cancel_rewrite(host);
    }

    fn close_aof_file(&mut self, host: &mut dyn Host) {
        self.flush_aof(host);
        if std::mem::take(&mut self.aof.is_open) {
            host.close_aof();
        }
        self.aof.buffer = Vec::new();
        self.aof.selected_database = None;
        self.aof.increment_size = 0;
    }

    /// The data were replaced by others: what the file holds is of no use any more.
    pub(crate) fn restart_aof(&mut self, now: Now, host: &mut dyn Host) {
        if self.aof.state == AofState::Off {
            return;
        }
        self.stop_aof(host);
        if self.start_aof(now, host).is_err() {
            // Tried again by the clock.
            self.aof.state = AofState::Starting;
            self.aof.is_scheduled = true;
        }
    }

    /// Before the process ends: everything is on disk.
    pub(crate) fn finish_aof(&mut self, host: &mut dyn Host) {
        if self.aof.is_open {
            host.log(LogLevel::Notice, "Calling fsync() on the AOF file.");
            self.close_aof_file(host);
        }
    }

    /// What was collected before there is a base for it is of no use.
    fn remove_temporary(&self, host: &mut dyn Host) {
        let name = self.temporary_name();
        host.log(LogLevel::Notice, &format!("Removing the temp incr aof file {name} in the background"));
        host.remove_aof_file(&name);
    }

    /// The name of the file of commands before there is a base for it.
    fn temporary_name(&self) -> String {
        format!("temp-{}.incr", self.config.appendfilename)
    }
}
