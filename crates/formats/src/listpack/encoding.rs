//! How one element is laid out.
//!
//! ```text
//! 0xxxxxxx                       7 bits, an unsigned integer
//! 10llllll …                     a string of up to 63 bytes
//! 110xxxxx xxxxxxxx              13 bits, a signed integer, the high bits first
//! 1110llll llllllll …            a string of up to 4095 bytes
//! 11110000 + 4 bytes …           a string, its length little endian
//! 11110001 + 2, 10 + 3, 11 + 4, 100 + 8 bytes    signed integers, little endian
//! ```

use super::Element;

const STRING_32: u8 = 0xf0;
const INTEGER_16: u8 = 0xf1;
const INTEGER_24: u8 = 0xf2;
const INTEGER_32: u8 = 0xf3;
const INTEGER_64: u8 = 0xf4;

/// Bytes of the longest backward length.
pub(super) const BACK_LENGTH_MAX: usize = 5;
/// The longest encoding, without the bytes of a string.
const HEAD_MAX: usize = 9;

/// The encoding of an element: an integer whole, a string's length.
pub(super) struct Encoded {
    bytes: [u8; HEAD_MAX],
    length: u8,
}

impl Encoded {
    #[inline]
    pub(super) fn of(element: Element<'_>) -> Self {
        match element {
            Element::Integer(integer) => Self::of_integer(integer),
            Element::Bytes(bytes) => Self::of_length(bytes.len()),
        }
    }

    #[inline]
    fn new<const LENGTH: usize>(encoding: [u8; LENGTH]) -> Self {
        let mut bytes = [0; HEAD_MAX];
        bytes[..LENGTH].copy_from_slice(&encoding);
        Self { bytes, length: LENGTH as u8 }
    }

    #[inline]
    fn of_integer(integer: i64) -> Self {
        let [a, b, c, d, e, f, g, h] = integer.to_le_bytes();
        match integer {
            0..=127 => Self::new([a]),
            -4096..=4095 => Self::new([0xc0 | b & 0x1f, a]),
            -0x8000..=0x7fff => Self::new([INTEGER_16, a, b]),
            -0x80_0000..=0x7f_ffff => Self::new([INTEGER_24, a, b, c]),
            -0x8000_0000..=0x7fff_ffff => Self::new([INTEGER_32, a, b, c, d]),
            _ => Self::new([INTEGER_64, a, b, c, d, e, f, g, h]),
        }
    }

    #[inline]
    fn of_length(length: usize) -> Self {
        let [a, b, c, d] = (length as u32).to_le_bytes();
        match length {
            0..=63 => Self::new([0x80 | a]),
            64..=4095 => Self::new([0xe0 | b, a]),
            _ => Self::new([STRING_32, a, b, c, d]),
        }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Bytes of the encoding, and of the string after it; `None` if the bytes are none, or too few to tell.
#[inline]
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    Some(match first {
        0..=0x7f => (1, 0),
        0x80..=0xbf => (1, usize::from(first & 0x3f)),
        0xc0..=0xdf => (2, 0),
        0xe0..=0xef => (2, usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(1)?)),
        STRING_32 => {
            let length = bytes.get(1..5)?;
            (5, u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize)
        }
        INTEGER_16 => (3, 0),
        INTEGER_24 => (4, 0),
        INTEGER_32 => (5, 0),
        INTEGER_64 => (9, 0),
        _ => return None,
    })
}

/// Bytes of the element that begins here, its backward length not counted, if it is well-formed and whole.
pub(super) fn checked_length(bytes: &[u8]) -> Option<usize> {
    let (head, content) = lengths(bytes)?;
    let length = head + content;
    (length <= bytes.len()).then_some(length)
}

/// Bytes of the well-formed element that begins here, its backward length counted.
#[inline]
pub(super) fn size_of_entry(bytes: &[u8]) -> usize {
    let (head, content) = lengths(bytes).unwrap_or((bytes.len(), 0));
    head + content + back_length_bytes(head + content)
}

/// The string that begins here, if it is one of up to 63 bytes, and the bytes that the element takes.
#[inline]
pub(super) fn short_string(bytes: &[u8]) -> Option<(&[u8], usize)> {
    match bytes {
        [first @ 0x80..=0xbf, rest @ ..] => {
            let length = usize::from(first & 0x3f);
            // Behind the string stands its backward length, which takes one byte.
            rest.get(..length).map(|text| (text, length + 2))
        }
        _ => None,
    }
}

/// The well-formed element that begins here.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Element<'_> {
    let first = bytes[0];
    let signed = |count: usize| {
        // The sign stands in the highest byte that is there.
        let mut wide = [0; 8];
        wide[8 - count..].copy_from_slice(&bytes[1..=count]);
        Element::Integer(i64::from_le_bytes(wide) >> (64 - 8 * count))
    };
    match first {
        0..=0x7f => Element::Integer(i64::from(first)),
        0xc0..=0xdf => {
            let wide = i16::from_be_bytes([first << 3, 0]) | i16::from(bytes[1]) << 3;
            Element::Integer(i64::from(wide >> 3))
        }
        INTEGER_16 => signed(2),
        INTEGER_24 => signed(3),
        INTEGER_32 => signed(4),
        INTEGER_64 => signed(8),
        _ => {
            let (head, content) = lengths(bytes).unwrap_or((0, 0));
            Element::Bytes(&bytes[head..head + content])
        }
    }
}

/// Bytes of the backward length of an element with so many bytes.
#[inline]
pub(super) const fn back_length_bytes(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2097150 => 3,
        2097151..=268435454 => 4,
        _ => 5,
    }
}

/// The backward length of an element with so many bytes: groups of seven bits, the highest first; all but the first
/// have their high bit set, so that it can be read from its end.
#[inline]
pub(super) fn write_back_length(length: usize, bytes: &mut [u8; BACK_LENGTH_MAX]) -> &[u8] {
    let count = back_length_bytes(length);
    for (index, byte) in bytes.iter_mut().take(count).enumerate() {
        let group = (length >> (7 * (count - 1 - index))) as u8 & 0x7f;
        *byte = if index == 0 { group } else { group | 0x80 };
    }
    &bytes[..count]
}

/// The backward length that ends where these bytes end, and how many bytes it takes.
#[inline]
pub(super) fn read_back_length(bytes: &[u8]) -> (usize, usize) {
    let mut length = 0;
    for (index, &byte) in bytes.iter().rev().take(BACK_LENGTH_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (length, index + 1);
        }
    }
    (0, BACK_LENGTH_MAX)
}
