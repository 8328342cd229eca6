//! The payload of DUMP, RESTORE and MIGRATE: a value as in an RDB file, the version in two bytes, and the CRC-64 of all
//! that in eight, both little endian.

use crate::crc64::crc64;
use crate::lzf::Compressor;
use crate::rdb::{
    Cursor, RdbProblem, RdbValue, TYPE_STRING, VERSION_MAX, read_string, type_name, write_value,
};
use std::fmt;

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

/// Why a payload is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// It is too short, of a version that is not known, or its checksum is another.
    VersionOrChecksum,
    /// The value is malformed.
    Malformed(RdbProblem),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VersionOrChecksum => formatter.write_str("DUMP payload version or checksum are wrong"),
            Self::Malformed(problem) => write!(formatter, "bad data format: {problem}"),
        }
    }
}

impl std::error::Error for PayloadError {}

/// The payload of a value.
pub fn write(value: RdbValue<'_>, version: u16, compress: bool) -> Vec<u8> {
    let mut compressor = compress.then(Compressor::new);
    let mut payload = vec![value.type_byte()];
    write_value(value, compressor.as_mut(), &mut payload);
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// The value in a payload; `scratch` holds what is decompressed. The checksum is compared if `check_checksum` is set.
///
/// # Errors
/// See [`PayloadError`].
pub fn read<'a>(
    payload: &'a [u8],
    check_checksum: bool,
    scratch: &'a mut Vec<u8>,
) -> Result<RdbValue<'a>, PayloadError> {
    let wrong = PayloadError::VersionOrChecksum;
    let (summed, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or(wrong.clone())?;
    let (body, version) = summed.split_last_chunk::<VERSION_BYTES>().ok_or(wrong.clone())?;
    if u16::from_le_bytes(*version) > VERSION_MAX {
        return Err(wrong);
    }
    if check_checksum && crc64(summed) != u64::from_le_bytes(*checksum) {
        return Err(wrong);
    }
    read_body(body, scratch)
}

/// The value in a payload without version and checksum. What stands behind the value is ignored, as Redis does.
///
/// # Errors
/// The value is malformed.
pub fn read_body<'a>(body: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<RdbValue<'a>, PayloadError> {
    let malformed = PayloadError::Malformed;
    let (&kind, rest) = body.split_first().ok_or(malformed(RdbProblem::MalformedString))?;
    if kind != TYPE_STRING {
        let problem = type_name(kind).map_or(RdbProblem::UnknownType(kind), RdbProblem::UnsupportedType);
        return Err(malformed(problem));
    }
    let mut cursor = Cursor::new(rest, 0);
    let raw = read_string(&mut cursor).map_err(|stop| malformed(stop.into_problem()))?;
    Ok(RdbValue::String(raw.decode(scratch).map_err(malformed)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::RdbString;

    #[test]
    fn values_come_back() {
        let long = "again ".repeat(50);
        for text in ["", "7", "text", &long] {
            for compress in [false, true] {
                let payload = write(RdbValue::String(RdbString::Bytes(text.as_bytes())), 11, compress);
                let mut scratch = Vec::new();
                match read(&payload, true, &mut scratch).unwrap() {
                    RdbValue::String(RdbString::Bytes(back)) => assert_eq!(back, text.as_bytes()),
                    RdbValue::String(RdbString::Integer(back)) => assert_eq!(back.to_string(), text),
                }
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        // DUMP of a key set to 10 and of one set to "hello" by Redis 7.0, which writes version 10.
        let ten = b"\x00\xc0\x0a\x0a\x00";
        let hello = b"\x00\x05hello\x0a\x00";
        let dump = |text: &[u8]| write(RdbValue::String(RdbString::Bytes(text)), 10, true);
        assert_eq!(&dump(b"10")[..5], ten);
        assert_eq!(&dump(b"hello")[..9], hello);
    }

    #[test]
    fn damage_is_refused() {
        let payload = write(RdbValue::String(RdbString::Bytes(b"hello")), 11, false);
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, true, &mut Vec::new()), Err(PayloadError::VersionOrChecksum));
        }
        for bytes in [&b""[..], b"\x00", b"123456789"] {
            assert_eq!(read(bytes, true, &mut Vec::new()), Err(PayloadError::VersionOrChecksum));
        }
        let newer = write(RdbValue::String(RdbString::Bytes(b"hello")), 13, false);
        assert_eq!(read(&newer, true, &mut Vec::new()), Err(PayloadError::VersionOrChecksum));
        let mut scratch = Vec::new();
        let list = read_body(b"\x12\x01", &mut scratch);
        assert_eq!(list, Err(PayloadError::Malformed(RdbProblem::UnsupportedType("list"))));
        assert!(read_body(b"\x00\x05abc", &mut Vec::new()).is_err());
    }
}
