//! The whole keyspace as an RDB file, written and read.
//!
//! Writing only looks at the keyspace and hands out chunks, so that a forked child can stream it to a file or a pipe.
//! Reading takes chunks as they come, so that a node can load from a replication stream and do other things between.

use crate::access;
use crate::call::StoreOptions;
use crate::entry::{Entry, NewValue, Text, Value};
use crate::keyspace::Keyspace;
use crate::table::Item;
use shoal_formats::rdb::{
    EntryNotes, RdbEntry, RdbError, RdbEvent, RdbReader, RdbString, RdbValue, RdbWriter,
};
use shoal_machine::Now;
use std::fmt;

/// The version that files claim to be written by; clients and tools know it.
const REDIS_VERSION: &[u8] = b"7.2.4";
/// Chunks are handed out when they have grown to this size.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// The most remarks of a file that are kept.
const AUX_MAX: usize = 64;

/// Which access clock a file keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessNotes {
    /// None.
    #[default]
    None,
    /// Seconds since the last access: `maxmemory-policy` is one of the LRU policies.
    Idle,
    /// The counter of accesses: `maxmemory-policy` is one of the LFU policies.
    Frequency,
}

/// Where in the replication stream a snapshot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationPoint {
    /// The database that the stream has selected; -1 for none.
    pub stream_database: i64,
    /// The stream's id.
    pub id: String,
    /// Bytes of the stream before the snapshot.
    pub offset: i64,
}

/// What a snapshot says beside the keys.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// The time.
    pub now: Now,
    /// Version, compression and the decay of access counters.
    pub store: StoreOptions,
    /// `rdbchecksum`.
    pub checksum: bool,
    /// Memory in use.
    pub used_memory_bytes: u64,
    /// Where in the replication stream it stands, if there is one.
    pub replication: Option<ReplicationPoint>,
    /// It is the base of an append-only file.
    pub aof_base: bool,
    /// The code of the function libraries.
    pub functions: Vec<Vec<u8>>,
    /// Which access clock it keeps.
    pub access: AccessNotes,
}

impl SnapshotOptions {
    /// A snapshot with a checksum, and without anything that depends on the node.
    pub fn new(now: Now, store: StoreOptions) -> Self {
        Self {
            now,
            store,
            checksum: true,
            used_memory_bytes: 0,
            replication: None,
            aof_base: false,
            functions: Vec::new(),
            access: AccessNotes::None,
        }
    }
}

/// A part of a snapshot on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Keys written so far, those in this chunk included.
    pub keys: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Keys.
    pub keys: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The sink of a snapshot refused a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// A keyspace on its way into a file.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    keyspace: &'a Keyspace,
    options: &'a SnapshotOptions,
}

impl<'a> Snapshot<'a> {
    /// A snapshot of `keyspace`.
    pub fn new(keyspace: &'a Keyspace, options: &'a SnapshotOptions) -> Self {
        Self { keyspace, options }
    }

    /// Writes it, chunk by chunk. A chunk is about [`CHUNK_BYTES`] long, or as long as its longest value.
    ///
    /// # Errors
    /// `sink` returned false; it is not called again.
    pub fn write_to(&self, sink: &mut dyn FnMut(Chunk<'_>) -> bool) -> Result<Summary, Stopped> {
        let options = self.options;
        let mut writer = RdbWriter::new(options.store.rdb_version, options.store.compress, options.checksum);
        self.write_aux(&mut writer);
        for code in &options.functions {
            writer.function(code);
        }
        let mut keys = 0;
        let mut stopped = false;
        for (index, database) in
            self.keyspace.databases().enumerate().filter(|(_, database)| !database.is_empty())
        {
            writer.select_database(index as u64);
            writer.resize(database.len() as u64, database.expiring_len() as u64);
            database.for_each(|entry| {
                if stopped {
                    return;
                }
                writer.entry(entry.key(), self.notes_of(entry), to_rdb(entry.value()));
                keys += 1;
                if writer.pending_bytes() >= CHUNK_BYTES {
                    stopped = !writer.drain(&mut |bytes| sink(Chunk { bytes, keys }));
                }
            });
            if stopped {
                return Err(Stopped);
            }
        }
        writer.end();
        if writer.drain(&mut |bytes| sink(Chunk { bytes, keys })) {
            Ok(Summary { keys, bytes: writer.drained_bytes() })
        } else {
            Err(Stopped)
        }
    }

    /// As [`Snapshot::write_to`], into memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = self.write_to(&mut |chunk| {
            bytes.extend_from_slice(chunk.bytes);
            true
        });
        debug_assert!(written.is_ok(), "the sink takes everything");
        bytes
    }

    fn write_aux(&self, writer: &mut RdbWriter) {
        let options = self.options;
        writer.aux("redis-ver", RdbString::Bytes(REDIS_VERSION));
        writer.aux("redis-bits", RdbString::Integer(64));
        writer.aux("ctime", RdbString::Integer(options.now.unix_s() as i64));
        writer.aux("used-mem", RdbString::Integer(options.used_memory_bytes as i64));
        if let Some(point) = &options.replication {
            writer.aux("repl-stream-db", RdbString::Integer(point.stream_database));
            writer.aux("repl-id", RdbString::Bytes(point.id.as_bytes()));
            writer.aux("repl-offset", RdbString::Integer(point.offset));
        }
        writer.aux("aof-base", RdbString::Integer(i64::from(options.aof_base)));
    }

    fn notes_of(&self, entry: &Entry) -> EntryNotes {
        let options = self.options;
        let idle_s = || access::lru_idle_s(entry.access(), options.now);
        let frequency = || access::lfu_counter(entry.access(), options.now, &options.store) as u8;
        EntryNotes {
            expiry_ms: entry.expiry_ms(),
            idle_s: (options.access == AccessNotes::Idle).then(idle_s),
            frequency: (options.access == AccessNotes::Frequency).then(frequency),
        }
    }
}

/// A value as files keep it.
pub fn to_rdb(value: Value<'_>) -> RdbValue<'_> {
    RdbValue::String(match value {
        Value::String(Text::Integer(integer)) => RdbString::Integer(integer),
        Value::String(Text::Bytes(bytes)) => RdbString::Bytes(bytes),
        Value::String(Text::Shared(bytes)) => RdbString::Bytes(bytes),
        // No command makes collections yet.
        _ => RdbString::Bytes(&[]),
    })
}

/// A value of a file as the keyspace keeps it.
pub fn from_rdb(value: RdbValue<'_>) -> NewValue<'_> {
    match value {
        RdbValue::String(RdbString::Integer(integer)) => NewValue::Integer(integer),
        RdbValue::String(RdbString::Bytes(bytes)) => NewValue::compact(bytes),
    }
}

/// How a file is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// The time when loading began.
    pub now: Now,
    /// Keys that have expired are left out: on a primary, but not from the base of an append-only file, and never on a
    /// replica.
    pub drop_expired: bool,
    /// A key that is there already is replaced; otherwise it is an error.
    pub replace: bool,
    /// Access clocks count accesses (LFU).
    pub lfu: bool,
    /// The checksum is compared.
    pub check_checksum: bool,
}

impl LoadOptions {
    /// As a primary loads its own file.
    pub fn new(now: Now) -> Self {
        Self { now, drop_expired: true, replace: false, lfu: false, check_checksum: true }
    }
}

/// Why loading failed. What was loaded before is in the keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The bytes are wrong.
    Format(RdbError),
    /// A database that this node does not have.
    DatabaseOutOfRange {
        /// The database.
        index: u64,
        /// How many there are.
        count: usize,
    },
    /// A key that is there already.
    DuplicateKey {
        /// The key.
        key: Vec<u8>,
        /// Its database.
        database: usize,
    },
    /// Data of a module; there are none.
    ModuleData {
        /// The module.
        module_id: u64,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => error.fmt(formatter),
            Self::DatabaseOutOfRange { index, count } => {
                write!(formatter, "the file has keys in database {index}, this server has {count} databases")
            }
            Self::DuplicateKey { key, database } => {
                write!(formatter, "duplicate key '{}' in database {database}", String::from_utf8_lossy(key))
            }
            Self::ModuleData { module_id } => {
                write!(formatter, "the file has data of module {module_id:016x}, modules are not supported")
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl From<RdbError> for LoadError {
    fn from(error: RdbError) -> Self {
        Self::Format(error)
    }
}

/// What a file says beside its keys, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The format's version.
    pub version: u16,
    /// Remarks, in the order of the file.
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    /// The code of function libraries.
    pub functions: Vec<Vec<u8>>,
    /// Keys that were loaded.
    pub keys: u64,
    /// Keys that had expired and were left out.
    pub expired: u64,
    /// Databases that hold something of the file now.
    pub databases: Vec<usize>,
}

impl Loaded {
    /// The value of a remark.
    pub fn aux_value(&self, name: &str) -> Option<&[u8]> {
        self.aux.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| &value[..])
    }

    fn aux_integer(&self, name: &str) -> Option<i64> {
        std::str::from_utf8(self.aux_value(name)?).ok()?.parse().ok()
    }

    /// Where in the replication stream the file stands.
    pub fn replication(&self) -> Option<ReplicationPoint> {
        Some(ReplicationPoint {
            stream_database: self.aux_integer("repl-stream-db").unwrap_or(-1),
            id: String::from_utf8(self.aux_value("repl-id")?.to_vec()).ok()?,
            offset: self.aux_integer("repl-offset")?,
        })
    }
}

/// A file on its way into a keyspace.
#[derive(Debug)]
pub struct Loader {
    reader: RdbReader,
    options: LoadOptions,
    database: usize,
    loaded: Loaded,
}

impl Loader {
    /// A loader at the beginning of a file.
    pub fn new(options: LoadOptions) -> Self {
        let reader = RdbReader::new(options.check_checksum);
        Self { reader, options, database: 0, loaded: Loaded::default() }
    }

    /// Takes more bytes and loads what is complete. True at the end; what follows is kept for [`Loader::take_rest`].
    ///
    /// # Errors
    /// See [`LoadError`]; the loader is of no more use then.
    pub fn feed(&mut self, keyspace: &mut Keyspace, bytes: &[u8]) -> Result<bool, LoadError> {
        self.reader.feed(bytes);
        while let Some(event) = self.reader.next()? {
            let loaded = &mut self.loaded;
            match event {
                RdbEvent::Begin { version } => loaded.version = version,
                RdbEvent::Aux { name, value } if loaded.aux.len() < AUX_MAX => {
                    loaded.aux.push((name.to_vec(), value.to_vec()));
                }
                RdbEvent::SelectDatabase(index) => {
                    let count = keyspace.database_count();
                    let known = usize::try_from(index).ok().filter(|index| *index < count);
                    self.database = known.ok_or(LoadError::DatabaseOutOfRange { index, count })?;
                }
                RdbEvent::Function(code) => loaded.functions.push(code.to_vec()),
                RdbEvent::ModuleAux { module_id } => return Err(LoadError::ModuleData { module_id }),
                RdbEvent::Entry(entry) => {
                    load_entry(keyspace, self.database, entry, &self.options, loaded)?;
                }
                RdbEvent::Aux { .. }
                | RdbEvent::Resize { .. }
                | RdbEvent::SlotInfo { .. }
                | RdbEvent::End => {}
            }
        }
        Ok(self.reader.is_done())
    }

    /// Whether the end has been read.
    pub fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Bytes of the file that have been read.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// What the file says beside its keys, as far as it has been read.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The bytes that were fed but not read: after the end, those of something else.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.reader.take_rest()
    }
}

fn load_entry(
    keyspace: &mut Keyspace,
    index: usize,
    entry: RdbEntry<'_>,
    options: &LoadOptions,
    loaded: &mut Loaded,
) -> Result<(), LoadError> {
    let notes = entry.notes;
    if options.drop_expired && notes.expiry_ms.is_some_and(|at| at < options.now.unix_ms()) {
        loaded.expired += 1;
        return Ok(());
    }
    let mut made = Entry::new(entry.key, from_rdb(entry.value), notes.expiry_ms);
    made.set_access(access::restored(options.now, options.lfu, notes.idle_s, notes.frequency));
    let database = keyspace.database_mut(index);
    let place = database.place(entry.key);
    match database.find_at(place, entry.key) {
        None => {
            database.insert(place, made);
        }
        Some(found) if options.replace => drop(database.replace(found, made)),
        Some(_) => return Err(LoadError::DuplicateKey { key: entry.key.to_vec(), database: index }),
    }
    loaded.keys += 1;
    if loaded.databases.last() != Some(&index) && !loaded.databases.contains(&index) {
        loaded.databases.push(index);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
