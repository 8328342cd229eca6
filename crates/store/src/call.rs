//! The context in which the body of a data command runs.

use crate::database::{Database, Found};
use crate::entry::{Entry, NewValue};
use crate::keyspace::{Keyspace, StringRef};
use crate::snapshot::BadValue;
use crate::table::Item;
use crate::types::{Collection, Hash, Settings, Type};
use shoal_machine::{Now, Rng};
use shoal_protocol::{ErrorReply, OwnedRequest, Reply, errors};

/// A class of keyspace events, as the letters of `notify-keyspace-events` choose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EventClass {
    Generic,
    String,
    List,
    Set,
    Hash,
    SortedSet,
    Expired,
    Evicted,
    Stream,
    KeyMiss,
    New,
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// Its class.
    pub class: EventClass,
    /// Its name: `set`, `del`, `expire`, …
    pub name: &'static str,
    /// The database.
    pub database: usize,
    /// The key.
    pub key: Vec<u8>,
}

/// How a command that changed something reaches replicas and the append-only file.
#[derive(Clone, Debug, Default)]
pub enum Propagation {
    /// As the client sent it.
    #[default]
    Verbatim,
    /// As these commands instead: an effect that is the same wherever it is carried out.
    Instead(Vec<OwnedRequest>),
}

/// What a command did, collected for its caller. Reused from command to command.
#[derive(Debug, Default)]
pub struct Effects {
    /// How many changes; a command with none is not propagated.
    pub dirty: u64,
    /// How it is propagated.
    pub propagation: Propagation,
    /// Deletions of expired keys that the command came across: `(database, command)`, propagated before it.
    pub before: Vec<(usize, OwnedRequest)>,
    /// Keys that changed, collected if `track_touched` is set.
    pub touched: Vec<(usize, Vec<u8>)>,
    /// Databases that were emptied or exchanged as a whole.
    pub touched_databases: Vec<usize>,
    /// Events, collected if `track_events` is set.
    pub events: Vec<KeyEvent>,
    /// Somebody watches keys.
    pub track_touched: bool,
    /// Somebody listens for events.
    pub track_events: bool,
    /// Nobody receives what is propagated (no replicas, no append-only file): commands need not note it.
    pub skip_propagation: bool,
    /// Keys that reads found.
    pub hits: u64,
    /// Keys that reads did not find.
    pub misses: u64,
    /// Keys that were found expired and deleted.
    pub expired: u64,
    /// Fields of hashes that were found expired and deleted.
    pub expired_fields: u64,
    /// The command found nothing and wants to wait; it has written no reply.
    pub block: Option<Block>,
    /// Why a payload was refused, for the log: the client is told less.
    pub refusal: Option<BadValue>,
}

impl Effects {
    /// Forgets what the last command did; keeps the settings and the memory.
    pub fn reset(&mut self) {
        self.dirty = 0;
        if !matches!(self.propagation, Propagation::Verbatim) {
            self.propagation = Propagation::Verbatim;
        }
        // Most commands leave all of them empty.
        let kept = self.before.len() | self.touched.len() | self.touched_databases.len() | self.events.len();
        if kept > 0 {
            self.before.clear();
            self.touched.clear();
            self.touched_databases.clear();
            self.events.clear();
        }
        self.hits = 0;
        self.misses = 0;
        self.expired = 0;
        self.expired_fields = 0;
        self.block = None;
        self.refusal = None;
    }
}

/// Who is asking, as far as it changes what a command sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    /// This node is a replica: expired keys are hidden, not deleted, until the primary says so.
    pub on_replica: bool,
    /// The command comes from the primary (or a file): expired keys are there like any other.
    pub from_primary: bool,
    /// Reads leave the access clock alone (`CLIENT NO-TOUCH`, or a snapshot shares the pages).
    pub no_touch: bool,
    /// Nobody may wait here: in a transaction, a script, or the stream of a primary. A command that would wait replies as
    /// if its time had passed.
    pub deny_blocking: bool,
    /// The client is disconnected when more bytes than these wait for it, so that a command of huge replies need not go
    /// on; 0 for no limit.
    pub reply_max_bytes: usize,
}

impl Access {
    /// Whether so much waits for the client that nothing of it will be sent.
    pub fn gives_up(&self, reply: &Reply<'_>) -> bool {
        self.reply_max_bytes > 0 && reply.waiting_bytes() > self.reply_max_bytes
    }
}

/// Settings of the store that commands need.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// `maxmemory-policy` is one of the LFU policies: the access clock counts.
    pub lfu: bool,
    /// `maxmemory` is in force with an LRU or LFU policy: Redis shares no integers then, as each has a clock of its own.
    pub own_integers: bool,
    /// `lfu-log-factor`.
    pub lfu_log_factor: u32,
    /// `lfu-decay-time` in minutes.
    pub lfu_decay_minutes: u32,
    /// `proto-max-bulk-len`: the longest string.
    pub max_string_bytes: usize,
    /// `rdb-version-compat` 10: what leaves the node fits Redis 7.0.
    pub rdb_version: u16,
    /// `sanitize-dump-payload`: RESTORE checks every byte of what it is given.
    pub sanitize_payload: bool,
    /// `rdbcompression`.
    pub compress: bool,
    /// Lazy freeing by UNLINK and, with `lazyfree-lazy-user-del`, by DEL.
    pub lazy_user_del: bool,
    /// `lazyfree-lazy-server-del`.
    pub lazy_server_del: bool,
    /// `lazyfree-lazy-user-flush`.
    pub lazy_user_flush: bool,
    /// `lazyfree-lazy-expire`: replicas are told to unlink what has expired.
    pub lazy_expire: bool,
    /// A debugging aid: RESTORE does not check the checksum.
    pub skip_checksum: bool,
    /// Where collections change their encoding.
    pub limits: EncodingLimits,
}

/// Where collections change their encoding, as the directives of the same names say.
#[derive(Clone, Copy, Debug)]
pub struct EncodingLimits {
    /// `list-max-listpack-size`: elements of a list's node, or if negative -1 to -5 for 4 to 64 KiB.
    pub list_max_listpack_size: i32,
    /// `list-compress-depth`: nodes at each end of a list that are not compressed; 0 compresses none.
    pub list_compress_depth: u32,
    /// `set-max-intset-entries`.
    pub set_max_intset_entries: usize,
    /// `set-max-listpack-entries`.
    pub set_max_listpack_entries: usize,
    /// `set-max-listpack-value` in bytes.
    pub set_max_listpack_value_bytes: usize,
    /// `hash-max-listpack-entries`: fields.
    pub hash_max_listpack_entries: usize,
    /// `hash-max-listpack-value` in bytes.
    pub hash_max_listpack_value_bytes: usize,
    /// `zset-max-listpack-entries`: members.
    pub zset_max_listpack_entries: usize,
    /// `zset-max-listpack-value` in bytes.
    pub zset_max_listpack_value_bytes: usize,
    /// `stream-node-max-bytes`.
    pub stream_node_max_bytes: usize,
    /// `stream-node-max-entries`.
    pub stream_node_max_entries: usize,
    /// `hll-sparse-max-bytes`.
    pub hll_sparse_max_bytes: usize,
    /// A debugging aid: list elements of more bytes have a node of their own. 0 leaves it to the size of nodes.
    pub quicklist_packed_threshold_bytes: usize,
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self {
            list_max_listpack_size: -2,
            list_compress_depth: 0,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value_bytes: 64,
            hash_max_listpack_entries: 512,
            hash_max_listpack_value_bytes: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value_bytes: 64,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
            hll_sparse_max_bytes: 3000,
            quicklist_packed_threshold_bytes: 0,
        }
    }
}

/// What a client waits for whose command found nothing.
#[derive(Clone, Debug)]
pub struct Block {
    /// The keys of the selected database, in the order in which they are looked at.
    pub keys: Vec<Vec<u8>>,
    /// What the keys have to hold.
    pub kind: Type,
    /// How long, in milliseconds; 0 for ever.
    pub timeout_ms: u64,
    /// What is replied when that has passed.
    pub on_timeout: TimeoutReply,
    /// What is tried again when one of the keys changes, if it is not the request as the client sent it.
    pub retry: Option<OwnedRequest>,
    /// It is tried again, too, when a key goes or holds another type (XREADGROUP).
    pub until_key_goes: bool,
}

/// What a client is told whose patience has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReply {
    /// The null of arrays.
    NullArray,
    /// The null of strings.
    Null,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            lfu: false,
            own_integers: false,
            lfu_log_factor: 10,
            lfu_decay_minutes: 1,
            max_string_bytes: 512 * 1024 * 1024,
            rdb_version: 11,
            sanitize_payload: false,
            compress: true,
            lazy_user_del: false,
            lazy_server_del: false,
            lazy_user_flush: false,
            lazy_expire: false,
            skip_checksum: false,
            limits: EncodingLimits::default(),
        }
    }
}

/// One running command.
#[derive(Debug)]
pub struct Call<'a, 'r> {
    /// The time, the same for the whole command.
    pub now: Now,
    /// All databases.
    pub keyspace: &'a mut Keyspace,
    /// The client's selected database.
    pub database_index: usize,
    /// Where the reply goes.
    pub reply: &'a mut Reply<'r>,
    /// What the command does is noted here.
    pub effects: &'a mut Effects,
    /// Who is asking.
    pub access: Access,
    /// Settings.
    pub options: &'a StoreOptions,
    /// Randomness.
    pub rng: &'a mut Rng,
}

/// The outcome of a command's body: its reply has been written, or this error is to be.
pub type Outcome = Result<(), ErrorReply>;

impl<'a> Call<'a, '_> {
    /// The selected database.
    pub fn database(&self) -> &Database {
        self.keyspace.database(self.database_index)
    }

    /// The selected database, to be changed.
    pub fn database_mut(&mut self) -> &mut Database {
        self.keyspace.database_mut(self.database_index)
    }

    /// What collections have to know to choose their encoding.
    pub fn settings(&self) -> Settings<'a> {
        Settings {
            limits: &self.options.limits,
            hasher: self.keyspace.hasher(),
            keep_size: self.keyspace.keeps_size(),
        }
    }

    /// Whether an expiry has passed for this caller.
    pub fn is_expired(&self, expiry_ms: Option<u64>) -> bool {
        expiry_ms.is_some_and(|at| at <= self.now.unix_ms()) && !self.access.from_primary
    }

    /// Finds a key for a read: counts hit or miss, moves the access clock, hides what has expired.
    pub fn find_for_read(&mut self, key: &[u8]) -> Option<Found> {
        let found = self.peek(key)?;
        self.touch(found);
        Some(found)
    }

    /// As [`Call::find_for_read`], but leaves the access clock alone: for commands that ask about a key, not for it.
    pub fn peek(&mut self, key: &[u8]) -> Option<Found> {
        let found = self.find(key);
        match found {
            Some(_) => self.effects.hits += 1,
            None => {
                self.effects.misses += 1;
                self.event(EventClass::KeyMiss, "keymiss", key);
            }
        }
        found
    }

    /// Finds a key for a change: moves the access clock, deletes what has expired (on a replica that takes writes,
    /// too: a key of the same name may be about to be made).
    pub fn find_for_write(&mut self, key: &[u8]) -> Option<Found> {
        let found = self.find_for_write_in(self.database_index, key)?;
        self.touch(found);
        Some(found)
    }

    /// As [`Call::find_for_write`], in another database, without moving the access clock.
    pub fn find_for_write_in(&mut self, database_index: usize, key: &[u8]) -> Option<Found> {
        self.look_up(database_index, key, true)
    }

    /// Finds a key without any trace but the deletion of what has expired.
    pub fn find(&mut self, key: &[u8]) -> Option<Found> {
        self.find_in(self.database_index, key)
    }

    /// As [`Call::find`], in another database.
    pub fn find_in(&mut self, database_index: usize, key: &[u8]) -> Option<Found> {
        self.look_up(database_index, key, false)
    }

    #[inline]
    fn look_up(&mut self, database_index: usize, key: &[u8], for_write: bool) -> Option<Found> {
        let found = self.keyspace.database_mut(database_index).look_up(key)?;
        let database = self.keyspace.database(database_index);
        if database.expiring_len() > 0 && self.is_expired(database.entry(found).expiry_ms()) {
            if for_write || !self.access.on_replica {
                self.delete_expired(database_index, found, key);
            }
            return None;
        }
        Some(found)
    }

    fn delete_expired(&mut self, database_index: usize, found: Found, key: &[u8]) {
        self.remove_from(database_index, found);
        self.effects.expired += 1;
        if !self.effects.skip_propagation {
            let name = if self.options.lazy_expire { b"UNLINK".as_slice() } else { b"DEL" };
            self.effects.before.push((database_index, OwnedRequest::new([name, key])));
        }
        self.event_in(database_index, EventClass::Expired, "expired", key);
        self.touched_in(database_index, key);
    }

    /// Moves the access clock of an entry.
    #[inline]
    pub fn touch(&mut self, found: Found) {
        self.touch_from(found, self.database().entry(found).access());
    }

    /// As [`Call::touch`], if the clock is known.
    #[inline]
    fn touch_from(&mut self, found: Found, before: u32) {
        if self.access.no_touch || self.keyspace.frozen_pages {
            return;
        }
        let clock = if self.options.lfu {
            crate::access::lfu_after_access(before, self.now, self.options, self.rng)
        } else {
            crate::access::lru_clock(self.now)
        };
        // Most reads come within the second of the last one: those leave the memory as it is.
        if before != clock {
            self.database_mut().entry_mut(found).set_access(clock);
        }
    }

    /// The access clock that a new entry begins with.
    pub fn initial_access(&self) -> u32 {
        if self.options.lfu {
            crate::access::lfu_initial(self.now)
        } else {
            crate::access::lru_clock(self.now)
        }
    }

    /// The value of an entry as a string.
    ///
    /// # Errors
    /// The key holds another type.
    pub fn string(&self, found: Found) -> Result<StringRef<'_>, ErrorReply> {
        self.check_type(Some(found), Type::String)?;
        Ok(self.keyspace.string(self.database_index, found))
    }

    /// Finds a collection for a read, see [`Call::find_for_read`]. [`Keyspace::collection`] gives it.
    ///
    /// # Errors
    /// The key holds another type.
    pub fn find_collection<T: Collection>(&mut self, key: &[u8]) -> Result<Option<Found>, ErrorReply> {
        let found = self.find_for_read(key);
        self.check_type(found, T::TYPE)
    }

    /// Finds a collection for a change, see [`Call::find_for_write`]. [`Keyspace::collection_mut`] gives it.
    ///
    /// # Errors
    /// The key holds another type.
    pub fn find_collection_for_write<T: Collection>(
        &mut self,
        key: &[u8],
    ) -> Result<Option<Found>, ErrorReply> {
        let Some(found) = self.find_for_write_in(self.database_index, key) else { return Ok(None) };
        let entry = self.database().entry(found);
        let (kind, access) = (entry.kind(), entry.access());
        self.touch_from(found, access);
        if kind == T::TYPE { Ok(Some(found)) } else { Err(errors::WRONG_TYPE) }
    }

    /// As [`Call::find_collection_for_write`]; an empty collection is inserted if the key is not there. The caller puts
    /// something into it before the command ends.
    ///
    /// # Errors
    /// The key holds another type.
    #[inline]
    pub fn find_or_insert<T: Collection>(&mut self, key: &[u8]) -> Result<Found, ErrorReply> {
        match self.find_collection_for_write::<T>(key)? {
            Some(found) => Ok(found),
            None => Ok(self.insert(key, NewValue::from(T::default()), None)),
        }
    }

    /// Finds a hash for a read, see [`Call::find_for_read`]. Fields that have expired go first, as far as that is not for
    /// the primary to say; what is left of them is hidden by [`crate::types::Hash::live`] with [`Call::fields_now_ms`].
    ///
    /// # Errors
    /// The key holds another type.
    pub fn find_hash(&mut self, key: &[u8]) -> Result<Option<Found>, ErrorReply> {
        let found = self.find_collection::<Hash>(key)?;
        Ok(found.filter(|found| self.access.on_replica || self.keeps_hash(*found, key)))
    }

    /// Finds a hash for a change of these fields, see [`Call::find_for_write`]: those that have expired go first.
    ///
    /// # Errors
    /// The key holds another type.
    pub fn find_hash_for_write<'q>(
        &mut self,
        key: &[u8],
        fields: impl Iterator<Item = &'q [u8]>,
    ) -> Result<Option<Found>, ErrorReply> {
        let Some(found) = self.find_collection_for_write::<Hash>(key)? else { return Ok(None) };
        if !self.keeps_hash(found, key) {
            return Ok(None);
        }
        let now_ms = self.fields_now_ms();
        let hash = self.keyspace.collection::<Hash>(self.database_index, found);
        if hash.first_expiry_ms().is_none_or(|first| first > now_ms) {
            return Ok(Some(found));
        }
        // So many have expired that not all went: those that are asked for do.
        let is_due = |name: &&[u8]| hash.expiry_ms(name).is_some_and(|at| at <= now_ms);
        let due: Vec<Vec<u8>> = fields.filter(is_due).map(<[u8]>::to_vec).collect();
        let settings = self.settings();
        let mut hash = self.keyspace.collection_mut::<Hash>(self.database_index, found);
        for name in &due {
            hash.remove(name, settings);
        }
        drop(hash);
        Ok(Some(found).filter(|_| due.is_empty() || self.fields_expired(found, key, &due)))
    }

    /// As [`Call::find_hash_for_write`]; an empty hash is inserted if the key is not there. The caller puts something into it
    /// before the command ends.
    ///
    /// # Errors
    /// The key holds another type.
    pub fn find_or_insert_hash<'q>(
        &mut self,
        key: &[u8],
        fields: impl Iterator<Item = &'q [u8]>,
    ) -> Result<Found, ErrorReply> {
        match self.find_hash_for_write(key, fields)? {
            Some(found) => Ok(found),
            None => Ok(self.insert(key, NewValue::from(Hash::default()), None)),
        }
    }

    /// The time by which fields have expired for this caller: to a primary or a file all are there.
    pub fn fields_now_ms(&self) -> u64 {
        if self.access.from_primary { 0 } else { self.now.unix_ms() }
    }

    /// Takes out fields that have expired, a bounded number. False if the whole hash is gone with them.
    fn keeps_hash(&mut self, found: Found, key: &[u8]) -> bool {
        /// Fields that one look-up takes out; more wait for the search in the background.
        const FIELDS_MAX: usize = 64;
        let now_ms = self.fields_now_ms();
        let hash = self.keyspace.collection::<Hash>(self.database_index, found);
        if hash.first_expiry_ms().is_none_or(|first| first > now_ms) {
            return true;
        }
        let settings = self.settings();
        let mut hash = self.keyspace.collection_mut::<Hash>(self.database_index, found);
        let mut gone = Vec::new();
        hash.remove_due(now_ms, FIELDS_MAX, settings, |name| gone.push(name.to_vec()));
        drop(hash);
        self.fields_expired(found, key, &gone)
    }

    /// Tells of fields that have been taken out because they have expired, and removes the key if they were the last. False if it
    /// is gone.
    fn fields_expired(&mut self, found: Found, key: &[u8], fields: &[Vec<u8>]) -> bool {
        self.effects.expired_fields += fields.len() as u64;
        if !self.effects.skip_propagation {
            for field in fields {
                let request = OwnedRequest::new([b"HDEL".as_slice(), key, field]);
                self.effects.before.push((self.database_index, request));
            }
        }
        self.event(EventClass::Hash, "hexpired", key);
        self.touched_in(self.database_index, key);
        if self.remove_if_empty::<Hash>(found, key) {
            return false;
        }
        self.database_mut().note_field_expiries(found);
        true
    }

    /// A key that was found, if it holds this type.
    ///
    /// # Errors
    /// It holds another one.
    #[inline]
    pub fn check_type(&self, found: Option<Found>, wanted: Type) -> Result<Option<Found>, ErrorReply> {
        match found {
            Some(found) if self.database().entry(found).kind() != wanted => Err(errors::WRONG_TYPE),
            found => Ok(found),
        }
    }

    /// Takes a key out whose collection has become empty, with the event that says so. False if it is not empty.
    pub fn remove_if_empty<T: Collection>(&mut self, found: Found, key: &[u8]) -> bool {
        let is_empty = self.keyspace.collection::<T>(self.database_index, found).is_empty();
        if is_empty {
            self.remove(found);
            self.event(EventClass::Generic, "del", key);
        }
        is_empty
    }

    /// Waits until one of the keys has what the command looks for; where nobody may wait, replies as if the time had
    /// passed.
    pub fn block(&mut self, block: Block) {
        if self.access.deny_blocking {
            match block.on_timeout {
                TimeoutReply::NullArray => self.reply.null_array(),
                TimeoutReply::Null => self.reply.null(),
            }
        } else {
            self.effects.block = Some(block);
        }
    }

    /// Inserts an entry whose key is not there.
    pub fn insert(&mut self, key: &[u8], value: NewValue<'_>, expiry_ms: Option<u64>) -> Found {
        let mut entry = Entry::new(key, value, expiry_ms);
        entry.set_access(self.initial_access());
        self.event(EventClass::New, "new", key);
        let database = self.database_mut();
        let place = database.place(key);
        database.insert(place, entry)
    }

    /// Puts an entry into a database that has no key of its name.
    pub fn put(&mut self, database_index: usize, entry: Entry) -> Found {
        self.event_in(database_index, EventClass::New, "new", entry.key());
        let database = self.keyspace.database_mut(database_index);
        let place = database.place(entry.key());
        database.insert(place, entry)
    }

    /// Gives a key of the selected database a value, whether it is there (`found`) or not. `expiry` keeps the one it has
    /// if it is `None`, else sets or removes it.
    pub fn store(
        &mut self,
        found: Option<Found>,
        key: &[u8],
        value: NewValue<'_>,
        expiry: Option<Option<u64>>,
    ) -> Found {
        let Some(found) = found else { return self.insert(key, value, expiry.flatten()) };
        let clock = (!self.options.lfu).then(|| crate::access::lru_clock(self.now));
        let database = self.keyspace.database_mut(self.database_index);
        let mut entry = database.entry_mut(found);
        if let Some(clock) = clock {
            entry.set_access(clock);
        }
        let before = entry.expiry_ms();
        let after = expiry.unwrap_or(before);
        // A hash may be in the database's list of those of which fields expire, so that its entry is replaced.
        let is_plain = !Keyspace::is_dear(&entry) && entry.kind() != Type::Hash;
        if before.is_some() == after.is_some() && is_plain {
            entry.set_value(value);
            drop(entry);
            if before != after {
                database.set_expiry(found, after);
            }
        } else {
            let mut replacement = Entry::new(key, value, after);
            replacement.set_access(entry.access());
            drop(entry);
            let old = database.replace(found, replacement);
            self.keyspace.discard_entry(old);
        }
        found
    }

    /// Takes an entry of the selected database out and puts it aside to be freed.
    pub fn remove(&mut self, found: Found) {
        self.remove_from(self.database_index, found);
    }

    /// As [`Call::remove`], in another database.
    pub fn remove_from(&mut self, database_index: usize, found: Found) {
        let keep_size = self.keyspace.keeps_size();
        let entry = self.keyspace.database_mut(database_index).remove(found, keep_size);
        self.keyspace.discard_entry(entry);
    }

    /// Notes that a key of the selected database changed: one more change, and its watchers are to be told.
    pub fn changed(&mut self, key: &[u8]) {
        self.effects.dirty += 1;
        self.touched_in(self.database_index, key);
    }

    /// Tells a key's watchers.
    #[inline]
    pub fn touched_in(&mut self, database_index: usize, key: &[u8]) {
        if self.effects.track_touched {
            self.effects.touched.push((database_index, key.to_vec()));
        }
    }

    /// Notes an event on a key of the selected database.
    #[inline]
    pub fn event(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        self.event_in(self.database_index, class, name, key);
    }

    /// Notes an event on a key of another database.
    #[inline]
    pub fn event_in(&mut self, database: usize, class: EventClass, name: &'static str, key: &[u8]) {
        if self.effects.track_events {
            self.effects.events.push(KeyEvent { class, name, database, key: key.to_vec() });
        }
    }

    /// Propagates these words instead of what the client sent.
    pub fn propagate_instead<I>(&mut self, words: I)
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        if !self.effects.skip_propagation {
            self.propagate_request_instead(OwnedRequest::new(words));
        }
    }

    /// Propagates this request instead of what the client sent.
    pub fn propagate_request_instead(&mut self, request: OwnedRequest) {
        match &mut self.effects.propagation {
            Propagation::Instead(requests) => requests.push(request),
            Propagation::Verbatim => self.effects.propagation = Propagation::Instead(vec![request]),
        }
    }

    /// Replies with a string value; with null if it is none, which callers have ruled out.
    pub fn reply_value(&mut self, found: Found) {
        let entry = self.keyspace.database(self.database_index).entry(found);
        match entry.text() {
            Some(text) => text.write_to(self.reply),
            None => self.reply.null(),
        }
    }

    /// The name of a key that an entry has; for callers that hold only the entry.
    pub fn key_of(&self, found: Found) -> Vec<u8> {
        self.database().entry(found).key().to_vec()
    }
}
