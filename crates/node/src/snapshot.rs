//! Snapshots in the background: for the file, and for replicas.

use crate::host::{Host, LogLevel, SnapshotContext, SnapshotReport, SnapshotTarget};
use crate::node::Node;
use shoal_config::MaxmemoryPolicy;
use shoal_machine::Now;
use shoal_store::snapshot::{AccessNotes, ReplicationPoint, SnapshotOptions};

/// A snapshot that is being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningSnapshot {
    /// Where it goes.
    pub target: SnapshotTarget,
    /// Keys that there were when it began.
    pub keys: u64,
}

impl Node {
    /// Begins a snapshot in the background; there is at most one.
    ///
    /// # Errors
    /// What went wrong, as a text for the log.
    pub(crate) fn begin_snapshot(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        target: SnapshotTarget,
    ) -> Result<(), String> {
        if self.snapshot.is_some() {
            return Err("a snapshot is being written already".to_owned());
        }
        let mut context = self.snapshot_context(now, host);
        let form = (target == SnapshotTarget::AofBase).then(|| self.shape_base(&mut context));
        if target == SnapshotTarget::AofBase {
            context.sync_often = self.config.aof_rewrite_incremental_fsync;
        }
        if target == SnapshotTarget::Slots {
            context.options.as_commands = true;
            context.options.only_slots = self.slots_of_snapshot();
        }
        let start = host.begin_snapshot(&self.keyspace, target, &context)?;
        self.stats.forks += 1;
        self.stats.last_fork_us = start.fork_us;
        self.keyspace.frozen_pages = true;
        self.snapshot = Some(RunningSnapshot { target, keys: self.keyspace.len() as u64 });
        match form {
            Some(form) => self.note_rewrite_began(now, host, start, form),
            None if target == SnapshotTarget::Slots => {}
            None => self.note_snapshot_began(now, host, target, start),
        }
        Ok(())
    }

    /// What stands at the head of a snapshot that is written now.
    pub(crate) fn snapshot_context(&self, now: Now, host: &mut dyn Host) -> SnapshotContext {
        let mut options = SnapshotOptions::new(now, self.options);
        options.checksum = self.config.rdbchecksum;
        options.used_memory_bytes = host.facts().used_memory_bytes;
        options.replication = self.replication.has_backlog.then(|| ReplicationPoint {
            stream_database: self.stream_database() as i64,
            id: self.replication.id.to_string(),
            offset: self.replication_offset().cast_signed(),
        });
        options.functions.clone_from(&self.functions);
        options.imports = self.migrations.import_marks();
        options.access = match self.config.maxmemory_policy {
            MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru => AccessNotes::Idle,
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => AccessNotes::Frequency,
            _ => AccessNotes::None,
        };
        let key_delay_us = u64::try_from(self.config.rdb_key_save_delay_us).unwrap_or(0);
        SnapshotContext { options, key_delay_us, sync_often: self.config.rdb_save_incremental_fsync }
    }

    /// A snapshot has been written, or could not be.
    pub fn snapshot_ended(&mut self, now: Now, host: &mut dyn Host, result: Result<SnapshotReport, String>) {
        let Some(snapshot) = self.snapshot.take() else { return };
        self.keyspace.frozen_pages = false;
        let progress = host.snapshot_progress();
        if progress.peak_copied_bytes > 0 {
            let kind = match snapshot.target {
                SnapshotTarget::AofBase => "AOF rewrite",
                SnapshotTarget::Slots => "Slot migration",
                SnapshotTarget::File | SnapshotTarget::Stream => "RDB",
            };
            let megabytes = |bytes: u64| bytes >> 20;
            let (current, peak) = (megabytes(progress.copied_bytes), megabytes(progress.peak_copied_bytes));
            let average = megabytes(progress.average_copied_bytes);
            let text =
                format!("Fork CoW for {kind}: current {current} MB, peak {peak} MB, average {average} MB");
            host.log(LogLevel::Notice, &text);
        }
        match snapshot.target {
            SnapshotTarget::AofBase => self.note_rewrite_ended(now, host, &result),
            SnapshotTarget::Slots => self.slots_snapshot_ended(now, host, &result),
            target => self.note_snapshot_ended(now, host, target, &result),
        }
        // A migration may have waited for the end of this one.
        self.migrations.is_urgent = true;
        self.serve_ended_snapshot(now, host, snapshot.target, &result);
    }
}
