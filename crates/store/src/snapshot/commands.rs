//! The whole keyspace as commands that make it again: the base of an append-only file with `aof-use-rdb-preamble no`.
//!
//! Elements of collections come in groups, so that neither writing nor loading holds a large value twice. What only the
//! snapshot format has a place for (idle times, when consumers were seen) is left out, as Redis does.

use super::{CHUNK_BYTES, Chunk, Snapshot, Stopped, Summary};
use crate::database::Database;
use crate::entry::{Entry, Text, Value};
use crate::table::Item;
use crate::types::list::End;
use crate::types::stream::StreamId;
use crate::types::{Collection, Hash, List, Set, SortedSet, Stream};
use shoal_protocol::number::DoubleText;

/// Elements that one command adds.
const ELEMENTS_PER_COMMAND: usize = 64;

impl Snapshot<'_> {
    /// Writes the keyspace as commands, chunk by chunk; otherwise as [`Snapshot::write_to`]. Functions are left out.
    ///
    /// # Errors
    /// `sink` returned false; it is not called again.
    pub fn write_commands(&self, sink: &mut dyn FnMut(Chunk<'_>) -> bool) -> Result<Summary, Stopped> {
        let mut out = Commands { bytes: Vec::new(), sink, summary: Summary::default(), stopped: false };
        if self.options.timestamps {
            let text = format!("#TS:{}\r\n", self.options.now.unix_s());
            out.bytes.extend_from_slice(text.as_bytes());
        }
        if let Some(ranges) = &self.options.only_slots {
            out.slots(self.keyspace.database(0), ranges);
            return if out.stopped { Err(Stopped) } else { Ok(out.summary) };
        }
        for (name, ranges) in &self.options.imports {
            out.command(6 + 2 * ranges.len()).word(b"CLUSTER").word(b"SYNCSLOTS").word(b"ESTABLISH");
            out.word(b"NAME").word(name.as_bytes()).word(b"SLOTSRANGE");
            for (first, last) in ranges {
                out.number(i64::from(*first)).number(i64::from(*last));
            }
        }
        for (index, database) in
            self.keyspace.databases().enumerate().filter(|(_, database)| !database.is_empty())
        {
            out.command(2).word(b"SELECT").number(index as i64);
            database.for_each(|entry| {
                if !out.stopped {
                    out.entry(entry);
                }
            });
        }
        out.drain();
        if out.stopped { Err(Stopped) } else { Ok(out.summary) }
    }
}

/// Where commands go.
struct Commands<'a> {
    bytes: Vec<u8>,
    sink: &'a mut dyn FnMut(Chunk<'_>) -> bool,
    summary: Summary,
    stopped: bool,
}

impl Commands<'_> {
    /// The keys of some slots.
    fn slots(&mut self, database: &Database, ranges: &[(u16, u16)]) {
        for slot in ranges.iter().flat_map(|&(first, last)| first..=last) {
            database.slot_entries(slot, usize::MAX, |entry| {
                if !self.stopped {
                    self.entry(entry);
                }
            });
        }
        self.drain();
    }

    /// Begins a command of so many words.
    fn command(&mut self, words: usize) -> &mut Self {
        if self.bytes.len() >= CHUNK_BYTES {
            self.drain();
        }
        self.head(b'*', words)
    }

    fn head(&mut self, kind: u8, count: usize) -> &mut Self {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(count.to_string().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    fn word(&mut self, word: &[u8]) -> &mut Self {
        self.head(b'$', word.len());
        self.bytes.extend_from_slice(word);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.word(number.to_string().as_bytes())
    }

    fn id(&mut self, id: StreamId) -> &mut Self {
        self.word(id.to_string().as_bytes())
    }

    fn text(&mut self, text: Text<'_>) -> &mut Self {
        match text {
            Text::Integer(integer) => self.number(integer),
            Text::Bytes(bytes) => self.word(bytes),
            Text::Shared(bytes) => self.word(bytes),
        }
    }

    fn drain(&mut self) {
        if !self.stopped && !self.bytes.is_empty() {
            self.summary.bytes += self.bytes.len() as u64;
            self.stopped = !(self.sink)(Chunk { bytes: &self.bytes, keys: self.summary.keys });
        }
        self.bytes.clear();
    }

    fn entry(&mut self, entry: &Entry) {
        self.summary.keys += 1;
        let key = entry.key();
        match entry.value() {
            Value::String(text) => {
                self.command(3).word(b"SET").word(key).text(text);
            }
            Value::List(list) => self.list(key, list),
            Value::Set(set) => self.set(key, set),
            Value::Hash(hash) => {
                self.hash(key, hash);
                self.field_expiries(key, hash);
            }
            Value::SortedSet(set) => self.sorted_set(key, set),
            Value::Stream(stream) => self.stream(key, stream),
        }
        if let Some(at_ms) = entry.expiry_ms() {
            self.command(3).word(b"PEXPIREAT").word(key).word(at_ms.to_string().as_bytes());
        }
    }

    /// Adds elements to a collection in groups; each comes as `words` words from `write`.
    fn groups<T>(
        &mut self,
        (name, key): (&[u8], &[u8]),
        (length, words): (usize, usize),
        elements: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        for (index, element) in elements.enumerate() {
            if index % ELEMENTS_PER_COMMAND == 0 {
                let count = (length - index).min(ELEMENTS_PER_COMMAND);
                self.command(2 + count * words).word(name).word(key);
            }
            write(self, element);
        }
    }

    fn list(&mut self, key: &[u8], list: &List) {
        let (length, mut index) = (list.len(), 0);
        list.visit_range(0, length, End::Tail, |text| {
            if index % ELEMENTS_PER_COMMAND == 0 {
                let count = (length - index).min(ELEMENTS_PER_COMMAND);
                self.command(2 + count).word(b"RPUSH").word(key);
            }
            index += 1;
            self.text(text);
        });
    }

    fn set(&mut self, key: &[u8], set: &Set) {
        self.groups((b"SADD", key), (set.len(), 1), set.iter(), |out, member| {
            member.with_text(|text| {
                out.word(text);
            });
        });
    }

    fn hash(&mut self, key: &[u8], hash: &Hash) {
        self.groups((b"HMSET", key), (hash.len(), 2), hash.iter(), |out, (name, value)| {
            for element in [name, value] {
                element.with_text(|text| {
                    out.word(text);
                });
            }
        });
    }

    /// The expiries of fields, after the fields.
    fn field_expiries(&mut self, key: &[u8], hash: &Hash) {
        if hash.expiring_len() == 0 {
            return;
        }
        for (name, _) in hash.iter() {
            name.with_text(|name| {
                if let Some(at_ms) = hash.expiry_ms(name) {
                    self.command(6).word(b"HPEXPIREAT").word(key).word(at_ms.to_string().as_bytes());
                    self.word(b"FIELDS").word(b"1").word(name);
                }
            });
        }
    }

    fn sorted_set(&mut self, key: &[u8], set: &SortedSet) {
        self.groups((b"ZADD", key), (set.len(), 2), set.iter(), |out, (member, score)| {
            out.word(DoubleText::shortest(score).as_bytes());
            member.with_text(|text| {
                out.word(text);
            });
        });
    }

    fn stream(&mut self, key: &[u8], stream: &Stream) {
        let log = stream.log();
        for entry in log.entries(StreamId::MIN, StreamId::MAX) {
            self.command(3 + 2 * entry.field_count()).word(b"XADD").word(key).id(entry.id);
            for word in entry.words() {
                word.with_text(|text| {
                    self.word(text);
                });
            }
        }
        if log.is_empty() {
            // The only way to a stream without entries.
            self.command(7).word(b"XADD").word(key).word(b"MAXLEN").word(b"0");
            self.word(b"0-1").word(b"x").word(b"y");
        }
        let history = log.history();
        self.command(7).word(b"XSETID").word(key).id(log.last_id());
        self.word(b"ENTRIESADDED").word(history.entries_added.to_string().as_bytes());
        self.word(b"MAXDELETEDID").id(history.max_deleted_id);
        for (name, group) in stream.groups() {
            self.command(7).word(b"XGROUP").word(b"CREATE").word(key).word(name).id(group.last_id);
            self.word(b"ENTRIESREAD").number(group.entries_read.unwrap_or(-1));
            for consumer in group.consumers() {
                let consumer_name = consumer.name();
                if consumer.pending_len() == 0 {
                    self.command(5).word(b"XGROUP").word(b"CREATECONSUMER").word(key).word(name);
                    self.word(consumer_name);
                }
            }
            for (id, pending) in group.pending_from(StreamId::MIN) {
                let consumer = group.consumer(pending.consumer);
                self.command(12).word(b"XCLAIM").word(key).word(name).word(consumer.name()).word(b"0");
                self.id(id).word(b"TIME").number(pending.delivered_ms);
                self.word(b"RETRYCOUNT").word(pending.deliveries.to_string().as_bytes());
                self.word(b"JUSTID").word(b"FORCE");
            }
        }
    }
}
