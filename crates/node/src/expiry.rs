//! Deleting expired keys in the background.

use crate::host::Host;
use crate::node::Node;
use shoal_machine::Now;
use shoal_store::call::{EventClass, KeyEvent};
use shoal_store::table::Item;

/// Segments looked at in one step; a step ends well within a millisecond.
const SEGMENTS_PER_STEP: usize = 64;

impl Node {
    /// One short step of the search for expired keys. True when there is nothing more to do until the next tick. The
    /// shell repeats it as long as its share of time lasts.
    pub fn expire_step(&mut self, now: Now, host: &mut dyn Host) -> bool {
        if !self.active_expire_enabled || self.is_replica() || self.pauses.kind().is_some() || self.is_loading
        {
            return true;
        }
        let mut is_round_done = true;
        for database in 0..self.keyspace.database_count() {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let found = self.keyspace.database_mut(database);
            if found.expiring_len() == 0 {
                continue;
            }
            is_round_done &= found.find_expired(now.unix_ms(), SEGMENTS_PER_STEP, |entry| {
                keys.push(entry.key().to_vec());
            });
            for key in &keys {
                self.delete_expired(database, key);
            }
        }
        self.free_garbage(host);
        is_round_done
    }

    fn delete_expired(&mut self, database: usize, key: &[u8]) {
        let keep_size = self.keyspace.frozen_pages;
        let Some(found) = self.keyspace.database(database).find(key) else { return };
        let entry = self.keyspace.database_mut(database).remove(found, keep_size);
        if entry.size_bytes() > LAZY_FREE_BYTES {
            self.keyspace.discard(shoal_store::Garbage::Entry(entry));
        }
        self.stats.expired_keys += 1;
        self.propagate_own(database, [b"DEL".as_slice(), key]);
        for &watcher in self.watchers.of(database, key) {
            if let Some(session) = self.clients.session_mut(watcher) {
                session.is_watch_broken = true;
            }
        }
        if self.effects.track_events {
            let event = KeyEvent { class: EventClass::Expired, name: "expired", database, key: key.to_vec() };
            self.effects.events.push(event);
            self.publish_events(None);
        }
    }
}

/// An entry with more bytes is freed in the background.
const LAZY_FREE_BYTES: usize = 64 * 1024;
