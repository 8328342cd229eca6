//! The payload of DUMP, RESTORE and MIGRATE: a value as in an RDB file, the version in two bytes, and the CRC-64 of all
//! that in eight, both little endian.

use crate::crc64::crc64;
use crate::lzf::Compressor;
use crate::rdb::length::write_length;
use crate::rdb::{
    RdbElement, RdbValue, VERSION_MAX, VERSION_TIMED_HASHES, ValueLayout, ValueReader, write_element,
    write_value,
};
use std::fmt;

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

/// A payload that is too short, of a version that is not known, or whose checksum is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPayload;

impl fmt::Display for WrongPayload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DUMP payload version or checksum are wrong")
    }
}

impl std::error::Error for WrongPayload {}

/// A payload on its way.
#[derive(Debug)]
pub struct PayloadWriter {
    payload: Vec<u8>,
    compressor: Option<Compressor>,
    version: u16,
    layout: ValueLayout,
    /// What the expiries of a hash's fields count from.
    base_ms: u64,
}

impl PayloadWriter {
    /// A payload of this version, its long strings compressed if asked for.
    pub fn new(version: u16, compress: bool) -> Self {
        let compressor = compress.then(Compressor::new);
        Self { payload: Vec::new(), compressor, version, layout: ValueLayout::String, base_ms: 0 }
    }

    /// The whole value.
    pub fn value(&mut self, value: RdbValue<'_>) {
        self.payload.push(value.layout().byte());
        write_value(value, self.compressor.as_mut(), &mut self.payload);
    }

    /// A value of so many parts, which follow.
    pub fn open(&mut self, layout: ValueLayout, count: u64) {
        self.payload.push(layout.byte());
        write_length(count, &mut self.payload);
        self.layout = layout;
    }

    /// A hash of so many fields, which follow, of which the first expires at `base_ms`. Older versions do not know it, so
    /// that the payload has [`VERSION_TIMED_HASHES`] at least.
    pub fn open_timed_hash(&mut self, base_ms: u64, count: u64) {
        self.layout = ValueLayout::TimedHash;
        self.base_ms = base_ms;
        self.version = self.version.max(VERSION_TIMED_HASHES);
        self.payload.push(self.layout.byte());
        self.payload.extend_from_slice(&base_ms.to_le_bytes());
        write_length(count, &mut self.payload);
    }

    /// A part of the value.
    pub fn element(&mut self, element: &RdbElement<'_>) {
        write_element(self.layout, self.base_ms, element, self.compressor.as_mut(), &mut self.payload);
    }

    /// The payload.
    pub fn finish(mut self) -> Vec<u8> {
        self.payload.extend_from_slice(&self.version.to_le_bytes());
        let checksum = crc64(&self.payload);
        self.payload.extend_from_slice(&checksum.to_le_bytes());
        self.payload
    }
}

/// The value in a payload. The checksum is compared if `check_checksum` is set. What stands behind the value is
/// ignored, as Redis does.
///
/// # Errors
/// The payload is too short, of a version that is not known, or its checksum is another.
pub fn read(payload: &[u8], check_checksum: bool) -> Result<ValueReader<'_>, WrongPayload> {
    let (summed, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or(WrongPayload)?;
    let (body, version) = summed.split_last_chunk::<VERSION_BYTES>().ok_or(WrongPayload)?;
    if u16::from_le_bytes(*version) > VERSION_MAX {
        return Err(WrongPayload);
    }
    if check_checksum && crc64(summed) != u64::from_le_bytes(*checksum) {
        return Err(WrongPayload);
    }
    Ok(ValueReader::new(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{RdbProblem, RdbString, ValueEvent};

    fn dump(text: &[u8], version: u16, compress: bool) -> Vec<u8> {
        let mut writer = PayloadWriter::new(version, compress);
        writer.value(RdbValue::String(RdbString::Bytes(text)));
        writer.finish()
    }

    #[test]
    fn values_come_back() {
        let long = "again ".repeat(50);
        for text in ["", "7", "text", &long] {
            for compress in [false, true] {
                let payload = dump(text.as_bytes(), 11, compress);
                let mut reader = read(&payload, true).unwrap();
                match reader.next().unwrap() {
                    Some(ValueEvent::Value(RdbValue::String(RdbString::Bytes(back)))) => {
                        assert_eq!(back, text.as_bytes());
                    }
                    Some(ValueEvent::Value(RdbValue::String(RdbString::Integer(back)))) => {
                        assert_eq!(back.to_string(), text);
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(reader.next(), Ok(None));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        // DUMP of a key set to 10 and of one set to "hello" by Redis 7.0, which writes version 10.
        let ten = b"\x00\xc0\x0a\x0a\x00";
        let hello = b"\x00\x05hello\x0a\x00";
        assert_eq!(&dump(b"10", 10, true)[..5], ten);
        assert_eq!(&dump(b"hello", 10, true)[..9], hello);
    }

    #[test]
    fn damage_is_refused() {
        let payload = dump(b"hello", 11, false);
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, true).err(), Some(WrongPayload));
        }
        for bytes in [&b""[..], b"\x00", b"123456789"] {
            assert_eq!(read(bytes, true).err(), Some(WrongPayload));
        }
        assert_eq!(read(&dump(b"hello", 13, false), true).err(), Some(WrongPayload));
        for body in [&b"\x12\x01"[..], b"\x00\x05abc", b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a", b""]
        {
            let mut reader = ValueReader::new(body);
            let problem = loop {
                match reader.next() {
                    Ok(event) => assert!(event.is_some()),
                    Err(problem) => break problem,
                }
            };
            assert_eq!(problem, RdbProblem::MalformedString);
            assert_eq!(reader.next(), Ok(None));
        }
    }
}
