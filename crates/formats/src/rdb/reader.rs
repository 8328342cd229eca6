//! Reading RDB from bytes as they arrive.
//!
//! The reader keeps the bytes of the record that is not complete yet, and nothing else: a value of many parts is handed
//! out part by part. What it hands out are slices of its buffer, so a file is read without an allocation per key.

use super::cursor::{Cursor, Stop};
use super::element::{Element, ElementReader, Opening, skip_to_packed};
use super::length::read_length;
use super::module::{skip_aux, skip_values};
use super::string::read_string;
use super::value_reader::value_of;
use super::{
    CHECKSUM_SINCE, DISPUTED_TYPE_MIN, EntryNotes, HEADER_BYTES, Place, RdbElement, RdbError, RdbProblem,
    RdbValue, VALKEY_VERSION_MIN, VERSION_MAX, VERSIONS_AHEAD, ValueLayout, opcode,
};
use crate::crc64::Crc64;

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RdbEvent<'a> {
    /// The beginning.
    Begin {
        /// The format's version.
        version: u16,
    },
    /// A remark about the file.
    Aux {
        /// Its name.
        name: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// What follows is in this database.
    SelectDatabase(u64),
    /// The database's size; a hint.
    Resize {
        /// Its keys.
        keys: u64,
        /// Those that expire.
        expiring: u64,
    },
    /// A hash slot's size; a hint.
    SlotInfo {
        /// The slot.
        slot: u64,
        /// Its keys.
        keys: u64,
        /// Those that expire.
        expiring: u64,
    },
    /// A function library's code.
    Function(&'a [u8]),
    /// Data of a module that belongs to no key; passed over.
    ModuleAux {
        /// The module.
        module_id: u64,
    },
    /// A key whose value belongs to a module; passed over, if the reader was told to.
    ModuleEntry {
        /// The key.
        key: &'a [u8],
        /// What else the file says of it.
        notes: EntryNotes,
    },
    /// A key with its whole value.
    Entry(RdbEntry<'a>),
    /// A key with a value of many parts, which follow.
    Open(RdbOpen<'a>),
    /// A part of the value.
    Element(RdbElement<'a>),
    /// The value has no more parts.
    Close,
    /// The end; the checksum, if there is one and it is to be checked, is right.
    End {
        /// There is a checksum.
        has_checksum: bool,
    },
}

/// A key with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdbEntry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: RdbValue<'a>,
    /// What else the file says of it.
    pub notes: EntryNotes,
}

/// A key whose value has many parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdbOpen<'a> {
    /// The key.
    pub key: &'a [u8],
    /// How the value is laid out.
    pub layout: ValueLayout,
    /// How many members, fields or nodes it is said to have. Not to be trusted before they are there.
    pub count: u64,
    /// What else the file says of the key.
    pub notes: EntryNotes,
}

/// Types of values of modules; the first ones did not say how long they are.
const MODULE_VALUE_OLD: u8 = 6;
const MODULE_VALUE: u8 = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Records,
    Elements(ElementReader),
    Checksum,
    Done,
}

/// A record that has been understood, before its strings are handed out.
#[derive(Clone, Copy, Debug)]
enum Record {
    Begin { version: u16 },
    Aux { name: Place, value: Place },
    SelectDatabase(u64),
    Resize { keys: u64, expiring: u64 },
    SlotInfo { slot: u64, keys: u64, expiring: u64 },
    Function(Place),
    ModuleAux { module_id: u64 },
    ModuleEntry { key: Place },
    Note(EntryNotes),
    Entry { key: Place, layout: ValueLayout, value: Place },
    Open { key: Place, layout: ValueLayout, opening: Opening },
    Element { element: Element<Place>, reader: ElementReader },
    Close,
    EndOfRecords,
    End { stored: u64 },
}

/// Reads a file from bytes as they arrive.
#[derive(Debug)]
pub struct RdbReader {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are done with.
    consumed: usize,
    /// Bytes that went before the buffer.
    offset: u64,
    state: State,
    version: u16,
    notes: EntryNotes,
    /// The checksum of what went before `summed`.
    checksum: Crc64,
    /// Bytes of the buffer that are in the checksum.
    summed: usize,
    check: bool,
    skips_modules: bool,
    /// The first string of a record, if it is not as it stands in the buffer; then the second.
    scratch: [Vec<u8>; 2],
    failed: Option<RdbError>,
}

impl RdbReader {
    /// A reader at the beginning of a file. `check_checksum` compares the checksum at the end, if there is one.
    pub fn new(check_checksum: bool) -> Self {
        Self {
            buffer: Vec::new(),
            consumed: 0,
            offset: 0,
            state: State::Header,
            version: 0,
            notes: EntryNotes::default(),
            checksum: Crc64::new(),
            summed: 0,
            check: check_checksum,
            skips_modules: false,
            scratch: [Vec::new(), Vec::new()],
            failed: None,
        }
    }

    /// Passes over values of modules instead of refusing them: for those who only look at a file.
    #[must_use]
    pub fn skipping_modules(self) -> Self {
        Self { skips_modules: true, ..self }
    }

    /// Takes more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.sum();
            self.offset += self.consumed as u64;
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
            self.summed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes what has been read into the checksum: in one go, not record by record.
    fn sum(&mut self) {
        if self.check {
            self.checksum.update(&self.buffer[self.summed..self.consumed]);
        }
        self.summed = self.consumed;
    }

    /// Bytes of the file that have been read.
    pub fn offset(&self) -> u64 {
        self.offset + self.consumed as u64
    }

    /// The file's version, once it has been read.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Whether the end has been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The bytes that have been fed but not read: after the end, those of something else.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.offset += self.consumed as u64;
        let rest = self.buffer.split_off(self.consumed);
        self.buffer = Vec::new();
        self.consumed = 0;
        self.summed = 0;
        rest
    }

    /// The next piece; `None` if more bytes are needed, or after the end.
    ///
    /// # Errors
    /// The bytes are wrong. The reader says so again when asked again.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<RdbEvent<'_>>, RdbError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            if self.state == State::Done {
                return Ok(None);
            }
            let record = match self.read() {
                Ok(record) => record,
                Err(Stop::Incomplete) => return Ok(None),
                Err(Stop::Problem(problem)) => {
                    let error = RdbError { offset: self.offset(), problem };
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            };
            match record {
                Record::Note(notes) => self.notes = notes,
                Record::EndOfRecords if self.version >= CHECKSUM_SINCE => self.state = State::Checksum,
                Record::EndOfRecords | Record::End { .. } => self.state = State::Done,
                Record::Begin { version } => {
                    self.version = version;
                    self.state = State::Records;
                }
                Record::Open { layout, opening, .. } => {
                    self.state = State::Elements(ElementReader::new(layout, opening));
                }
                Record::Element { reader, .. } => self.state = State::Elements(reader),
                Record::Close => self.state = State::Records,
                _ => {}
            }
            if !matches!(record, Record::Note(_)) && self.state != State::Checksum {
                return Ok(Some(self.event(record)));
            }
        }
    }

    /// Reads one record and moves past it.
    fn read(&mut self) -> Result<Record, Stop> {
        let mut cursor = Cursor::new(&self.buffer, self.consumed);
        let record = match self.state {
            State::Header => read_header(&mut cursor)?,
            State::Checksum => Record::End { stored: u64::from_le_bytes(cursor.array()?) },
            State::Elements(mut reader) => match reader.next(&mut cursor, &mut self.scratch)? {
                Some(element) => Record::Element { element, reader },
                None => Record::Close,
            },
            State::Records | State::Done => {
                let context =
                    Context { notes: self.notes, version: self.version, skips_modules: self.skips_modules };
                read_record(&mut cursor, context, &mut self.scratch)?
            }
        };
        let end = cursor.position();
        if let Record::End { stored } = record {
            self.sum();
            let computed = self.checksum.value();
            if self.check && stored != 0 && stored != computed {
                return Err(RdbProblem::WrongChecksum { stored, computed }.into());
            }
        }
        self.consumed = end;
        Ok(record)
    }

    fn event(&mut self, record: Record) -> RdbEvent<'_> {
        let notes = match record {
            Record::Entry { .. } | Record::Open { .. } | Record::ModuleEntry { .. } => {
                std::mem::take(&mut self.notes)
            }
            _ => EntryNotes::default(),
        };
        let (buffer, scratch) = (&self.buffer[..], &self.scratch);
        let bytes = |place: Place| place.bytes(buffer, scratch);
        match record {
            Record::Begin { version } => RdbEvent::Begin { version },
            Record::Aux { name, value } => RdbEvent::Aux { name: bytes(name), value: bytes(value) },
            Record::SelectDatabase(index) => RdbEvent::SelectDatabase(index),
            Record::Resize { keys, expiring } => RdbEvent::Resize { keys, expiring },
            Record::SlotInfo { slot, keys, expiring } => RdbEvent::SlotInfo { slot, keys, expiring },
            Record::Function(code) => RdbEvent::Function(bytes(code)),
            Record::ModuleAux { module_id } => RdbEvent::ModuleAux { module_id },
            Record::ModuleEntry { key } => RdbEvent::ModuleEntry { key: bytes(key), notes },
            Record::Entry { key, layout, value } => {
                let value = value_of(layout, value, bytes(value));
                RdbEvent::Entry(RdbEntry { key: bytes(key), value, notes })
            }
            Record::Open { key, layout, opening } => {
                RdbEvent::Open(RdbOpen { key: bytes(key), layout, count: opening.count, notes })
            }
            Record::Element { element, .. } => RdbEvent::Element(element.map(bytes)),
            Record::Close => RdbEvent::Close,
            Record::End { stored } => RdbEvent::End { has_checksum: stored != 0 },
            Record::Note(_) | Record::EndOfRecords => RdbEvent::End { has_checksum: false },
        }
    }
}

fn read_header(cursor: &mut Cursor<'_>) -> Result<Record, Stop> {
    let header: [u8; HEADER_BYTES] = cursor.array()?;
    let digits = header.strip_prefix(b"REDIS").filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let digits = digits.ok_or(RdbProblem::WrongSignature)?;
    let version = digits.iter().fold(0, |version, digit| version * 10 + u16::from(digit - b'0'));
    if !(1..=VERSION_MAX).contains(&version) && !VERSIONS_AHEAD.contains(&version) {
        return Err(RdbProblem::UnsupportedVersion(version).into());
    }
    Ok(Record::Begin { version })
}

/// What a record depends on.
#[derive(Clone, Copy)]
struct Context {
    notes: EntryNotes,
    version: u16,
    skips_modules: bool,
}

fn read_record(
    cursor: &mut Cursor<'_>,
    context: Context,
    scratch: &mut [Vec<u8>; 2],
) -> Result<Record, Stop> {
    let notes = context.notes;
    Ok(match cursor.byte()? {
        opcode::AUX => Record::Aux {
            name: Place::of_text(cursor, scratch, 0)?,
            value: Place::of_text(cursor, scratch, 1)?,
        },
        opcode::SELECT_DATABASE => Record::SelectDatabase(read_length(cursor)?),
        opcode::RESIZE_DATABASE => {
            Record::Resize { keys: read_length(cursor)?, expiring: read_length(cursor)? }
        }
        opcode::SLOT_INFO => Record::SlotInfo {
            slot: read_length(cursor)?,
            keys: read_length(cursor)?,
            expiring: read_length(cursor)?,
        },
        opcode::EXPIRY_MS => Record::Note(EntryNotes { expiry_ms: to_expiry(cursor.array()?), ..notes }),
        opcode::EXPIRY_S => {
            let seconds = i32::from_le_bytes(cursor.array()?);
            let expiry_ms = u64::try_from(i64::from(seconds) * 1000).unwrap_or(0);
            Record::Note(EntryNotes { expiry_ms: Some(expiry_ms), ..notes })
        }
        opcode::IDLE => Record::Note(EntryNotes { idle_s: Some(read_length(cursor)?), ..notes }),
        opcode::FREQUENCY => Record::Note(EntryNotes { frequency: Some(cursor.byte()?), ..notes }),
        opcode::FUNCTION2 => Record::Function(Place::of_text(cursor, scratch, 0)?),
        opcode::FUNCTION_PREVIEW => read_preview_function(cursor, scratch)?,
        opcode::MODULE_AUX => Record::ModuleAux { module_id: skip_aux(cursor)? },
        opcode::END => Record::EndOfRecords,
        byte @ (MODULE_VALUE_OLD | MODULE_VALUE) => {
            let start = cursor.position();
            read_string(cursor)?;
            let module_id = read_length(cursor)?;
            if byte == MODULE_VALUE_OLD || !context.skips_modules {
                return Err(RdbProblem::ModuleValue(module_id).into());
            }
            skip_values(cursor)?;
            Record::ModuleEntry { key: Place::of_text(&mut cursor.at(start), scratch, 0)? }
        }
        other if other >= DISPUTED_TYPE_MIN && context.version >= VALKEY_VERSION_MIN => {
            return Err(RdbProblem::UnknownType(other).into());
        }
        other => return read_entry(ValueLayout::from_byte(other)?, cursor, scratch),
    })
}

fn read_entry(
    layout: ValueLayout,
    cursor: &mut Cursor<'_>,
    scratch: &mut [Vec<u8>; 2],
) -> Result<Record, Stop> {
    let whole = layout == ValueLayout::String || layout.is_packed();
    let start = cursor.position();
    // Nothing is decompressed before all of it is there, so that bytes that trickle in cost nothing.
    read_string(cursor)?;
    if !whole {
        let opening = Opening::read(layout, cursor)?;
        let key = Place::of_text(&mut cursor.at(start), scratch, 0)?;
        return Ok(Record::Open { key, layout, opening });
    }
    skip_to_packed(layout, cursor)?;
    let value_start = cursor.position();
    read_string(cursor)?;
    let key = Place::of_text(&mut cursor.at(start), scratch, 0)?;
    let value = &mut cursor.at(value_start);
    let value = match layout {
        ValueLayout::String => Place::of_string(value, scratch, 1)?,
        _ => Place::of_text(value, scratch, 1)?,
    };
    Ok(Record::Entry { key, layout, value })
}

/// A time before 1970 means 1970, but -1 means none.
fn to_expiry(bytes: [u8; 8]) -> Option<u64> {
    match i64::from_le_bytes(bytes) {
        -1 => None,
        at => Some(u64::try_from(at).unwrap_or(0)),
    }
}

/// A function library as previews of Redis 7.0 wrote it: name, engine, perhaps a description, code. It becomes the code
/// that says the first two itself.
fn read_preview_function(cursor: &mut Cursor<'_>, scratch: &mut [Vec<u8>; 2]) -> Result<Record, Stop> {
    let start = cursor.position();
    read_string(cursor)?;
    read_string(cursor)?;
    if read_length(cursor)? != 0 {
        read_string(cursor)?;
    }
    let code_start = cursor.position();
    read_string(cursor)?;
    let (mut strings, mut code) = (cursor.at(start), Vec::new());
    let mut text = |cursor: &mut Cursor<'_>, before: &str| -> Result<(), Stop> {
        let place = Place::of_text(cursor, scratch, 0)?;
        code.extend_from_slice(before.as_bytes());
        code.extend_from_slice(place.bytes(cursor.bytes(), scratch));
        Ok(())
    };
    let mut name = strings;
    read_string(&mut strings)?;
    text(&mut strings, "#!")?;
    text(&mut name, " name=")?;
    text(&mut cursor.at(code_start), "\n")?;
    scratch[0] = code;
    Ok(Record::Function(Place::Scratch(0)))
}

#[cfg(test)]
mod tests;
