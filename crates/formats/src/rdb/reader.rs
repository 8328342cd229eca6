//! Reading RDB from bytes as they arrive.
//!
//! The reader keeps the bytes of the record that is not complete yet, and nothing else. What it hands out are slices of
//! its buffer, so a file is read without an allocation per key.

use super::cursor::{Cursor, Stop};
use super::length::read_length;
use super::string::{RawString, RdbString, read_string};
use super::{
    CHECKSUM_SINCE, EntryNotes, HEADER_BYTES, RdbError, RdbProblem, RdbValue, TYPE_STRING, VERSION_MAX,
    opcode, type_name,
};
use crate::crc64::Crc64;
use crate::lzf;

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A key.
    Entry(RdbEntry<'a>),
    /// The end; the checksum, if there is one and it is to be checked, is right.
    End,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Records,
    Checksum,
    Done,
}

/// Where a string is: in the buffer, in the scratch space of its part of the record, or a number.
#[derive(Clone, Copy, Debug)]
enum Place {
    Buffer { start: usize, end: usize },
    Scratch,
    Integer(i64),
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
    Note(EntryNotes),
    Entry { key: Place, value: Place },
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
    checksum: Crc64,
    check: bool,
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
            check: check_checksum,
            scratch: [Vec::new(), Vec::new()],
            failed: None,
        }
    }

    /// Takes more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.offset += self.consumed as u64;
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
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
            State::Records | State::Done => read_record(&mut cursor, self.notes, &mut self.scratch)?,
        };
        if let Record::End { stored } = record {
            let computed = self.checksum.value();
            if self.check && stored != 0 && stored != computed {
                return Err(RdbProblem::WrongChecksum { stored, computed }.into());
            }
        }
        let end = cursor.position();
        if self.check {
            self.checksum.update(&self.buffer[self.consumed..end]);
        }
        self.consumed = end;
        Ok(record)
    }

    fn event(&mut self, record: Record) -> RdbEvent<'_> {
        let notes = match record {
            Record::Entry { .. } => std::mem::take(&mut self.notes),
            _ => EntryNotes::default(),
        };
        if let Record::Aux { name, value } = record {
            // Texts are wanted here, not numbers.
            for (place, scratch) in [name, value].into_iter().zip(&mut self.scratch) {
                write_out(place, scratch);
            }
        }
        if let Record::Entry { key: place, .. } | Record::Function(place) = record {
            write_out(place, &mut self.scratch[0]);
        }
        let bytes = |place: Place, part: usize| match place {
            Place::Buffer { start, end } => &self.buffer[start..end],
            Place::Scratch | Place::Integer(_) => &self.scratch[part][..],
        };
        match record {
            Record::Begin { version } => RdbEvent::Begin { version },
            Record::Aux { name, value } => RdbEvent::Aux { name: bytes(name, 0), value: bytes(value, 1) },
            Record::SelectDatabase(index) => RdbEvent::SelectDatabase(index),
            Record::Resize { keys, expiring } => RdbEvent::Resize { keys, expiring },
            Record::SlotInfo { slot, keys, expiring } => RdbEvent::SlotInfo { slot, keys, expiring },
            Record::Function(code) => RdbEvent::Function(bytes(code, 0)),
            Record::ModuleAux { module_id } => RdbEvent::ModuleAux { module_id },
            Record::Entry { key, value } => {
                let text = match value {
                    Place::Integer(integer) => RdbString::Integer(integer),
                    place => RdbString::Bytes(bytes(place, 1)),
                };
                RdbEvent::Entry(RdbEntry { key: bytes(key, 0), value: RdbValue::String(text), notes })
            }
            Record::Note(_) | Record::EndOfRecords | Record::End { .. } => RdbEvent::End,
        }
    }
}

/// The decimal form of a number, where bytes are wanted.
fn write_out(place: Place, scratch: &mut Vec<u8>) {
    if let Place::Integer(integer) = place {
        scratch.clear();
        scratch.extend_from_slice(integer.to_string().as_bytes());
    }
}

fn read_header(cursor: &mut Cursor<'_>) -> Result<Record, Stop> {
    let header: [u8; HEADER_BYTES] = cursor.array()?;
    let digits = header.strip_prefix(b"REDIS").filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let digits = digits.ok_or(RdbProblem::WrongSignature)?;
    let version = digits.iter().fold(0, |version, digit| version * 10 + u16::from(digit - b'0'));
    if !(1..=VERSION_MAX).contains(&version) {
        return Err(RdbProblem::UnsupportedVersion(version).into());
    }
    Ok(Record::Begin { version })
}

fn read_record(
    cursor: &mut Cursor<'_>,
    notes: EntryNotes,
    scratch: &mut [Vec<u8>; 2],
) -> Result<Record, Stop> {
    let [first, second] = scratch;
    Ok(match cursor.byte()? {
        opcode::AUX => Record::Aux { name: read_place(cursor, first)?, value: read_place(cursor, second)? },
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
        opcode::FUNCTION2 => Record::Function(read_place(cursor, first)?),
        opcode::FUNCTION_PREVIEW => return Err(RdbProblem::PreviewFunction.into()),
        opcode::MODULE_AUX => read_module_aux(cursor)?,
        opcode::END => Record::EndOfRecords,
        TYPE_STRING => Record::Entry { key: read_place(cursor, first)?, value: read_place(cursor, second)? },
        other => {
            let problem =
                type_name(other).map_or(RdbProblem::UnknownType(other), RdbProblem::UnsupportedType);
            return Err(problem.into());
        }
    })
}

/// A time before 1970 means 1970, but -1 means none.
fn to_expiry(bytes: [u8; 8]) -> Option<u64> {
    match i64::from_le_bytes(bytes) {
        -1 => None,
        at => Some(u64::try_from(at).unwrap_or(0)),
    }
}

fn read_place(cursor: &mut Cursor<'_>, scratch: &mut Vec<u8>) -> Result<Place, Stop> {
    Ok(match read_string(cursor)? {
        RawString::Integer(integer) => Place::Integer(integer),
        RawString::Plain(bytes) => {
            let end = cursor.position();
            Place::Buffer { start: end - bytes.len(), end }
        }
        RawString::Compressed { bytes, length } => {
            scratch.clear();
            lzf::decompress(bytes, length, scratch).map_err(|_| RdbProblem::MalformedString)?;
            Place::Scratch
        }
    })
}

/// Passes over a module's data: a module, when it is to be loaded, and values that each say their kind.
fn read_module_aux(cursor: &mut Cursor<'_>) -> Result<Record, Stop> {
    const END: u64 = 0;
    const SIGNED: u64 = 1;
    const UNSIGNED: u64 = 2;
    const FLOAT: u64 = 3;
    const DOUBLE: u64 = 4;
    const STRING: u64 = 5;
    let module_id = read_length(cursor)?;
    loop {
        match read_length(cursor)? {
            END => return Ok(Record::ModuleAux { module_id }),
            SIGNED | UNSIGNED => drop(read_length(cursor)?),
            FLOAT => drop(cursor.take(4)?),
            DOUBLE => drop(cursor.take(8)?),
            STRING => drop(read_string(cursor)?),
            _ => return Err(RdbProblem::MalformedModuleData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RdbWriter;
    use super::*;

    fn sample(compress: bool, checksum: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = RdbWriter::new(11, compress, checksum);
        writer.aux("redis-ver", RdbString::Bytes(b"7.2.4"));
        writer.aux("redis-bits", RdbString::Integer(64));
        writer.function(b"#!lua name=f");
        writer.select_database(0);
        writer.resize(4, 1);
        let long = "long ".repeat(100);
        let none = EntryNotes::default();
        writer.entry(b"a", none, RdbValue::String(RdbString::Bytes(b"text")));
        writer.entry(b"12", none, RdbValue::String(RdbString::Bytes(b"-77")));
        assert!(writer.drain(&mut |chunk| {
            bytes.extend_from_slice(chunk);
            true
        }));
        let notes = EntryNotes { expiry_ms: Some(1_700_000_000_123), idle_s: Some(70), frequency: Some(9) };
        writer.entry(long.as_bytes(), notes, RdbValue::String(RdbString::Bytes(long.as_bytes())));
        writer.select_database(300);
        writer.entry(b"b", none, RdbValue::String(RdbString::Integer(1 << 40)));
        writer.end();
        writer.drain(&mut |chunk| {
            bytes.extend_from_slice(chunk);
            true
        });
        assert_eq!(writer.drained_bytes(), bytes.len() as u64);
        bytes
    }

    /// The events as text, fed in chunks of this size.
    fn events(bytes: &[u8], chunk: usize) -> Result<Vec<String>, RdbError> {
        let mut reader = RdbReader::new(true);
        let mut events = Vec::new();
        for piece in bytes.chunks(chunk) {
            reader.feed(piece);
            while let Some(event) = reader.next()? {
                events.push(format!("{event:?}"));
            }
        }
        assert!(reader.is_done() || !events.iter().any(|event| event == "End"));
        Ok(events)
    }

    #[test]
    fn what_is_written_is_read() {
        for (compress, checksum) in [(false, false), (true, false), (false, true), (true, true)] {
            let bytes = sample(compress, checksum);
            let whole = events(&bytes, bytes.len()).unwrap();
            assert_eq!(whole.len(), 12);
            assert_eq!(whole.last().map(String::as_str), Some("End"));
            assert!(
                whole[8].contains("expiry_ms: Some(1700000000123), idle_s: Some(70), frequency: Some(9)")
            );
            assert!(whole[7].contains("key: [49, 50]") && whole[7].contains("Integer(-77)"));
            for chunk in [1, 2, 7, 100] {
                assert_eq!(events(&bytes, chunk).unwrap(), whole);
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_kept() {
        let mut bytes = sample(true, true);
        let length = bytes.len() as u64;
        bytes.extend_from_slice(b"*1\r\n");
        let mut reader = RdbReader::new(true);
        reader.feed(&bytes);
        while reader.next().unwrap().is_some() {}
        assert!(reader.is_done());
        assert_eq!(reader.offset(), length);
        assert_eq!(reader.take_rest(), b"*1\r\n");
    }

    #[test]
    fn damage_is_found() {
        let bytes = sample(true, true);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let mut reader = RdbReader::new(true);
            reader.feed(&damaged);
            let mut outcome = Ok(());
            loop {
                match reader.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(reader.next(), Err(error.clone()));
                        outcome = Err(error);
                        break;
                    }
                }
            }
            assert!(outcome.is_err() || !reader.is_done(), "byte {at}");
        }
    }

    #[test]
    fn problems_are_named() {
        for (bytes, text) in [
            (&b"RUBIS0011"[..], "wrong signature at offset 0"),
            (b"REDIS00x1", "wrong signature at offset 0"),
            (b"REDIS0013", "cannot read RDB version 13 at offset 0"),
            (b"REDIS0011\x12", "cannot load a value of type list yet at offset 9"),
            (b"REDIS0011\x1e", "unknown type or opcode 30 at offset 9"),
            (b"REDIS0011\xf6", "a function library in the format of a Redis 7.0 preview at offset 9"),
            (b"REDIS0011\xf7\x05\x09", "malformed module data at offset 9"),
            (b"REDIS0011\xfe\x82", "malformed length at offset 9"),
            (b"REDIS0011\x00\x01k\xc7", "malformed string at offset 9"),
        ] {
            let mut reader = RdbReader::new(true);
            reader.feed(bytes);
            let error = loop {
                match reader.next() {
                    Ok(event) => assert!(event.is_some(), "{text}"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn old_forms_are_read() {
        let bytes = b"REDIS0004\xfd\x0a\x00\x00\x00\x00\x01k\x01v\xff";
        let events = events(bytes, 3).unwrap();
        assert!(events[1].contains("expiry_ms: Some(10000)"));
        assert_eq!(events[2], "End");
        let module = b"REDIS0012\xf7\x05\x02\x01\x01\x07\x05\x02ab\x03abcd\x04abcdefgh\x00\xf4\x01\x02\x03";
        assert_eq!(
            super::tests::events(module, 1).unwrap()[1..],
            ["ModuleAux { module_id: 5 }", "SlotInfo { slot: 1, keys: 2, expiring: 3 }"]
        );
    }
}
