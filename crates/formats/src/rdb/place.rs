//! Where the strings of a record are, while the record is not handed out yet.

use super::RdbProblem;
use super::cursor::{Cursor, Stop};
use super::string::{RawString, read_string};
use crate::lzf;

/// Where a string is: in the buffer, in the scratch space with this number, or a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Buffer { start: usize, end: usize },
    Scratch(usize),
    Integer(i64),
}

impl Place {
    /// Reads a string that may be a number.
    pub(crate) fn of_string(
        cursor: &mut Cursor<'_>,
        scratch: &mut [Vec<u8>; 2],
        part: usize,
    ) -> Result<Self, Stop> {
        Ok(match read_string(cursor)? {
            RawString::Integer(integer) => Self::Integer(integer),
            RawString::Plain(bytes) => {
                let end = cursor.position();
                Self::Buffer { start: end - bytes.len(), end }
            }
            RawString::Compressed { bytes, length } => {
                scratch[part].clear();
                lzf::decompress(bytes, length, &mut scratch[part])
                    .map_err(|_| RdbProblem::MalformedString)?;
                Self::Scratch(part)
            }
        })
    }

    /// Reads a string where text is wanted.
    pub(crate) fn of_text(
        cursor: &mut Cursor<'_>,
        scratch: &mut [Vec<u8>; 2],
        part: usize,
    ) -> Result<Self, Stop> {
        let place = Self::of_string(cursor, scratch, part)?;
        if let Self::Integer(integer) = place {
            scratch[part].clear();
            scratch[part].extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
            return Ok(Self::Scratch(part));
        }
        Ok(place)
    }

    /// The bytes; those of a number are nowhere.
    pub(crate) fn bytes<'a>(self, buffer: &'a [u8], scratch: &'a [Vec<u8>; 2]) -> &'a [u8] {
        match self {
            Self::Buffer { start, end } => &buffer[start..end],
            Self::Scratch(part) => &scratch[part],
            Self::Integer(_) => &[],
        }
    }
}
