//! Snapshots in the background: for the file, and for replicas.

use crate::host::{Host, SnapshotContext, SnapshotReport, SnapshotTarget};
use crate::node::Node;
use shoal_machine::Now;

/// A snapshot that is being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningSnapshot {
    /// Where it goes.
    pub target: SnapshotTarget,
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
        let context = self.snapshot_context(now, host);
        let start = host.begin_snapshot(&self.keyspace, target, &context)?;
        self.stats.forks += 1;
        self.stats.last_fork_us = start.fork_us;
        self.keyspace.frozen_pages = true;
        self.snapshot = Some(RunningSnapshot { target });
        Ok(())
    }

    /// What stands at the head of a snapshot that is written now.
    pub(crate) fn snapshot_context(&self, now: Now, host: &mut dyn Host) -> SnapshotContext {
        let mut auxiliary = vec![
            ("redis-ver", crate::commands::REDIS_VERSION.to_owned()),
            ("redis-bits", "64".to_owned()),
            ("ctime", now.unix_s().to_string()),
            ("used-mem", host.facts().used_memory_bytes.to_string()),
        ];
        if self.replication.has_backlog {
            auxiliary.push(("repl-stream-db", self.stream_database().to_string()));
            auxiliary.push(("repl-id", self.replication.id.to_string()));
            auxiliary.push(("repl-offset", self.replication_offset().to_string()));
        }
        auxiliary.push(("aof-base", "0".to_owned()));
        SnapshotContext {
            auxiliary,
            version: self.config.rdb_version_compat,
            compress: self.config.rdbcompression,
            checksum: self.config.rdbchecksum,
            key_delay_us: u64::try_from(self.config.rdb_key_save_delay_us).unwrap_or(0),
        }
    }

    /// A snapshot has been written, or could not be.
    pub fn snapshot_ended(&mut self, now: Now, host: &mut dyn Host, result: Result<SnapshotReport, String>) {
        let Some(snapshot) = self.snapshot.take() else { return };
        self.keyspace.frozen_pages = false;
        self.serve_ended_snapshot(now, host, snapshot.target, &result);
    }
}
