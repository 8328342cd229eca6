//! Writing RDB, piece by piece.

use super::length::write_length;
use super::string::write_string;
use super::{CHECKSUM_SINCE, RdbElement, RdbString, RdbValue, ValueLayout, opcode, write_element};
use crate::crc64::Crc64;
use crate::lzf::Compressor;

/// What a file says of a key beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryNotes {
    /// Expiry in milliseconds since 1970.
    pub expiry_ms: Option<u64>,
    /// Seconds since the last access.
    pub idle_s: Option<u64>,
    /// The logarithmic counter of accesses.
    pub frequency: Option<u8>,
}

/// Collects the bytes of a file until they are taken with [`RdbWriter::drain`].
#[derive(Debug)]
pub struct RdbWriter {
    output: Vec<u8>,
    compressor: Option<Compressor>,
    checksum: Option<Crc64>,
    drained: u64,
    /// The layout of the value whose parts are being written.
    layout: ValueLayout,
    /// What the expiries of its fields count from.
    base_ms: u64,
}

impl RdbWriter {
    /// Begins a file: magic and version. Without `with_checksum` the file says that it has none.
    pub fn new(version: u16, compress: bool, with_checksum: bool) -> Self {
        let output = format!("REDIS{version:04}").into_bytes();
        let compressor = compress.then(Compressor::new);
        let checksum = (with_checksum && version >= CHECKSUM_SINCE).then(Crc64::new);
        Self { output, compressor, checksum, drained: 0, layout: ValueLayout::String, base_ms: 0 }
    }

    /// Bytes that wait to be taken.
    pub fn pending_bytes(&self) -> usize {
        self.output.len()
    }

    /// Bytes that have been taken.
    pub fn drained_bytes(&self) -> u64 {
        self.drained
    }

    /// Gives what waits to `sink`; true if it took it.
    pub fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.output);
        }
        self.drained += self.output.len() as u64;
        let taken = sink(&self.output);
        self.output.clear();
        taken
    }

    /// A remark about the file.
    pub fn aux(&mut self, name: &str, value: RdbString<'_>) {
        self.output.push(opcode::AUX);
        self.string(RdbString::Bytes(name.as_bytes()));
        self.string(value);
    }

    /// A function library's code.
    pub fn function(&mut self, code: &[u8]) {
        self.output.push(opcode::FUNCTION2);
        self.string(RdbString::Bytes(code));
    }

    /// What follows is in this database.
    pub fn select_database(&mut self, index: u64) {
        self.output.push(opcode::SELECT_DATABASE);
        write_length(index, &mut self.output);
    }

    /// The database's size.
    pub fn resize(&mut self, keys: u64, expiring: u64) {
        self.output.push(opcode::RESIZE_DATABASE);
        write_length(keys, &mut self.output);
        write_length(expiring, &mut self.output);
    }

    /// A key with its whole value.
    pub fn entry(&mut self, key: &[u8], notes: EntryNotes, value: RdbValue<'_>) {
        self.key(key, notes, value.layout());
        write_value(value, self.compressor.as_mut(), &mut self.output);
    }

    /// A key whose value has so many parts, which [`RdbWriter::element`] writes. What waits may be taken between them,
    /// so that nobody ever holds the bytes of a large value.
    pub fn open(&mut self, key: &[u8], notes: EntryNotes, layout: ValueLayout, count: u64) {
        self.key(key, notes, layout);
        write_length(count, &mut self.output);
        self.layout = layout;
    }

    /// As [`RdbWriter::open`], for a hash of so many fields of which the first expires at `base_ms`. They are
    /// [`RdbElement::TimedField`]s.
    pub fn open_timed_hash(&mut self, key: &[u8], notes: EntryNotes, base_ms: u64, count: u64) {
        self.layout = ValueLayout::TimedHash;
        self.base_ms = base_ms;
        self.key(key, notes, self.layout);
        self.output.extend_from_slice(&base_ms.to_le_bytes());
        write_length(count, &mut self.output);
    }

    /// A part of the value that was opened last. They come in the order in which a reader gives them.
    pub fn element(&mut self, element: &RdbElement<'_>) {
        write_element(self.layout, self.base_ms, element, self.compressor.as_mut(), &mut self.output);
    }

    fn key(&mut self, key: &[u8], notes: EntryNotes, layout: ValueLayout) {
        if let Some(expiry_ms) = notes.expiry_ms {
            self.output.push(opcode::EXPIRY_MS);
            self.output.extend_from_slice(&expiry_ms.to_le_bytes());
        }
        if let Some(idle_s) = notes.idle_s {
            self.output.push(opcode::IDLE);
            write_length(idle_s, &mut self.output);
        }
        if let Some(frequency) = notes.frequency {
            self.output.extend_from_slice(&[opcode::FREQUENCY, frequency]);
        }
        self.output.push(layout.byte());
        self.string(RdbString::Bytes(key));
    }

    /// The end, with the checksum of everything before.
    pub fn end(&mut self) {
        self.output.push(opcode::END);
        let mut checksum = self.checksum.unwrap_or_default();
        if self.checksum.is_some() {
            checksum.update(&self.output);
        }
        self.output.extend_from_slice(&checksum.value().to_le_bytes());
        self.checksum = None;
    }

    fn string(&mut self, text: RdbString<'_>) {
        write_string(text, self.compressor.as_mut(), &mut self.output);
    }
}

/// Appends a value without its type.
pub(crate) fn write_value(value: RdbValue<'_>, compressor: Option<&mut Compressor>, output: &mut Vec<u8>) {
    match value {
        RdbValue::String(text) => write_string(text, compressor, output),
        RdbValue::Packed { bytes, .. } => write_string(RdbString::Bytes(bytes), compressor, output),
    }
}
