//! Reading an RDB file into a keyspace.

use super::ReplicationPoint;
use super::build::{BadValue, BuildOptions, Builder, whole};
use crate::access;
use crate::database::Place;
use crate::entry::{Entry, NewValue};
use crate::keyspace::Keyspace;
use crate::table::Item;
use shoal_formats::rdb::{EntryNotes, RdbEntry, RdbError, RdbEvent, RdbOpen, RdbReader};
use shoal_machine::Now;
use std::collections::VecDeque;
use std::fmt;

/// The most remarks of a file that are kept.
const AUX_MAX: usize = 64;
/// So many entries are on their way into the keyspace at a time: while a new one is read, memory is asked for the places
/// of the others, so that nobody waits for it.
const SETTLING: usize = 24;
/// A key takes at least so many bytes of a file, as far as room for it is concerned.
const KEY_BYTES: u64 = 8;
/// The most keys without elements that are remembered by name.
const EMPTY_KEYS_MAX: usize = 10;
/// The most modules whose data were passed over that are remembered.
const MODULES_MAX: usize = 16;
/// The most that the names of expired keys may take which are kept for [`Loaded::expired_names`].
pub const EXPIRED_NAMES_MAX_BYTES: usize = 16 * 1024 * 1024;

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
    /// The size of the file, if it is known and not only said to be so. Room is made for the keys that a file announces as
    /// far as so many bytes can hold them.
    pub file_bytes: u64,
    /// How values are built.
    pub build: BuildOptions,
}

impl LoadOptions {
    /// As a primary loads its own file.
    pub fn new(now: Now, build: BuildOptions) -> Self {
        Self {
            now,
            drop_expired: true,
            replace: false,
            lfu: false,
            check_checksum: true,
            file_bytes: 0,
            build,
        }
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
    /// A value that cannot be.
    BadValue {
        /// Its key.
        key: Vec<u8>,
        /// Its database.
        database: usize,
        /// What is wrong.
        problem: BadValue,
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
            Self::BadValue { key, database, problem } => {
                let key = String::from_utf8_lossy(key);
                write!(formatter, "the value of '{key}' in database {database} is refused: {problem}")
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
    /// Modules whose data that belong to no key were passed over.
    pub modules: Vec<u64>,
    /// The code of function libraries.
    pub functions: Vec<Vec<u8>>,
    /// Keys that were loaded.
    pub keys: u64,
    /// Keys that had expired and were left out.
    pub expired: u64,
    /// Their databases and names, as long as they are not more than [`EXPIRED_NAMES_MAX_BYTES`].
    pub expired_names: Vec<(usize, Box<[u8]>)>,
    expired_names_bytes: usize,
    /// Keys whose collections were empty and that were left out.
    pub empty: u64,
    /// The names of the first of them.
    pub empty_keys: Vec<Vec<u8>>,
    /// Databases that hold something of the file now.
    pub databases: Vec<usize>,
}

impl Loaded {
    fn note_expired(&mut self, database: usize, key: &[u8]) {
        self.expired_names_bytes += key.len();
        if self.expired_names_bytes <= EXPIRED_NAMES_MAX_BYTES {
            self.expired_names.push((database, key.into()));
        }
    }

    /// Whether [`Loaded::expired_names`] holds all that had expired.
    pub fn has_all_expired_names(&self) -> bool {
        self.expired_names.len() as u64 == self.expired
    }

    /// The value of a remark.
    pub fn aux_value(&self, name: &str) -> Option<&[u8]> {
        self.aux.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| &value[..])
    }

    /// The imports of slots that were under way.
    pub fn imports(&self) -> Vec<(String, Vec<(u16, u16)>)> {
        let texts = self.aux.iter().filter(|(name, _)| name == super::IMPORT_AUX.as_bytes());
        texts.filter_map(|(_, text)| super::parse_import(text)).collect()
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
    target: Target,
    building: Option<Building>,
}

/// Where a file goes.
#[derive(Debug)]
struct Target {
    options: LoadOptions,
    database: usize,
    loaded: Loaded,
    /// Entries that are not in the keyspace yet, the oldest first; none between two calls of [`Loader::feed`].
    settling: VecDeque<Settling>,
}

/// An entry whose place is known.
#[derive(Debug)]
struct Settling {
    database: usize,
    place: Place,
    entry: Entry,
}

/// A value of many parts that is not complete yet.
#[derive(Debug)]
struct Building {
    key: Vec<u8>,
    notes: EntryNotes,
    /// `None` if the key has expired and its value is passed over.
    builder: Option<Builder>,
}

impl Loader {
    /// A loader at the beginning of a file.
    pub fn new(options: LoadOptions) -> Self {
        let reader = RdbReader::new(options.check_checksum);
        let target = Target {
            options,
            database: 0,
            loaded: Loaded::default(),
            settling: VecDeque::with_capacity(SETTLING),
        };
        Self { reader, target, building: None }
    }

    /// Takes more bytes and loads what is complete. True at the end; what follows is kept for [`Loader::take_rest`].
    ///
    /// # Errors
    /// See [`LoadError`]; the loader is of no more use then.
    pub fn feed(&mut self, keyspace: &mut Keyspace, bytes: &[u8]) -> Result<bool, LoadError> {
        self.reader.feed(bytes);
        let read = self.read(keyspace);
        while let Some(settling) = self.target.settling.pop_front() {
            self.target.settle(keyspace, settling)?;
        }
        read?;
        Ok(self.reader.is_done())
    }

    /// Loads what is complete; the last entries are still on their way.
    fn read(&mut self, keyspace: &mut Keyspace) -> Result<(), LoadError> {
        while let Some(event) = self.reader.next()? {
            match event {
                RdbEvent::Open(open) => self.building = Some(self.target.open(open)),
                RdbEvent::Element(element) => {
                    let Some(building) = &mut self.building else { continue };
                    let Some(builder) = &mut building.builder else { continue };
                    builder
                        .element(&element)
                        .map_err(|problem| self.target.bad_value(&building.key, problem))?;
                }
                RdbEvent::Close => {
                    let Some(Building { key, notes, builder }) = self.building.take() else { continue };
                    let Some(builder) = builder else { continue };
                    let object = builder.finish().map(NewValue::Object);
                    self.target.load(keyspace, &key, notes, object)?;
                }
                RdbEvent::Entry(RdbEntry { key, value, notes }) => {
                    if !self.target.passes_over(key, notes) {
                        let value = whole(value, &self.target.options.build);
                        self.target.load(keyspace, key, notes, value)?;
                    }
                }
                event => self.target.remark(keyspace, event)?,
            }
        }
        Ok(())
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
        &self.target.loaded
    }

    /// The bytes that were fed but not read: after the end, those of something else.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.reader.take_rest()
    }
}

impl Target {
    /// What the file says beside its keys.
    fn remark(&mut self, keyspace: &mut Keyspace, event: RdbEvent<'_>) -> Result<(), LoadError> {
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
            RdbEvent::Resize { keys, .. } => {
                let keys = keys.min(self.options.file_bytes / KEY_BYTES);
                keyspace.database_mut(self.database).reserve(usize::try_from(keys).unwrap_or(0));
            }
            RdbEvent::End { .. } => {
                for index in 0..keyspace.database_count() {
                    keyspace.database_mut(index).release_unused();
                }
            }
            RdbEvent::Function(code) => loaded.functions.push(code.to_vec()),
            RdbEvent::ModuleAux { module_id }
                if loaded.modules.len() < MODULES_MAX && !loaded.modules.contains(&module_id) =>
            {
                loaded.modules.push(module_id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a key has expired and is left out.
    fn passes_over(&mut self, key: &[u8], notes: EntryNotes) -> bool {
        let now_ms = self.options.now.unix_ms();
        let expired = self.options.drop_expired && notes.expiry_ms.is_some_and(|at| at < now_ms);
        self.loaded.expired += u64::from(expired);
        if expired {
            self.loaded.note_expired(self.database, key);
        }
        expired
    }

    fn open(&mut self, open: RdbOpen<'_>) -> Building {
        let builder = !self.passes_over(open.key, open.notes);
        let builder = builder.then(|| Builder::new(open.layout, &self.options.build));
        Building { key: open.key.to_vec(), notes: open.notes, builder }
    }

    fn bad_value(&self, key: &[u8], problem: BadValue) -> LoadError {
        LoadError::BadValue { key: key.to_vec(), database: self.database, problem }
    }

    fn load(
        &mut self,
        keyspace: &mut Keyspace,
        key: &[u8],
        notes: EntryNotes,
        value: Result<NewValue<'_>, BadValue>,
    ) -> Result<(), LoadError> {
        let value = match value {
            Ok(value) => value,
            // Old versions could leave such keys behind.
            Err(BadValue::Empty) => {
                self.loaded.empty += 1;
                if self.loaded.empty_keys.len() < EMPTY_KEYS_MAX {
                    self.loaded.empty_keys.push(key.to_vec());
                }
                return Ok(());
            }
            Err(problem) => return Err(self.bad_value(key, problem)),
        };
        let options = &self.options;
        let mut entry = Entry::new(key, value, notes.expiry_ms);
        entry.set_access(access::restored(options.now, options.lfu, notes.idle_s, notes.frequency));
        let database = keyspace.database(self.database);
        let place = database.place(key);
        database.prefetch(place);
        self.settling.push_back(Settling { database: self.database, place, entry });
        match self.settling.len() {
            SETTLING => self.settling.pop_front().map_or(Ok(()), |settling| self.settle(keyspace, settling)),
            _ => Ok(()),
        }
    }

    fn settle(&mut self, keyspace: &mut Keyspace, settling: Settling) -> Result<(), LoadError> {
        let Settling { database: index, place, entry } = settling;
        let database = keyspace.database_mut(index);
        match database.find_at(place, entry.key()) {
            None => {
                database.insert(place, entry);
            }
            Some(found) if self.options.replace => drop(database.replace(found, entry)),
            Some(_) => return Err(LoadError::DuplicateKey { key: entry.key().to_vec(), database: index }),
        }
        let loaded = &mut self.loaded;
        loaded.keys += 1;
        if loaded.databases.last() != Some(&index) && !loaded.databases.contains(&index) {
            loaded.databases.push(index);
        }
        Ok(())
    }
}
