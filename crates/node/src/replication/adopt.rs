//! Taking over data that came from the primary.

use super::arriving::Loaded;
use crate::clients::Handle;
use crate::host::{Host, LogLevel};
use crate::node::Node;
use shoal_machine::Now;
use shoal_replication::ReplicationId;

impl Node {
    /// A child that writes the old data would keep their memory.
    pub(super) fn cancel_snapshot_for_load(&mut self, host: &mut dyn Host) {
        if self.snapshot.is_some() {
            host.log(
                LogLevel::Notice,
                "Replica is about to load the RDB file received from the master, but there is a pending RDB child \
                 running. Killing the child process and removing its temp file to avoid any race",
            );
            self.cancel_snapshot(host);
        }
    }

    /// Takes over data that have been loaded; the history goes on after `origin`.
    pub(super) fn adopt(
        &mut self,
        now: Now,
        host: &mut dyn Host,
        loaded: Loaded,
        origin: Option<(ReplicationId, u64)>,
        is_hidden: bool,
    ) {
        self.cancel_snapshot_for_load(host);
        self.disconnect_replicas(now.monotonic);
        if is_hidden {
            host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Flushing old data");
            host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Loading DB in memory");
        } else {
            host.log(LogLevel::Notice, "MASTER <-> REPLICA sync: Swapping active DB with loaded DB");
        }
        self.replace_keyspace(host, loaded.keyspace);
        self.keep_beside_keys(host, &loaded.file, false);
        let (id, offset) = origin.unwrap_or_else(|| (ReplicationId::random(&mut self.rng), 0));
        self.replication.id = id;
        self.replication.second_id = None;
        self.replication.stream.restart(offset + 1);
        self.replication.has_backlog = true;
    }

    /// Puts other data in the place of what is there; the old is freed elsewhere.
    pub(super) fn replace_keyspace(&mut self, host: &mut dyn Host, keyspace: shoal_store::Keyspace) {
        self.own_keys.clear();
        self.blocking.note_all();
        let mut old = std::mem::replace(&mut self.keyspace, keyspace);
        self.keyspace.frozen_pages = old.frozen_pages;
        self.keyspace.forbids_shrinking = old.forbids_shrinking;
        for database in 0..self.keyspace.database_count() {
            let exists = |key: &[u8]| {
                old.database(database).find(key).is_some()
                    || self.keyspace.database(database).find(key).is_some()
            };
            let keys = self.watchers.keys_of_database(database);
            let touched: Vec<Handle> =
                keys.filter(|(key, _)| exists(key)).flat_map(|(_, watchers)| watchers.to_vec()).collect();
            for handle in touched {
                if let Some(session) = self.clients.session_mut(handle) {
                    session.is_watch_broken = true;
                }
            }
        }
        old.clear_all();
        host.free(old.take_garbage());
        self.changes_since_save += 1;
    }
}
