//! Deleting expired keys in the background.

use crate::clients::Handle;
use crate::host::Host;
use crate::node::Node;
use shoal_machine::Now;
use shoal_protocol::slot::key_slot;
use shoal_session::Session;
use shoal_store::call::{EventClass, KeyEvent};
use shoal_store::table::Item;
use shoal_store::types::Hash;
use shoal_store::{Collection, Settings, Type};
use std::collections::BTreeSet;

/// Keys of its own that a writable replica remembers to expire; those beyond look expired and stay until they are read.
const OWN_KEYS_MAX: usize = 1_000_000;
/// Keys of its own that a writable replica looks at in one step.
const OWN_KEYS_PER_STEP: usize = 256;

/// Keys with an expiry that clients of a writable replica made.
#[derive(Debug, Default)]
pub(crate) struct OwnKeys {
    keys: BTreeSet<(usize, Vec<u8>)>,
    /// Where the next step goes on.
    next: (usize, Vec<u8>),
}

impl OwnKeys {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Forgets all keys: the server has become a primary, or has got all data anew.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How a key is deleted that no client asked to delete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deletion {
    /// The class of the event.
    pub class: EventClass,
    /// The event.
    pub event: &'static str,
    /// Replicas are told to unlink it.
    pub is_lazy: bool,
    /// Its memory may be freed elsewhere, and so a moment later.
    pub frees_elsewhere: bool,
}

/// A value of more allocations is freed elsewhere even if its memory is wanted at once.
const FREED_AT_ONCE_MAX: usize = 10_000;

/// Segments looked at in one step; a step ends well within a millisecond.
const SEGMENTS_PER_STEP: usize = 64;
/// Hashes of which fields have expired that one step looks at, and the fields of each that it deletes.
const HASHES_PER_STEP: usize = 16;
const FIELDS_PER_HASH: usize = 64;

impl Node {
    /// One short step of the search for expired keys. True when there is nothing more to do until the next tick. The
    /// shell repeats it as long as its share of time lasts.
    pub fn expire_step(&mut self, now: Now, host: &mut dyn Host) -> bool {
        if !self.active_expire_enabled || self.data_stand_still() || self.is_loading {
            return true;
        }
        if self.is_replica() {
            self.expire_own_keys(now);
            self.serve_blocked(host);
            return true;
        }
        let mut is_round_done = true;
        for database in 0..self.keyspace.database_count() {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            is_round_done &= self.expire_fields(now, database);
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
        self.serve_blocked(host);
        self.free_garbage(host);
        is_round_done
    }

    /// Deletes some fields of hashes that have expired. True if there are no more.
    fn expire_fields(&mut self, now: Now, database: usize) -> bool {
        let keys = self.keyspace.database_mut(database);
        if keys.timed_hashes_len() == 0 {
            return true;
        }
        let mut due = Vec::new();
        let mut is_done = keys.find_due_hashes(now.unix_ms(), HASHES_PER_STEP, |key| due.push(key.to_vec()));
        // What is not this node's yet expires at its primary.
        let keys = self.keyspace.database(database);
        due.retain(|key| !keys.is_hidden(key_slot(key)));
        for key in &due {
            is_done &= self.expire_fields_of(now, database, key) < FIELDS_PER_HASH;
        }
        is_done
    }

    /// Deletes fields of a hash that have expired, a bounded number, and the key if they were the last. Returns how many.
    fn expire_fields_of(&mut self, now: Now, database: usize, key: &[u8]) -> usize {
        let settings = Settings {
            limits: &self.options.limits,
            hasher: self.keyspace.hasher(),
            keep_size: self.keyspace.keeps_size(),
        };
        let Some(found) = self.keyspace.database(database).find(key) else { return 0 };
        if self.keyspace.database(database).entry(found).kind() != Type::Hash {
            return 0;
        }
        let mut fields: Vec<Vec<u8>> = Vec::new();
        let mut hash = self.keyspace.collection_mut::<Hash>(database, found);
        hash.remove_due(now.unix_ms(), FIELDS_PER_HASH, settings, |name| fields.push(name.to_vec()));
        let is_empty = hash.is_empty();
        drop(hash);
        self.keyspace.database_mut(database).note_field_expiries(found);
        if fields.is_empty() {
            return 0;
        }
        self.stats.expired_fields += fields.len() as u64;
        for field in &fields {
            self.propagate_own(database, [b"HDEL".as_slice(), key, field]);
        }
        if self.effects.track_events {
            let event = KeyEvent { class: EventClass::Hash, name: "hexpired", database, key: key.to_vec() };
            self.effects.events.push(event);
        }
        if is_empty {
            // Others have deleted the key with its last field, so that it is not told once more.
            let keep_size = self.keyspace.keeps_size();
            drop(self.keyspace.database_mut(database).remove(found, keep_size));
            if self.effects.track_events {
                let event = KeyEvent { class: EventClass::Generic, name: "del", database, key: key.to_vec() };
                self.effects.events.push(event);
            }
        }
        self.note_unasked(database, key, None);
        fields.len()
    }

    /// Notes keys that a client of a writable replica gave an expiry: the primary will not delete them.
    pub(crate) fn note_own_keys(&mut self) {
        for (database, key) in &self.effects.touched {
            let found = self.keyspace.database(*database);
            let expires = found.find(key).is_some_and(|place| found.entry(place).expiry_ms().is_some());
            if expires && self.own_keys.keys.len() < OWN_KEYS_MAX {
                self.own_keys.keys.insert((*database, key.clone()));
            }
        }
    }

    /// Deletes some of the noted keys that have expired. Nobody hears of it: the primary knows nothing of them.
    fn expire_own_keys(&mut self, now: Now) {
        let start = std::mem::take(&mut self.own_keys.next);
        let batch: Vec<_> = self.own_keys.keys.range(start..).take(OWN_KEYS_PER_STEP + 1).cloned().collect();
        if let Some(next) = batch.get(OWN_KEYS_PER_STEP) {
            self.own_keys.next.clone_from(next);
        }
        for place in batch.into_iter().take(OWN_KEYS_PER_STEP) {
            let (database, key) = (self.keyspace.database(place.0), &place.1);
            let expiry_ms = database.find(key).and_then(|found| database.entry(found).expiry_ms());
            match expiry_ms {
                Some(at) if at > now.unix_ms() => continue,
                Some(_) => self.delete_expired(place.0, key),
                None => {}
            }
            self.own_keys.keys.remove(&place);
        }
    }

    fn delete_expired(&mut self, database: usize, key: &[u8]) {
        self.stats.expired_keys += 1;
        let is_lazy = self.config.lazyfree_lazy_expire;
        let deletion =
            Deletion { class: EventClass::Expired, event: "expired", is_lazy, frees_elsewhere: true };
        self.delete_unasked(database, key, deletion, None);
    }

    /// Deletes a key that no client asked to delete. `own` is the client whose command is about to run.
    pub(crate) fn delete_unasked(
        &mut self,
        database: usize,
        key: &[u8],
        deletion: Deletion,
        own: Option<(Handle, &mut Session)>,
    ) {
        let keep_size = self.keyspace.keeps_size();
        let Some(found) = self.keyspace.database(database).find(key) else { return };
        let entry = self.keyspace.database_mut(database).remove(found, keep_size);
        if deletion.frees_elsewhere || entry.free_effort() > FREED_AT_ONCE_MAX {
            self.keyspace.discard_entry(entry);
        } else {
            drop(entry);
        }
        if !self.is_replica() {
            let name = if deletion.is_lazy { b"UNLINK".as_slice() } else { b"DEL" };
            self.propagate_own(database, [name, key]);
        }
        if self.effects.track_events {
            let event = KeyEvent { class: deletion.class, name: deletion.event, database, key: key.to_vec() };
            self.effects.events.push(event);
        }
        self.note_unasked(database, key, own);
    }

    /// Tells those who wait for a key or watch it that it has changed without a client's doing, and publishes its events.
    fn note_unasked(&mut self, database: usize, key: &[u8], mut own: Option<(Handle, &mut Session)>) {
        self.blocking.note(database, key);
        for &watcher in self.watchers.of(database, key) {
            match &mut own {
                Some((handle, session)) if *handle == watcher => crate::watch::touch(session, key, false),
                _ => {
                    if let Some(session) = self.clients.session_mut(watcher) {
                        crate::watch::touch(session, key, false);
                    }
                }
            }
        }
        if self.effects.track_events {
            self.publish_events(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Fixture;

    fn expire(fixture: &mut Fixture) {
        while !fixture.node.expire_step(fixture.host.clock, &mut fixture.host) {}
    }

    #[test]
    fn nothing_expires_while_clients_are_paused() {
        for kind in ["WRITE", "ALL"] {
            let mut fixture = Fixture::new();
            let pausing = fixture.connect();
            fixture.run("SET read v PX 10");
            fixture.run("SET unread v PX 10");
            fixture.check_as(pausing, &format!("CLIENT PAUSE 1000 {kind}"), "+OK");
            fixture.advance_ms(20);
            if kind == "WRITE" {
                fixture.check_all(&[("GET read", "nil"), ("EXISTS read", ":0"), ("DBSIZE", ":2")]);
            }
            expire(&mut fixture);
            assert_eq!(fixture.node.keyspace().len(), 2, "{kind}");
            fixture.advance_ms(2000);
            fixture.check_all(&[("GET read", "nil"), ("DBSIZE", ":1")]);
            expire(&mut fixture);
            fixture.check("DBSIZE", ":0");
        }
    }

    #[test]
    fn fields_of_hashes_expire_by_themselves() {
        let mut fixture = Fixture::new();
        fixture.run("CONFIG SET notify-keyspace-events KEA");
        let fields: Vec<String> = (0..300).map(|number| format!("f{number} v")).collect();
        let names: Vec<&str> = fields.iter().map(|field| field.trim_end_matches(" v")).collect();
        fixture.run(&format!("HSET many {} stays v", fields.join(" ")));
        fixture.run(&format!("HPEXPIRE many 10 FIELDS 300 {}", names.join(" ")));
        fixture.run("HSET one a 1");
        fixture.run("HPEXPIRE one 10 FIELDS 1 a");
        fixture.run("HSET later a 1 b 2");
        fixture.run("HPEXPIRE later 10 FIELDS 1 a");
        fixture.run("HPEXPIRE later 20 FIELDS 1 a");
        let (listener, watcher) = (fixture.connect(), fixture.connect());
        fixture.run_as(listener, "PSUBSCRIBE __keyevent@0__:*");
        fixture.run_as(watcher, "WATCH one");
        fixture.advance_ms(15);
        expire(&mut fixture);
        fixture.check_all(&[
            ("HLEN many", ":1"),
            ("EXISTS one", ":0"),
            ("HLEN later", ":2"),
            ("DBSIZE", ":2"),
        ]);
        assert!(fixture.text("INFO stats").contains("expired_subkeys:301\r\n"));
        fixture.run_as(watcher, "MULTI");
        fixture.check_as(watcher, "EXEC", "nil");
        let events = fixture.received(listener).join(" ");
        for (event, key) in [("hexpired", "many"), ("hexpired", "one"), ("del", "one")] {
            assert!(
                events.contains(&format!("\"__keyevent@0__:{event}\", \"{key}\"")),
                "{event} {key}: {events}"
            );
        }
        fixture.advance_ms(10);
        expire(&mut fixture);
        assert!(fixture.text("INFO stats").contains("expired_subkeys:302\r\n"));
        fixture.check("HLEN later", ":1");
    }

    #[test]
    fn replicas_leave_expired_fields_to_the_primary() {
        let mut fixture = Fixture::new();
        fixture.run("HSET h a 1 b 2");
        fixture.run("HPEXPIRE h 10 FIELDS 1 a");
        fixture.check("REPLICAOF 127.0.0.1 1", "+OK");
        fixture.advance_ms(20);
        expire(&mut fixture);
        fixture.check_all(&[("HGET h a", "nil"), ("HLEN h", ":1")]);
        assert!(fixture.text("INFO stats").contains("expired_subkeys:0\r\n"));
        fixture.check("REPLICAOF NO ONE", "+OK");
        expire(&mut fixture);
        assert!(fixture.text("INFO stats").contains("expired_subkeys:1\r\n"));
    }

    #[test]
    fn replicas_hide_what_has_expired() {
        let mut fixture = Fixture::new();
        fixture.run("SET k v PX 10");
        fixture.run("SET other v");
        fixture.check("REPLICAOF 127.0.0.1 1", "+OK");
        fixture.advance_ms(20);
        expire(&mut fixture);
        fixture.check_all(&[
            ("GET k", "nil"),
            ("STRLEN k", ":0"),
            ("EXISTS k other", ":1"),
            ("TTL k", ":-2"),
            ("TYPE k", "+none"),
            ("KEYS *", "[\"other\"]"),
            ("SCAN 0", "[\"0\", [\"other\"]]"),
            ("RANDOMKEY", "\"other\""),
            ("DUMP k", "nil"),
            ("DBSIZE", ":2"),
            ("REPLICAOF NO ONE", "+OK"),
            ("GET k", "nil"),
            ("DBSIZE", ":1"),
        ]);
    }
}
