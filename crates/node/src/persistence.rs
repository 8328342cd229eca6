//! Snapshots of the data: when they are made by themselves, how they went, and what that means for writes.

use crate::aof::AofState;
use crate::host::{Host, LogLevel, SnapshotReport, SnapshotStart, SnapshotTarget};
use crate::node::Node;
use shoal_machine::{Monotonic, Now};

/// After a snapshot that failed the next one is not tried earlier.
const RETRY_AFTER_MS: u64 = 5000;

/// What the node knows of its snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Persistence {
    /// When the last good snapshot was made, in seconds since 1970; at first, when the node started.
    pub last_save_unix_s: u64,
    /// The same on the other clock.
    last_save_at: Monotonic,
    /// Whether the last one in the background went well.
    pub is_last_good: bool,
    /// The running snapshot has been told to end.
    pub is_cancelled: bool,
    /// How long the last one in the background took.
    pub last_duration_s: Option<u64>,
    /// Since when one is being made in the background.
    pub running_since: Option<Monotonic>,
    /// Changes that are in the one that is being made.
    changes_in_running: u64,
    /// When the last one in the background was begun.
    last_try_at: Option<Monotonic>,
    /// BGSAVE has asked for one that could not be begun at once.
    pub is_scheduled: bool,
    /// The file was written for replicas only.
    pub is_file_for_replicas: bool,
    /// How many went well.
    pub saves: u64,
    /// Memory that the last one copied because it was written to meanwhile.
    pub last_copied_bytes: u64,
    /// Keys that were loaded at the start.
    pub loaded_keys: u64,
    /// Keys that were left out at the start because they had expired.
    pub loaded_expired_keys: u64,
}

impl Persistence {
    /// Nothing saved yet.
    pub(crate) fn new(now: Now) -> Self {
        Self {
            last_save_unix_s: now.unix_s(),
            last_save_at: now.monotonic,
            is_last_good: true,
            is_cancelled: false,
            last_duration_s: None,
            running_since: None,
            changes_in_running: 0,
            last_try_at: None,
            is_scheduled: false,
            is_file_for_replicas: false,
            saves: 0,
            last_copied_bytes: 0,
            loaded_keys: 0,
            loaded_expired_keys: 0,
        }
    }

    fn saved(&mut self, now: Now) {
        self.last_save_unix_s = now.unix_s();
        self.last_save_at = now.monotonic;
        self.saves += 1;
        self.is_last_good = true;
    }
}

impl Node {
    /// Writes a snapshot to the file while everybody waits.
    ///
    /// # Errors
    /// What went wrong; it has been logged.
    pub(crate) fn save_now(&mut self, now: Now, host: &mut dyn Host) -> Result<(), String> {
        let context = self.snapshot_context(now, host);
        match host.save(&self.keyspace, &context) {
            Ok(_) => {
                host.log(LogLevel::Notice, "DB saved on disk");
                self.persistence.is_file_for_replicas = false;
                self.changes_since_save = 0;
                self.persistence.saved(now);
                Ok(())
            }
            Err(reason) => {
                host.log(LogLevel::Warning, &format!("Failed saving the DB: {reason}"));
                Err(reason)
            }
        }
    }

    /// Whether a snapshot of all data is being written in the background, other than the base of the append-only file.
    pub(crate) fn is_saving(&self) -> bool {
        let targets = [SnapshotTarget::File, SnapshotTarget::Stream];
        self.snapshot.is_some_and(|snapshot| targets.contains(&snapshot.target))
    }

    /// Ends a snapshot that nobody needs any more; that is no failure.
    pub(crate) fn cancel_snapshot(&mut self, host: &mut dyn Host) {
        self.persistence.is_cancelled = true;
        host.cancel_snapshot();
    }

    /// After FLUSHALL: with save points the file is emptied too, so that a crash does not bring the data back.
    pub(crate) fn save_emptiness(&mut self, now: Now, host: &mut dyn Host) {
        if self.is_saving() {
            self.cancel_snapshot(host);
        }
        if !self.config.save.0.is_empty() && !self.is_loading {
            // A failure has been logged; the next save point tries again.
            let _ = self.save_now(now, host);
        }
    }

    /// Begins a snapshot to the file in the background.
    ///
    /// # Errors
    /// What went wrong; it has been logged.
    pub(crate) fn save_in_background(&mut self, now: Now, host: &mut dyn Host) -> Result<(), String> {
        self.persistence.is_scheduled = false;
        self.persistence.last_try_at = Some(now.monotonic);
        self.persistence.is_file_for_replicas = false;
        self.begin_snapshot(now, host, SnapshotTarget::File).inspect_err(|reason| {
            self.persistence.is_last_good = false;
            host.log(LogLevel::Warning, &format!("Can't save in background: {reason}"));
        })
    }

    /// A snapshot in the background has begun.
    pub(crate) fn note_snapshot_began(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        target: SnapshotTarget,
        start: SnapshotStart,
    ) {
        self.persistence.running_since = Some(now.monotonic);
        self.persistence.is_cancelled = false;
        self.persistence.changes_in_running = self.changes_since_save;
        let what = match target {
            SnapshotTarget::File => "Background saving",
            _ => "Background RDB transfer",
        };
        host.log(LogLevel::Notice, &format!("{what} started by pid {}", start.process_id));
    }

    /// A snapshot in the background has ended.
    pub(crate) fn note_snapshot_ended(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        target: SnapshotTarget,
        result: &Result<SnapshotReport, String>,
    ) {
        let since = self.persistence.running_since.take();
        self.persistence.last_duration_s = since.map(|since| now.monotonic.ms_since(since) / 1000);
        match (target, result) {
            (SnapshotTarget::File, Ok(report)) => {
                host.log(LogLevel::Notice, "DB saved on disk");
                host.log(LogLevel::Notice, "Background saving terminated with success");
                self.changes_since_save =
                    self.changes_since_save.saturating_sub(self.persistence.changes_in_running);
                self.persistence.last_copied_bytes = report.copied_bytes;
                self.persistence.saved(now);
            }
            (SnapshotTarget::File, Err(reason)) => {
                host.log(LogLevel::Warning, &format!("Background saving error: {reason}"));
                self.persistence.is_last_good &= self.persistence.is_cancelled;
            }
            (_, Ok(report)) => {
                self.persistence.last_copied_bytes = report.copied_bytes;
                host.log(LogLevel::Notice, "Background RDB transfer terminated with success");
            }
            (_, Err(reason)) => {
                host.log(LogLevel::Warning, &format!("Background transfer error: {reason}"));
            }
        }
    }

    /// Removes the file that was written for replicas when none needs it any more, if nothing else is to be kept on disk and
    /// the configuration says so.
    pub(crate) fn remove_sync_file_if_unused(&mut self, host: &mut dyn Host) {
        if !self.persistence.is_file_for_replicas
            || !self.config.rdb_del_sync_files
            || !self.config.save.0.is_empty()
            || self.aof.state != AofState::Off
            || self.snapshot.is_some()
        {
            return;
        }
        if self.replication.peers.need_snapshot_file() {
            return;
        }
        self.persistence.is_file_for_replicas = false;
        host.log(
            LogLevel::Notice,
            "Removing the RDB file used to feed replicas in a persistence-less instance",
        );
        if let Err(reason) = host.remove_snapshot() {
            host.log(LogLevel::Warning, &format!("The RDB file cannot be removed: {reason}"));
        }
    }

    /// Begins a snapshot if a save point is reached, or if one has been asked for.
    pub(crate) fn save_if_due(&mut self, now: Now, host: &mut dyn Host) {
        if self.snapshot.is_some() || self.is_loading {
            return;
        }
        let tried_ms_ago = self.persistence.last_try_at.map_or(u64::MAX, |at| now.monotonic.ms_since(at));
        if !self.persistence.is_last_good && tried_ms_ago <= RETRY_AFTER_MS {
            return;
        }
        let saved_ms_ago = now.monotonic.ms_since(self.persistence.last_save_at);
        let due = self.config.save.0.iter().find(|point| {
            self.changes_since_save >= point.changes && saved_ms_ago > point.seconds.saturating_mul(1000)
        });
        if let Some(point) = due {
            let text = format!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
            host.log(LogLevel::Notice, &text);
        } else if !self.persistence.is_scheduled {
            return;
        }
        // A failure has been logged, and is tried again.
        let _ = self.save_in_background(now, host);
    }

    /// Whether writes are refused because the last snapshot failed.
    #[inline]
    pub(crate) fn is_saving_broken(&self) -> bool {
        !self.persistence.is_last_good
            && self.config.stop_writes_on_bgsave_error
            && !self.config.save.0.is_empty()
    }
}
