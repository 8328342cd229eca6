//! The whole keyspace as an RDB file, written and read.
//!
//! Writing only looks at the keyspace and hands out chunks, so that a forked child can stream it to a file or a pipe.
//! Reading takes chunks as they come, so that a node can load from a replication stream and do other things between.

mod build;
mod commands;
mod emit;
mod hash;
mod list;
mod load;
mod set;
mod sorted_set;
mod stream;

pub use build::{BadValue, BuildOptions, Builder, check_whole, read_value};
pub use emit::{ValueSink, dump, emit};
pub use load::{LoadError, LoadOptions, Loaded, Loader};

use crate::access;
use crate::call::StoreOptions;
use crate::entry::Entry;
use crate::keyspace::Keyspace;
use crate::table::Item;
use shoal_formats::rdb::{
    EntryNotes, RdbElement, RdbString, RdbValue, RdbWriter, VERSION_TIMED_HASHES, ValueLayout,
};
use shoal_machine::Now;

/// The version that files claim to be written by; clients and tools know it.
const REDIS_VERSION: &[u8] = b"7.2.4";
/// Chunks are handed out when they have grown to this size.
pub const CHUNK_BYTES: usize = 64 * 1024;

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
    /// It is written as commands instead (`aof-use-rdb-preamble no`): see [`Snapshot::write_commands`].
    pub as_commands: bool,
    /// Commands say when they were written (`aof-timestamp-enabled`).
    pub timestamps: bool,
    /// Only the keys of these slots, as commands and nothing else: what a migration sends.
    pub only_slots: Option<Vec<(u16, u16)>>,
    /// Imports of slots that are under way, as names and ranges: a node that loads the file without more drops their keys.
    pub imports: Vec<(String, Vec<(u16, u16)>)>,
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
            as_commands: false,
            timestamps: false,
            only_slots: None,
            imports: Vec::new(),
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

    /// Writes it, chunk by chunk. A chunk is about [`CHUNK_BYTES`] long, or as long as its longest string.
    ///
    /// # Errors
    /// `sink` returned false; it is not called again.
    pub fn write_to(&self, sink: &mut dyn FnMut(Chunk<'_>) -> bool) -> Result<Summary, Stopped> {
        let options = self.options;
        if options.as_commands {
            return self.write_commands(sink);
        }
        let mut writer = RdbWriter::new(self.version(), options.store.compress, options.checksum);
        self.write_aux(&mut writer);
        for code in &options.functions {
            writer.function(code);
        }
        let mut out = EntrySink { writer, sink, keys: 0, stopped: false };
        for (index, database) in
            self.keyspace.databases().enumerate().filter(|(_, database)| !database.is_empty())
        {
            out.writer.select_database(index as u64);
            out.writer.resize(database.len() as u64, database.expiring_len() as u64);
            database.for_each(|entry| {
                if !out.stopped {
                    out.entry(entry, self.notes_of(entry), options.store.rdb_version);
                }
            });
            if out.stopped {
                return Err(Stopped);
            }
        }
        out.writer.end();
        out.drain();
        if out.stopped {
            Err(Stopped)
        } else {
            Ok(Summary { keys: out.keys, bytes: out.writer.drained_bytes() })
        }
    }

    /// The version of the file: a newer one than usual if there are fields of hashes that expire.
    fn version(&self) -> u16 {
        let wanted = self.options.store.rdb_version;
        let are_there_timed_hashes =
            self.keyspace.databases().any(|database| database.timed_hashes_len() > 0);
        if are_there_timed_hashes && hash::keeps_expiries(wanted) {
            wanted.max(VERSION_TIMED_HASHES)
        } else {
            wanted
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
        for (name, ranges) in &options.imports {
            let text = import_text(name, ranges);
            writer.aux(IMPORT_AUX, RdbString::Bytes(text.as_bytes()));
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

/// The field of a file that tells of an import of slots that was under way: its name, and pairs of first and last slots.
const IMPORT_AUX: &str = "shoal-slot-import";

fn import_text(name: &str, ranges: &[(u16, u16)]) -> String {
    let ranges = ranges.iter().map(|(first, last)| format!(" {first} {last}"));
    std::iter::once(name.to_owned()).chain(ranges).collect()
}

/// What [`import_text`] has written; `None` if it is something else.
fn parse_import(text: &[u8]) -> Option<(String, Vec<(u16, u16)>)> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let name = words.next()?.to_owned();
    let mut ranges = Vec::new();
    while let Some(first) = words.next() {
        ranges.push((first.parse().ok()?, words.next()?.parse().ok()?));
    }
    Some((name, ranges))
}

/// Where the entries of a keyspace go.
struct EntrySink<'a> {
    writer: RdbWriter,
    sink: &'a mut dyn FnMut(Chunk<'_>) -> bool,
    keys: u64,
    stopped: bool,
}

impl EntrySink<'_> {
    fn entry(&mut self, entry: &Entry, notes: EntryNotes, rdb_version: u16) {
        self.keys += 1;
        emit(entry.value(), rdb_version, &mut OneEntry { out: self, key: entry.key(), notes });
        self.drain_if_full();
    }

    fn drain_if_full(&mut self) {
        if self.writer.pending_bytes() >= CHUNK_BYTES {
            self.drain();
        }
    }

    fn drain(&mut self) {
        let keys = self.keys;
        self.stopped = self.stopped || !self.writer.drain(&mut |bytes| (self.sink)(Chunk { bytes, keys }));
    }
}

/// Where one entry goes. What waits is handed out between its parts, too.
struct OneEntry<'a, 'b> {
    out: &'a mut EntrySink<'b>,
    key: &'a [u8],
    notes: EntryNotes,
}

impl ValueSink for OneEntry<'_, '_> {
    fn value(&mut self, value: RdbValue<'_>) {
        self.out.writer.entry(self.key, self.notes, value);
    }

    fn open(&mut self, layout: ValueLayout, count: u64) {
        self.out.writer.open(self.key, self.notes, layout, count);
    }

    fn open_timed_hash(&mut self, base_ms: u64, count: u64) {
        self.out.writer.open_timed_hash(self.key, self.notes, base_ms, count);
    }

    fn element(&mut self, element: &RdbElement<'_>) {
        if !self.out.stopped {
            self.out.writer.element(element);
            self.out.drain_if_full();
        }
    }
}

#[cfg(test)]
mod tests;
