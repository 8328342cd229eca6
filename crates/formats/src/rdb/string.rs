//! Strings: plain, as an integer of one, two or four bytes, or compressed.

use super::cursor::{Cursor, Stop};
use super::length::{Length, read_length, read_length_or_encoding, write_length};
use super::{RdbProblem, STRING_MAX_BYTES};
use crate::lzf::{self, Compressor};
use shoal_protocol::number::parse_i64;

const ENCODING_INT8: u8 = 0;
const ENCODING_INT16: u8 = 1;
const ENCODING_INT32: u8 = 2;
const ENCODING_LZF: u8 = 3;
/// The bits that say that no length but an encoding follows.
const IS_ENCODING: u8 = 0xc0;

/// The longest text of a 32-bit integer.
const INTEGER_TEXT_MAX: usize = 11;
/// Shorter strings are not compressed.
const COMPRESS_FROM_BYTES: usize = 21;
/// What compression has to save at least.
const SAVED_BYTES_MIN: usize = 4;

/// A string as files keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdbString<'a> {
    /// The decimal form of an integer.
    Integer(i64),
    /// Any bytes.
    Bytes(&'a [u8]),
}

/// Appends a string in its shortest form; compressed only with a `compressor`.
pub fn write_string(text: RdbString<'_>, compressor: Option<&mut Compressor>, output: &mut Vec<u8>) {
    match text {
        RdbString::Integer(integer) => {
            if !write_integer(integer, output) {
                write_plain(integer.to_string().as_bytes(), output);
            }
        }
        RdbString::Bytes(bytes) => {
            let integer = if bytes.len() <= INTEGER_TEXT_MAX { parse_i64(bytes) } else { None };
            if integer.is_some_and(|integer| write_integer(integer, output)) {
                return;
            }
            if !compressor.is_some_and(|compressor| write_compressed(bytes, compressor, output)) {
                write_plain(bytes, output);
            }
        }
    }
}

fn write_plain(bytes: &[u8], output: &mut Vec<u8>) {
    write_length(bytes.len() as u64, output);
    output.extend_from_slice(bytes);
}

/// Appends an integer if it fits 32 bits.
fn write_integer(integer: i64, output: &mut Vec<u8>) -> bool {
    if let Ok(integer) = i8::try_from(integer) {
        output.push(IS_ENCODING | ENCODING_INT8);
        output.extend_from_slice(&integer.to_le_bytes());
    } else if let Ok(integer) = i16::try_from(integer) {
        output.push(IS_ENCODING | ENCODING_INT16);
        output.extend_from_slice(&integer.to_le_bytes());
    } else if let Ok(integer) = i32::try_from(integer) {
        output.push(IS_ENCODING | ENCODING_INT32);
        output.extend_from_slice(&integer.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// Appends the compressed form, if it is shorter.
fn write_compressed(bytes: &[u8], compressor: &mut Compressor, output: &mut Vec<u8>) -> bool {
    if bytes.len() < COMPRESS_FROM_BYTES {
        return false;
    }
    let mut compressed = std::mem::take(&mut compressor.scratch);
    compressed.clear();
    let is_shorter = compressor.compress(bytes, bytes.len() - SAVED_BYTES_MIN, &mut compressed);
    if is_shorter {
        output.push(IS_ENCODING | ENCODING_LZF);
        write_length(compressed.len() as u64, output);
        write_length(bytes.len() as u64, output);
        output.extend_from_slice(&compressed);
    }
    compressor.scratch = compressed;
    is_shorter
}

/// A string as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawString<'a> {
    Integer(i64),
    Plain(&'a [u8]),
    Compressed { bytes: &'a [u8], length: usize },
}

pub(crate) fn read_string<'a>(cursor: &mut Cursor<'a>) -> Result<RawString<'a>, Stop> {
    match read_length_or_encoding(cursor)? {
        Length::Plain(length) => Ok(RawString::Plain(cursor.take(size(length)?)?)),
        Length::Encoding(ENCODING_INT8) => Ok(RawString::Integer(i8::from_le_bytes(cursor.array()?).into())),
        Length::Encoding(ENCODING_INT16) => {
            Ok(RawString::Integer(i16::from_le_bytes(cursor.array()?).into()))
        }
        Length::Encoding(ENCODING_INT32) => {
            Ok(RawString::Integer(i32::from_le_bytes(cursor.array()?).into()))
        }
        Length::Encoding(ENCODING_LZF) => {
            let compressed = size(read_length(cursor)?)?;
            let length = size(read_length(cursor)?)?;
            if !lzf::is_plausible(compressed, length) {
                return Err(RdbProblem::MalformedString.into());
            }
            Ok(RawString::Compressed { bytes: cursor.take(compressed)?, length })
        }
        Length::Encoding(_) => Err(RdbProblem::MalformedString.into()),
    }
}

fn size(length: u64) -> Result<usize, Stop> {
    if length > STRING_MAX_BYTES { Err(RdbProblem::StringTooLong.into()) } else { Ok(length as usize) }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    #[test]
    fn strings_come_back() {
        let long = "compress me ".repeat(10);
        for (text, bytes) in [
            ("", 1),
            ("a", 2),
            ("0", 2),
            ("-128", 2),
            ("128", 3),
            ("-32769", 5),
            ("2147483647", 5),
            ("2147483648", 11),
            ("007", 4),
            ("aaaaaaaaaaaaaaaaaaaa", 21),
            ("aaaaaaaaaaaaaaaaaaaaa", 8),
            (&long, 20),
        ] {
            let mut output = Vec::new();
            write_string(RdbString::Bytes(text.as_bytes()), Some(&mut Compressor::new()), &mut output);
            assert_eq!(output.len(), bytes, "{text}");
            let mut scratch = [Vec::new(), Vec::new()];
            let place = Place::of_text(&mut Cursor::new(&output, 0), &mut scratch, 1).unwrap();
            assert_eq!(place.bytes(&output, &scratch), text.as_bytes());
            for cut in 0..output.len() {
                assert_eq!(read_string(&mut Cursor::new(&output[..cut], 0)), Err(Stop::Incomplete));
            }
        }
        let mut output = Vec::new();
        write_string(RdbString::Integer(i64::MIN), None, &mut output);
        assert_eq!(&output[1..], b"-9223372036854775808");
    }

    #[test]
    fn absurd_lengths_are_refused() {
        let too_long = [0x81, 0xff, 0, 0, 0, 0, 0, 0, 0];
        let problem = |problem| Err(Stop::Problem(problem));
        assert_eq!(read_string(&mut Cursor::new(&too_long, 0)), problem(RdbProblem::StringTooLong));
        let bomb = [0xc3, 3, 0x80, 0x40, 0, 0, 0, 0, b'a', 0];
        assert_eq!(read_string(&mut Cursor::new(&bomb, 0)), problem(RdbProblem::MalformedString));
        assert_eq!(read_string(&mut Cursor::new(&[0xc4, 0], 0)), problem(RdbProblem::MalformedString));
    }
}
