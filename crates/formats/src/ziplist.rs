//! Ziplists: what small collections were kept in before listpacks. They are only read.
//!
//! ```text
//! ┌ total bytes 32 ┬ offset of the last element 32 ┬ elements 16 ┬ element … ┬ FF ┐     little endian
//! element:  the length of the element before, 1 byte or FE and 4 │ encoding │ content
//!
//! 00llllll                       a string of up to 63 bytes
//! 01llllll llllllll              a string of up to 16383 bytes
//! 10000000 + 4 bytes             a string, its length big endian
//! C0 + 2, D0 + 4, E0 + 8, F0 + 3, FE + 1 bytes    signed integers, little endian
//! 1111iiii                       i - 1: an integer from 0 to 12
//! ```
//!
//! Source of the format: what Redis 2.2 to 6.2 wrote.

use crate::listpack::Element;
use std::fmt;

const HEADER_BYTES: usize = 10;
const END: u8 = 0xff;
/// The count that says: go and count.
const UNCOUNTED: u16 = u16::MAX;
/// Says that the length of the element before follows in four bytes.
const LONG_BEFORE: u8 = 0xfe;

/// Bytes that are no ziplist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("malformed ziplist")
    }
}

impl std::error::Error for Malformed {}

/// A well-formed ziplist.
#[derive(Clone, Copy, Debug)]
pub struct Ziplist<'a> {
    /// From the first element to the last, the end mark not included.
    elements: &'a [u8],
    count: usize,
}

impl<'a> Ziplist<'a> {
    /// Looks at every byte.
    ///
    /// # Errors
    /// They are no ziplist.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed)?;
        let (&last, elements) = rest.split_last().ok_or(Malformed)?;
        let [a, b, c, d, e, f, g, h, i, j] = *header;
        let (total, tail) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let stored = u16::from_le_bytes([i, j]);
        if total as usize != bytes.len() || last != END {
            return Err(Malformed);
        }
        let (mut rest, mut before, mut count) = (elements, 0, 0);
        while !rest.is_empty() {
            let (said_before, _, after) = split_element(rest).ok_or(Malformed)?;
            if said_before != before {
                return Err(Malformed);
            }
            before = rest.len() - after.len();
            rest = after;
            count += 1;
        }
        let last_at = HEADER_BYTES + elements.len() - before;
        let counted = stored == UNCOUNTED || usize::from(stored) == count;
        let ends_there = if count == 0 { tail as usize <= last_at } else { tail as usize == last_at };
        if counted && ends_there { Ok(Self { elements, count }) } else { Err(Malformed) }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Element<'a>> + 'a {
        let mut rest = self.elements;
        std::iter::from_fn(move || {
            let (_, element, after) = split_element(rest)?;
            rest = after;
            Some(element)
        })
    }
}

/// What the first element says of the one before it, the element, and what follows; `None` if it is malformed or there
/// is none.
fn split_element(bytes: &[u8]) -> Option<(usize, Element<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (before, rest) = match first {
        END => return None,
        LONG_BEFORE => {
            let (length, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        length => (usize::from(length), rest),
    };
    let (&encoding, rest) = rest.split_first()?;
    let (length, rest) = match encoding {
        0..=0x3f => (usize::from(encoding), rest),
        0x40..=0x7f => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(encoding & 0x3f) << 8 | usize::from(low), rest)
        }
        0x80..=0xbf => {
            let (length, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*length) as usize, rest)
        }
        _ => {
            let (integer, rest) = split_integer(encoding, rest)?;
            return Some((before, Element::Integer(integer), rest));
        }
    };
    let (text, rest) = rest.split_at_checked(length)?;
    Some((before, Element::Bytes(text), rest))
}

fn split_integer(encoding: u8, rest: &[u8]) -> Option<(i64, &[u8])> {
    let width = match encoding {
        0xc0 => 2,
        0xd0 => 4,
        0xe0 => 8,
        0xf0 => 3,
        0xfe => 1,
        0xf1..=0xfd => return Some((i64::from(encoding & 0x0f) - 1, rest)),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(width)?;
    // The sign stands in the highest byte that is there.
    let mut wide = [0; 8];
    wide[8 - width..].copy_from_slice(bytes);
    Some((i64::from_le_bytes(wide) >> (64 - 8 * width), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ziplist of elements whose encodings are given.
    fn ziplist(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut body: Vec<u8> = Vec::new();
        let mut before = 0;
        for element in elements {
            let start = body.len();
            if before < 254 {
                body.push(before as u8);
            } else {
                body.push(LONG_BEFORE);
                body.extend_from_slice(&(before as u32).to_le_bytes());
            }
            body.extend_from_slice(element);
            before = body.len() - start;
        }
        let total = HEADER_BYTES + body.len() + 1;
        let tail = HEADER_BYTES + body.len() - before;
        let mut bytes = (total as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(tail as u32).to_le_bytes());
        bytes.extend_from_slice(&(elements.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.push(END);
        bytes
    }

    fn string(text: &[u8]) -> Vec<u8> {
        let mut head = match text.len() {
            0..=63 => vec![text.len() as u8],
            64..=16383 => vec![0x40 | (text.len() >> 8) as u8, text.len() as u8],
            length => [&[0x80][..], &(length as u32).to_be_bytes()].concat(),
        };
        head.extend_from_slice(text);
        head
    }

    #[test]
    fn every_encoding_is_read() {
        let (middle, long) = (vec![b'm'; 300], vec![b'l'; 20_000]);
        let bytes = ziplist(&[
            string(b""),
            string(b"text"),
            string(&middle),
            string(&long),
            vec![0xf1],
            vec![0xfd],
            vec![0xfe, 0x80],
            vec![0xc0, 0x00, 0x80],
            vec![0xf0, 0xff, 0xff, 0x7f],
            vec![0xd0, 0, 0, 0, 0x80],
            [&[0xe0][..], &i64::MIN.to_le_bytes()].concat(),
        ]);
        let list = Ziplist::new(&bytes).unwrap();
        assert_eq!(list.len(), 11);
        let elements: Vec<_> = list.iter().collect();
        assert_eq!(elements[..4], [&b""[..], b"text", &middle, &long].map(Element::Bytes));
        let integers = [0, 12, -128, -32768, 8_388_607, i64::from(i32::MIN), i64::MIN];
        assert_eq!(elements[4..], integers.map(Element::Integer));
    }

    #[test]
    fn damage_is_refused() {
        let good = ziplist(&[string(b"one"), vec![0xf5], string(b"three")]);
        assert!(Ziplist::new(&good).is_ok());
        for cut in 0..good.len() {
            assert_eq!(Ziplist::new(&good[..cut]).err(), Some(Malformed));
        }
        // Total, tail, count, the length of the first, the length before the second, an encoding that is none, the end.
        for at in [0, 4, 8, 11, 15, 16, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x32;
            assert_eq!(Ziplist::new(&bad).err(), Some(Malformed), "{at}");
        }
        assert!(Ziplist::new(&ziplist(&[])).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn anything_is_read_safely(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = ziplist(&[]);
            bytes.truncate(HEADER_BYTES);
            bytes.extend_from_slice(&body);
            bytes.push(END);
            let total = bytes.len() as u32;
            bytes[..4].copy_from_slice(&total.to_le_bytes());
            bytes[8..10].copy_from_slice(&UNCOUNTED.to_le_bytes());
            if let Ok(list) = Ziplist::new(&bytes) {
                prop_assert_eq!(list.iter().count(), list.len());
            }
        }
    }
}
