//! Lengths: one to nine bytes.
//!
//! ```text
//! 00llllll                       6 bits
//! 01llllll llllllll              14 bits
//! 10000000 + 4 bytes             32 bits, big endian
//! 10000001 + 8 bytes             64 bits, big endian
//! 11eeeeee                       no length: a string in encoding e follows
//! ```

use super::RdbProblem;
use super::cursor::{Cursor, Stop};

const LONG_32: u8 = 0x80;
const LONG_64: u8 = 0x81;

/// Appends a length in its shortest form.
pub fn write_length(length: u64, output: &mut Vec<u8>) {
    match length {
        0..=0x3f => output.push(length as u8),
        0x40..=0x3fff => output.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
        0x4000..=0xffff_ffff => {
            output.push(LONG_32);
            output.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            output.push(LONG_64);
            output.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// What stands in a length's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Plain(u64),
    Encoding(u8),
}

pub(crate) fn read_length_or_encoding(cursor: &mut Cursor<'_>) -> Result<Length, Stop> {
    let first = cursor.byte()?;
    let low = u64::from(first & 0x3f);
    match (first >> 6, first) {
        (0, _) => Ok(Length::Plain(low)),
        (1, _) => Ok(Length::Plain(low << 8 | u64::from(cursor.byte()?))),
        (3, _) => Ok(Length::Encoding(first & 0x3f)),
        (_, LONG_32) => Ok(Length::Plain(u64::from(u32::from_be_bytes(cursor.array()?)))),
        (_, LONG_64) => Ok(Length::Plain(u64::from_be_bytes(cursor.array()?))),
        _ => Err(RdbProblem::MalformedLength.into()),
    }
}

pub(crate) fn read_length(cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
    match read_length_or_encoding(cursor)? {
        Length::Plain(length) => Ok(length),
        Length::Encoding(_) => Err(RdbProblem::MalformedLength.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back_in_their_shortest_form() {
        for (length, bytes) in [
            (0u64, 1),
            (63, 1),
            (64, 2),
            (16383, 2),
            (16384, 5),
            (u64::from(u32::MAX), 5),
            (1 << 32, 9),
            (u64::MAX, 9),
        ] {
            let mut output = Vec::new();
            write_length(length, &mut output);
            assert_eq!(output.len(), bytes, "{length}");
            assert_eq!(read_length(&mut Cursor::new(&output, 0)), Ok(length));
            for cut in 0..output.len() {
                assert_eq!(read_length(&mut Cursor::new(&output[..cut], 0)), Err(Stop::Incomplete));
            }
        }
        let malformed = Err(Stop::Problem(RdbProblem::MalformedLength));
        assert_eq!(read_length(&mut Cursor::new(&[0x82, 0, 0, 0, 0], 0)), malformed);
        assert_eq!(read_length(&mut Cursor::new(&[0xc0, 0], 0)), malformed);
    }
}
